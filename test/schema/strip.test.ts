// What clients and reflection see of a schema: nothing of Tidemark's rules, nothing hidden, comments at their places.
import { createFileRegistry, type DescMessage, toBinary } from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { readSchema } from "../../src/schema/schema.ts";
import { OPTION_NUMBER } from "../../src/schema/schema-error.ts";
import { stripForClients } from "../../src/schema/strip.ts";
import { acme, acmeSet } from "./acme.ts";
import { compileAll, fileOf } from "./compile-cases.ts";

const text = `option java_package = "com.acme";
// Rules of grants.
option (tidemark.v1.app) = {grants: [{scope: "user:{sub}"}]};

// A thing.
message Thing {
  // Rules of things.
  option (tidemark.v1.collection) = {name: "things" scopes: ["public"] merge: MERGE_REJECT deletes: DELETES_EDIT_WINS};
  // The id.
  string id = 1;
  // Classified.
  string secret = 2 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
  // The title.
  string title = 3 [
    // Rules of titles.
    (tidemark.v1.field).bson = "t",
    (buf.validate.field).string.min_len = 1,
    deprecated = true
  ];
  // A whole oneof.
  oneof whole {
    // Classified member.
    string whole_secret = 4 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
  }
  // Half a oneof.
  oneof half {
    string half_secret = 5 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
    // The visible member.
    string half_open = 6;
  }
  optional string maybe_secret = 7 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
  // Perhaps.
  optional string maybe = 8;
  map<string, string> secret_map = 9 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
  // An open map.
  map<string, string> open_map = 10;
  reserved 11;
  // Something nested.
  message Nested {
    // Nested and classified.
    string nested_secret = 1 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
    // Nested and open.
    string nested_open = 2 [(tidemark.v1.field).merge = MERGE_SERVER_WINS];
  }
  Nested nested = 12 [(tidemark.v1.field).merge = MERGE_LAST_WRITER];
  int32 count = 13 [(tidemark.v1.field).merge = MERGE_COUNTER];
  repeated string tags = 14 [(tidemark.v1.field).merge = MERGE_SET];
  int64 made = 15 [(tidemark.v1.field).stamp = STAMP_CREATED_AT];
}
`;

const usesRules = `message Thing {
  option (tidemark.v1.collection) = {name: "things" scopes: ["public"]};
  string id = 1;
  tidemark.v1.Merge merge = 2;
}`;

const hiddenTypes = `// The first.
message Secret0 { Secret1 next = 1; Both both = 2; enum Level0 { LEVEL0_A = 0; } }
message Thing {
  option (tidemark.v1.collection) = {name: "things" scopes: ["public"]};
  string id = 1;
  Secret0 a = 2 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
  repeated Secret2 b = 3 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
  map<string, Inner> c = 4 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
  Both d = 5;
  Thing e = 6 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
  google.protobuf.Timestamp f = 7 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
  enum Secret3 { SECRET3_A = 0; }
  Secret3 g = 8 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
  message Inner { string secret = 1; }
  // What is seen.
  message Seen { string a = 1; }
  Seen h = 9;
}
message Secret1 { Secret0 back = 1; bytes secret = 2 [(buf.validate.field).bytes.min_len = 1]; }
enum Secret2 { SECRET2_A = 0; }
// Both ways.
message Both { string x = 1; }
// Nobody's.
message Unused { string x = 1; }
`;

const [set, using, hiding] = await compileAll([{ text }, { text: usesRules }, { text: hiddenTypes }]);
if (!(set && using && hiding)) throw new Error("all were compiled");
const stripped = stripForClients(set);

function thing(of: FileDescriptorSet): DescMessage {
  const found = createFileRegistry(of).getMessage("case0.Thing");
  if (found === undefined) throw new Error("no Thing");
  return found;
}

/** Comments by the text of the element they stand above. */
function comments(of: FileDescriptorSet): Map<string, string> {
  const file = fileOf(of, "case0.proto");
  const found = new Map<string, string>();
  for (const { path, leadingComments } of file.sourceCodeInfo?.location ?? []) {
    if (leadingComments === "") continue;
    let element: unknown = file;
    const lists: Record<number, string> = { 2: "field", 3: "nestedType", 8: "oneofDecl" };
    for (let at = 0; at + 1 < path.length; at += 2) {
      const list = at === 0 ? "messageType" : (lists[path[at] ?? 0] ?? "nothing");
      element = Reflect.get(Reflect.get(Object(element), list), String(path[at + 1]));
    }
    found.set(String(Reflect.get(Object(element), "name")), leadingComments.trim());
  }
  return found;
}

test("strip: hidden fields go, nested ones too; their numbers stay reserved, their names don't", () => {
  const message = thing(stripped);
  expect(message.fields.map(({ name }) => name)).toEqual([
    ...["id", "title", "half_open", "maybe", "open_map", "nested", "count", "tags", "made"],
  ]);
  expect(message.proto.reservedRange.map(({ start }) => start).sort((a, b) => a - b)).toEqual([
    2, 4, 5, 7, 9, 11,
  ]);
  expect(message.nestedMessages[0]?.fields.map(({ name }) => name)).toEqual(["nested_open"]);
  expect(message.nestedMessages[0]?.proto.reservedRange.map(({ start, end }) => [start, end])).toEqual([
    [1, 2],
  ]);
});

test("strip: a oneof stays with its visible members, and goes with its last", () => {
  const message = thing(stripped);
  expect(message.oneofs.map(({ name }) => name)).toEqual(["half"]);
  expect(message.field["halfOpen"]?.oneof?.name).toBe("half");
  expect(message.field["maybe"]?.oneof).toBeUndefined();
  expect(message.field["maybe"]?.proto.proto3Optional).toBe(true);
  expect(message.proto.oneofDecl.map(({ name }) => name)).toEqual(["half", "_maybe"]);
});

test("strip: no byte of it names what is hidden or ruled", () => {
  const bytes = Buffer.from(toBinary(FileDescriptorProtoSchema, fileOf(stripped, "case0.proto"))).toString(
    "latin1",
  );
  expect(stripped.file.map(({ name }) => name)).not.toContain("tidemark/v1/schema.proto");
  for (const word of [
    "secret",
    "Secret",
    "lassified",
    "Rules of",
    "tidemark/v1/schema",
    "tidemark.v1.",
    "user:{sub}",
    "things",
  ]) {
    expect(bytes).not.toContain(word);
  }
});

test("strip: comments stay with their elements", () => {
  expect(comments(stripped)).toEqual(
    new Map([
      ["Thing", "A thing."],
      ["id", "The id."],
      ["title", "The title."],
      ["half", "Half a oneof."],
      ["half_open", "The visible member."],
      ["maybe", "Perhaps."],
      ["open_map", "An open map."],
      ["Nested", "Something nested."],
      ["nested_open", "Nested and open."],
    ]),
  );
});

test("strip: types that only hidden fields need go with them, at whatever place; others stay, with their comments", () => {
  const kept = fileOf(stripForClients(hiding), "case2.proto");
  expect(kept.messageType.map(({ name }) => name)).toEqual(["Thing", "Both", "Unused"]);
  expect(kept.enumType).toEqual([]);
  expect(kept.messageType[0]?.nestedType.map(({ name }) => name)).toEqual(["Seen"]);
  expect(kept.messageType[0]?.enumType).toEqual([]);
  expect(Buffer.from(toBinary(FileDescriptorProtoSchema, kept)).toString("latin1")).not.toMatch(
    /secret|level0/i,
  );
  const comments = (kept.sourceCodeInfo?.location ?? []).filter(
    ({ leadingComments }) => leadingComments !== "",
  );
  expect(comments.map(({ path, leadingComments }) => [path.join(), leadingComments.trim()])).toEqual([
    ["4,0,3,0", "What is seen."],
    ["4,1", "Both ways."],
    ["4,2", "Nobody's."],
  ]);
  expect(
    readSchema(hiding)
      .collections.get("things")
      ?.message.fields.map(({ name }) => name),
  ).toEqual(["id", "d", "h"]);
});

test("strip: other options stay", () => {
  expect(fileOf(stripped, "case0.proto").options?.javaPackage).toBe("com.acme");
  expect(thing(stripped).field["title"]?.deprecated).toBe(true);
  expect(fileOf(stripped, "case0.proto").dependency).toContain("buf/validate/validate.proto");
  expect(thing(stripped).field["title"]?.proto.options?.$unknown?.map(({ no }) => no)).toEqual([1159]);
});

test("strip: no rule of a collection or field stays, at any depth", () => {
  expect(numbersOfOptions(thing(set))).toContain(OPTION_NUMBER);
  expect(numbersOfOptions(thing(stripped))).toEqual([1159]);
});

/** Of all extensions among the options of a message, its fields and what is nested in it. */
function numbersOfOptions(message: DescMessage): number[] {
  const options = [message.proto.options, ...message.fields.map(({ proto }) => proto.options)];
  const own = options.flatMap((each) => each?.$unknown?.map(({ no }) => no) ?? []);
  return [...own, ...message.nestedMessages.flatMap(numbersOfOptions)];
}

test("strip: the set given stays as it is, and stripping twice changes nothing more", () => {
  const before = toBinary(FileDescriptorSetSchema, set);
  const once = toBinary(FileDescriptorSetSchema, stripForClients(set));
  expect(toBinary(FileDescriptorSetSchema, set)).toEqual(before);
  expect(toBinary(FileDescriptorSetSchema, stripForClients(stripped))).toEqual(once);
});

test("strip: a type of schema.proto in a record → its import stays", () => {
  const kept = stripForClients(using);
  expect(fileOf(kept, "case1.proto").dependency).toContain("tidemark/v1/schema.proto");
  expect(readSchema(using).collections.get("things")?.message.field["merge"]?.enum?.name).toBe("Merge");
});

test("strip: a schema's files and registry are the stripped ones", () => {
  expect(acme.files.map(({ proto }) => proto.name)).toEqual(
    stripForClients(acmeSet).file.map(({ name }) => name),
  );
  expect(acme.registry.getMessage("acme.v1.Everything")?.field["secret"]).toBeUndefined();
  expect(acme.registry.getMessage("acme.v1.Part")?.field["cost"]).toBeUndefined();
});
