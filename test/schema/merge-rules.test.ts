// Rules as read: what a field's own rule is at each depth, what it comes to, and what clients may set.
import { expect, test } from "vitest";
import type { Collection } from "../../src/schema/collection.ts";
import { readSchema } from "../../src/schema/schema.ts";
import type { FieldShape } from "../../src/schema/shape.ts";
import { compileAll } from "./compile-cases.ts";

const text = `message Thing {
  option (tidemark.v1.collection) = {name: "things" scopes: ["public"] merge: MERGE_SERVER_WINS deletes: DELETES_EDIT_WINS};
  string id = 1;
  string plain = 2;
  int32 count = 3 [(tidemark.v1.field).merge = MERGE_COUNTER];
  repeated string tags = 4 [(tidemark.v1.field).merge = MERGE_SET];
  google.protobuf.Timestamp seen = 5 [(tidemark.v1.field).merge = MERGE_MAX];
  double best = 6 [(tidemark.v1.field).merge = MERGE_MIN];
  Inner inner = 7 [(tidemark.v1.field).merge = MERGE_REJECT];
  Inner other = 8;
  google.protobuf.Timestamp made = 9 [(tidemark.v1.field).stamp = STAMP_CREATED_AT];
  int64 written = 10 [(tidemark.v1.field) = {stamp: STAMP_WRITTEN_AT access: FIELD_ACCESS_HIDDEN}];
  string shown = 11 [(tidemark.v1.field).access = FIELD_ACCESS_READ_ONLY];
  string open = 12 [(tidemark.v1.field) = {access: FIELD_ACCESS_READ_WRITE merge: MERGE_LAST_WRITER}];
}
message Inner {
  int32 count = 1 [(tidemark.v1.field).merge = MERGE_COUNTER];
  string plain = 2;
  Inner inner = 3 [(tidemark.v1.field).merge = MERGE_LAST_WRITER];
}
message Plain {
  option (tidemark.v1.collection) = {name: "plains" scopes: ["public"]};
  string id = 1;
  string plain = 2;
}`;

const [set] = await compileAll([{ text }]);
if (set === undefined) throw new Error("it was compiled");
const { collections } = readSchema(set);

function collection(name: string): Collection {
  const found = collections.get(name);
  if (found === undefined) throw new Error(`no collection ${name}`);
  return found;
}

const things = collection("things");

test("rules: a field's rule is its own, else the collection's; its shape knows only its own", () => {
  expect(things.fields.map(({ name, merge, shape }) => [name, merge, shape.merge])).toEqual([
    ["plain", "SERVER_WINS", undefined],
    ["count", "COUNTER", "COUNTER"],
    ["tags", "SET", "SET"],
    ["seen", "MAX", "MAX"],
    ["best", "MIN", "MIN"],
    ["inner", "REJECT", "REJECT"],
    ["other", "SERVER_WINS", undefined],
    ["made", "SERVER_WINS", undefined],
    ["written", "SERVER_WINS", undefined],
    ["shown", "SERVER_WINS", undefined],
    ["open", "LAST_WRITER", "LAST_WRITER"],
  ]);
});

test("rules: fields of nested messages have their own, at any depth", () => {
  const rulesOf = (fields: readonly FieldShape[]) => fields.map(({ name, merge }) => [name, merge]);
  const within = (fields: readonly FieldShape[], name: string): readonly FieldShape[] => {
    const value = fields.find((field) => field.name === name)?.value;
    return value?.kind === "message" ? value.shape.fields : [];
  };
  const inner = within(things.shape.fields, "inner");
  expect(rulesOf(inner)).toEqual([
    ["count", "COUNTER"],
    ["plain", undefined],
    ["inner", "LAST_WRITER"],
  ]);
  expect(rulesOf(within(inner, "inner"))).toEqual(rulesOf(inner));
});

test("rules: clients set neither stamped, nor READ_ONLY, nor HIDDEN fields", () => {
  const unsettable = things.fields.filter(({ settable }) => !settable);
  expect(unsettable.map(({ name, stamp, access }) => [name, stamp, access])).toEqual([
    ["made", "CREATED_AT", "READ_WRITE"],
    ["written", "WRITTEN_AT", "HIDDEN"],
    ["shown", undefined, "READ_ONLY"],
  ]);
});

test("rules: a collection's are LAST_WRITER and DELETE_WINS where it says nothing", () => {
  const { merge, deletes, fields } = collection("plains");
  expect([merge, deletes, fields[0]?.merge]).toEqual(["LAST_WRITER", "DELETE_WINS", "LAST_WRITER"]);
  expect([things.merge, things.deletes]).toEqual(["SERVER_WINS", "EDIT_WINS"]);
});
