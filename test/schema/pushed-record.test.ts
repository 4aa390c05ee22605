// Records as clients push them: both forms, and a violation for everything that doesn't fit.
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Int32 } from "bson";
import { expect, test } from "vitest";
import type { JsonObject, RecordForm } from "../../src/model/record-form.ts";
import { documentOf } from "../../src/schema/document-of.ts";
import { MisfitRecord, readPushed } from "../../src/schema/pushed-record.ts";
import { readSchema } from "../../src/schema/schema.ts";
import { validateRecord } from "../../src/schema/validate-record.ts";
import { bytesOf, everything, field, json } from "./acme.ts";
import { compileAll } from "./compile-cases.ts";

const numbers = (...names: string[]) => names.map((name) => field(name).number);

function violations(record: RecordForm): readonly (readonly [path: string, ruleId: string])[] {
  try {
    readPushed(everything, record);
    return [];
  } catch (error) {
    if (!(error instanceof MisfitRecord)) throw error;
    return error.violations.map(({ path, ruleId }) => [path, ruleId]);
  }
}

/** A record with one more field, of any number, inside the fields on the way to it. */
function withUnknown(number: number, ...around: number[]): RecordForm {
  let bytes = new BinaryWriter().tag(number, WireType.LengthDelimited).string("x").finish();
  for (const each of around.toReversed()) {
    bytes = new BinaryWriter().tag(each, WireType.LengthDelimited).bytes(bytes).finish();
  }
  return { form: "PROTO", bytes };
}

test("pushed: JSON keys by JSON name or proto name, null among them", () => {
  const { keys } = readPushed(
    everything,
    json({ id: "a", ownerId: "u", desk_ids: ["x"], flag: false, parts: null }),
  );
  expect(keys).toEqual([1, ...numbers("flag", "parts", "owner_id", "desk_ids")]);
});

test("pushed: PROTO keys are the fields set", () => {
  const { keys } = readPushed(everything, {
    form: "PROTO",
    bytes: bytesOf({ text: "x", maybeNumber: 0, flag: false }),
  });
  expect(keys).toEqual([1, ...numbers("text", "maybe_number")]);
});

test("pushed: both forms give the same document", () => {
  const record: JsonObject = {
    text: "x",
    time: "2026-11-21T03:04:05.678Z",
    part: { inner: {} },
    extra: { a: [1] },
  };
  const fromJson = readPushed(everything, json(record));
  const bytes = toBinary(everything.message, fromJson.message);
  const fromBytes = readPushed(everything, { form: "PROTO", bytes });
  expect(documentOf(everything, fromBytes.message)).toEqual(documentOf(everything, fromJson.message));
});

test("pushed: a new document has what is implicit even at zero, and only what is set of the rest", () => {
  const document = documentOf(everything, readPushed(everything, json({})).message);
  const { text, flag, texts, counts, level } = document;
  expect({ text, flag, texts, counts, level }).toEqual({
    text: "",
    flag: false,
    texts: [],
    counts: {},
    level: "LOW",
  });
  expect(document["old-name"]).toBe("");
  for (const key of [
    "_id",
    "id",
    "time",
    "part",
    "maybeNumber",
    "extra",
    "any",
    "choiceText",
    "wrappedText",
  ]) {
    expect(document).not.toHaveProperty([key]);
  }
  for (const key of ["secret", "objectId", "uuid", "price", "numberText", "colour"]) {
    expect(document).not.toHaveProperty([key]);
  }
  expect(document["colourNumber"]).toEqual(new Int32(0));
});

test.each<readonly [title: string, record: JsonObject, path: string, ruleId: string]>([
  ["unknown key", { nothing_such: 1 }, "nothing_such", "unknown_field"],
  ["hidden key, as any unknown one", { secret: "x" }, "secret", "unknown_field"],
  ["BSON key", { "old-name": "x" }, "old-name", "unknown_field"],
  ["`__proto__`", JSON.parse('{"__proto__": 1}'), "__proto__", "unknown_field"],
  ["unknown nested key", { part: { nothing: 1 } }, "part", "type"],
  ["hidden nested key", { part: { cost: "1" } }, "part", "type"],
  ["both names", { owner_id: "a", ownerId: "a" }, "owner_id", "duplicate_field"],
  ["another type", { small: "x" }, "small", "type"],
  ["fraction", { small: 1.5 }, "small", "type"],
  ["list for one", { text: ["x"] }, "text", "type"],
  ["null in a list", { texts: [null] }, "texts", "type"],
  ["unknown enum name", { colour: "COLOUR_GREEN" }, "colour", "type"],
  ["two of a oneof", { choiceText: "x", choiceNumber: 1 }, "choice_number", "oneof"],
  ["two of a nested oneof", { part: { width: 1, label: "x" } }, "part", "type"],
  ["no ObjectId", { objectId: "x" }, "object_id", "unfit"],
  ["no UUID", { uuid: "0f8fad5bd9cb469fa16570867728950e" }, "uuid", "unfit"],
  ["no decimal", { price: "1,5" }, "price", "unfit"],
  ["decimal of too many digits", { price: "1".repeat(35) }, "price", "unfit"],
  ["decimal too large", { price: "1e7000" }, "price", "unfit"],
  ["decimal too small", { price: "1e-7000" }, "price", "unfit"],
  ["no int64", { numberText: "1.0" }, "number_text", "unfit"],
  ["date out of range", { millis: "8640000000000001" }, "millis", "unfit"],
  ["driver's own key", { extra: { a: { _bsontype: "ObjectId" } } }, "extra", "unfit"],
  ["driver's own key in a map", { counts: { _bsontype: 1 } }, "counts", "unfit"],
  ["NUL in a key", { extra: { "a\0": 1 } }, "extra", "unfit"],
  ["lone surrogate", { maybeText: "\ud800" }, "maybe_text", "type"],
  ["lone surrogate in free form", { extra: { a: "\ud800" } }, "extra", "unfit"],
  ["lone surrogate in a key", { extra: { "\ud800": 1 } }, "extra", "unfit"],
])("pushed: %s → %s", (_, record, path, ruleId) => {
  expect(violations(json(record))).toEqual([[path, ruleId]]);
  expect(violations(json({ text: "x", ...record }))).toEqual([[path, ruleId]]);
});

test("pushed: every violation at once, up to a hundred", () => {
  expect(violations(json({ a: 1, small: "x", flag: 1 }))).toEqual([
    ["a", "unknown_field"],
    ["small", "type"],
    ["flag", "type"],
  ]);
  const many = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`k${index}`, 1]));
  expect(violations(json(many))).toHaveLength(100);
});

test("pushed: hidden and unknown numbers read alike, nested ones too", () => {
  expect(violations(withUnknown(field("secret").number))).toEqual([["#49", "unknown_field"]]);
  expect(violations(withUnknown(5000))).toEqual([["#5000", "unknown_field"]]);
  const part = field("part").number;
  expect(violations(withUnknown(5, part, 3))).toEqual([["part.inner.#5", "unknown_field"]]);
  expect(violations(withUnknown(5, field("parts").number, 4))).toEqual([
    ["parts[0].others[0].#5", "unknown_field"],
  ]);
  expect(violations(withUnknown(5, field("parts_by_name").number, 2))).toEqual([
    ['parts_by_name[""].#5', "unknown_field"],
  ]);
});

test("pushed: bytes that are no such message → malformed", () => {
  for (const bytes of [[0xff], [0x12, 5, 65], [0x12, 1, 0xff], [0x0c], [0x00]]) {
    expect(violations({ form: "PROTO", bytes: Uint8Array.from(bytes) })).toEqual([["", "malformed"]]);
  }
});

test("pushed: nesting beyond what the log could hold → unfit or malformed, never a crash", () => {
  const nested = (levels: number): JsonObject => (levels === 0 ? {} : { inner: nested(levels - 1) });
  expect(violations(json({ part: nested(98) }))).toEqual([]);
  expect(violations(json({ part: nested(99) }))).toEqual([["part", "type"]]);
  const free = (levels: number): JsonObject => (levels === 0 ? {} : { a: free(levels - 1) });
  expect(violations(json({ extra: free(32) }))).toEqual([]);
  expect(violations(json({ extra: free(33) }))).toEqual([["extra", "unfit"]]);
  expect(violations(json({ extra: free(5_000) }))).toEqual([["extra", "type"]]);
  expect(violations(withUnknown(1, field("part").number, ...Array<number>(98).fill(3)))).toEqual([]);
  expect(violations(withUnknown(1, field("part").number, ...Array<number>(99).fill(3)))).toEqual([
    ["", "malformed"],
  ]);
});

test("pushed: values a message can hold but no document → unfit", () => {
  const record = (fields: Record<string, unknown>): RecordForm => ({
    form: "PROTO",
    bytes: toBinary(everything.message, create(everything.message, fields)),
  });
  expect(
    violations(record({ time: { $typeName: "google.protobuf.Timestamp", seconds: 2n ** 60n, nanos: 0 } })),
  ).toEqual([["time", "unfit"]]);
  expect(
    violations(record({ time: { $typeName: "google.protobuf.Timestamp", seconds: 0n, nanos: -1 } })),
  ).toEqual([["time", "unfit"]]);
  const value = (kind: object) => record({ any: { $typeName: "google.protobuf.Value", kind } });
  expect(violations(value({ case: "numberValue", value: Number.NaN }))).toEqual([["any", "unfit"]]);
  expect(violations(value({ case: undefined }))).toEqual([["any", "unfit"]]);
  expect(violations(value({ case: "nullValue", value: 0 }))).toEqual([]);
  expect(violations(record({ maybeText: "" }))).toEqual([]);
});

const [ruled] = await compileAll([
  {
    text: `message Thing {
  option (tidemark.v1.collection) = {name: "things" scopes: ["public"]};
  option (buf.validate.message).cel = {id: "order", message: "low above high", expression: "this.low <= this.high"};
  string id = 1;
  string title = 2 [(buf.validate.field).string = {min_len: 1, max_len: 3}];
  repeated Inner inners = 3;
  int32 low = 4;
  int32 high = 5;
  int32 divisor = 6 [(buf.validate.field).cel = {id: "divides", message: "m", expression: "12 / this == 12 / this"}];
  map<string, int32> counts = 7 [(buf.validate.field).map.values.int32.gte = 0];
  string pattern = 8 [(buf.validate.field).string.pattern = "^[a-z]*$"];
  string secret = 9 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN, (buf.validate.field).required = true];
}
message Inner { double lat = 1 [(buf.validate.field).double = {gte: -90, lte: 90}]; }`,
  },
]);

test("validation: the team's rules, with paths of proto names; hidden fields are none of the record's", () => {
  if (ruled === undefined) throw new Error("it was compiled");
  const things = readSchema(ruled).collections.get("things");
  if (things === undefined) throw new Error("it has a collection");
  const check = (record: JsonObject) =>
    validateRecord(things, toBinary(things.message, readPushed(things, json(record)).message)).map(
      ({ path, ruleId }) => `${path} ${ruleId}`,
    );
  expect(check({ title: "x", divisor: 1 })).toEqual([]);
  expect(check({ divisor: 1 })).toEqual(["title string.min_len"]);
  expect(
    check({ title: "xxxx", low: 2, divisor: 1, pattern: "A", counts: { k: -1 }, inners: [{}, { lat: 91 }] }),
  ).toEqual([
    ...["title string.max_len", "inners[1].lat double.gte_lte"],
    ...['counts["k"] int32.gte', "pattern string.pattern", " order"],
  ]);
  expect(check({ title: "x" })).toEqual([" rule_failed"]);
});
