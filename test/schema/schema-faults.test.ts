// Every fault a schema can have: told with its line and what to do, all at once; and its neighbours that are none.
import { clone } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { readSchema } from "../../src/schema/schema.ts";
import { SchemaError } from "../../src/schema/schema-error.ts";
import { compileAll, faultsOf, fileOf } from "./compile-cases.ts";
import { type Case, option, withApp, withField, withOption, withRule } from "./fault-case.ts";
import {
  bsonTypes,
  collectionRules,
  merges,
  mergesByBsonType,
  stamps,
  unsupportedTypes,
} from "./fault-tables.ts";
import { mergesTogether } from "./merge-cases.ts";

const cases: readonly Case[] = [
  {
    title: "no collection",
    text: "message Thing { string id = 1; }",
    faults: ["?: no message has the option"],
  },
  {
    title: "no id",
    text: `message Thing { ${option()} string key = 1; }`,
    faults: ["1: Thing has no field `id`"],
  },
  {
    title: "id of another type",
    text: `message Thing { ${option()} int64 id = 1; }`,
    faults: ["1: Thing.id must be a string"],
  },
  {
    title: "id repeated",
    text: `message Thing { ${option()} repeated string id = 1; }`,
    faults: ["1: Thing.id must be a string"],
  },
  {
    title: "id in a oneof",
    text: `message Thing { ${option()} oneof a { string id = 1; string b = 2; } }`,
    faults: ["1: Thing.id must be a string outside any oneof"],
  },
  {
    title: "id with rules",
    text: `message Thing { ${option()} string id = 1 [(tidemark.v1.field) = {access: FIELD_ACCESS_HIDDEN}]; }`,
    faults: ["1: Thing.id never changes and is always seen"],
  },
  {
    title: "id by another key",
    text: `message Thing { ${option()} string id = 1 [(tidemark.v1.field) = {bson: "key"}]; }`,
    faults: ['1: Thing.id is always the key "_id"'],
  },
  {
    title: "id with its own key",
    text: `message Thing { ${option()} string id = 1 [(tidemark.v1.field) = {bson: "_id"}]; }`,
    faults: [],
  },
  {
    title: "id as a decimal",
    text: `message Thing { ${option()} string id = 1 [(tidemark.v1.field).bson_type = BSON_TYPE_DECIMAL128]; }`,
    faults: ["1: an _id can't be BSON_TYPE_DECIMAL128"],
  },
  ...["", "a/b", "a$b", "a\\0b", "system.views", "tidemark", "tidemark.log", "x".repeat(121)].map((name) => ({
    title: `collection name "${name.slice(0, 20)}"`,
    ...withOption("", name),
    faults: ["1: the collection of Thing "],
  })),
  ...["a.b", "tidemarks", "Größe", "x".repeat(120)].map((name) => ({
    title: `collection name "${name.slice(0, 20)}"`,
    ...withOption("", name),
    faults: [],
  })),
  {
    title: "two messages, one collection",
    text: `message A { ${option()} string id = 1; }\nmessage B { ${option()} string id = 1; }`,
    faults: ['2: B and A are both the collection "things"'],
  },
  {
    title: "no scopes",
    text: 'message Thing { option (tidemark.v1.collection) = {name: "things"}; string id = 1; }',
    faults: ["1: nobody could ever see Thing"],
  },
  ...[
    ["", "is empty"],
    ["user:{owner_id", "has a brace without its partner"],
    ["user:owner_id}", "has a brace without its partner"],
    ["user:{}", "has empty braces"],
    ["{owner_id}{list}", "has a name that isn't by itself between colons"],
    ["{flag}-{right}", "has a name that isn't by itself between colons"],
    ["user-{owner_id}", "has a name that isn't by itself between colons"],
    ["user:{owner_id}/private", "has a name that isn't by itself between colons"],
    ["a:{owner_id}b:{list}", "has a name that isn't by itself between colons"],
    ["all of them", "has a space, a control character, `/` or `%`"],
    ["user:{owner_id}:a%3Ab", "has a space, a control character, `/` or `%`"],
    ["user:{owner_id}:a/b", "has a space, a control character, `/` or `%`"],
    ["user:{nobody}", "names nobody, which is no field of Thing"],
    ["user:{ownerId}", "names ownerId, which is no field of Thing"],
    ["user:{inner.id}", "names inner.id, which is no field of Thing"],
    ["user:{inner}", "names inner, whose type makes no scope"],
    ["user:{map}", "names map, whose type makes no scope"],
    ["user:{data}", "names data, whose type makes no scope"],
    ["user:{real}", "names real, whose type makes no scope"],
  ].map(([scope, fault]) => ({
    title: `scope "${scope}"`,
    ...withOption(`scopes: ["public", "${scope}"]`),
    faults: [`1: scope "${scope}" ${fault}`],
  })),
  ...[
    "public",
    "{owner_id}",
    "a:{list}:{number}",
    "{flag}:{right}",
    "a::{id}:",
    "{secret}",
    "größe:{id}",
  ].map((scope) => ({
    title: `scope "${scope}"`,
    ...withOption(`scopes: ["${scope}"]`),
    faults: [],
  })),
  ...[
    ['principal: "{nobody}" scope: "a" access: ACCESS_READ', `grant's principal "{nobody}" names nobody`],
    ['principal: "{list}" scope: "a" access: ACCESS_READ', `grant's principal "{list}" names list, a list`],
    ['principal: "{owner_id}" scope: "a:{real}" access: ACCESS_READ', `grant's scope "a:{real}" names real`],
    ['principal: "{owner_id}" scope: "a-{id}" access: ACCESS_READ', `grant's scope "a-{id}" has a name that`],
    [
      'principal: "{owner_id}:{id}" scope: "a" access: ACCESS_READ',
      `grant's principal "{owner_id}:{id}" has two names`,
    ],
    ['scope: "a" access: ACCESS_READ', `grant's principal "" is empty`],
    ['principal: "{owner_id}" scope: "a"', "grant says no right"],
    ['principal: "{owner_id}" scope: "a" access: ACCESS_UNSPECIFIED', "grant says no right"],
    ['principal: "{owner_id}" scope: "a" access_field: "nobody"', `grant's access_field "nobody" must name`],
    [
      'principal: "{owner_id}" scope: "a" access_field: "owner_id"',
      `grant's access_field "owner_id" must name`,
    ],
    ['principal: "{owner_id}" scope: "a" access_field: "rights"', `grant's access_field "rights" must name`],
  ].map(([grant, fault]) => ({
    title: `grant {${grant}}`,
    ...withOption(`grant: {${grant}}`),
    faults: [`1: ${fault}`],
  })),
  ...["access: ACCESS_READ", "access: ACCESS_READ_WRITE", 'access_field: "right"'].map((right) => ({
    title: `grant with ${right}`,
    ...withOption(`grant: {principal: "{owner_id}" scope: "a:{number}" ${right}}`),
    faults: [],
  })),
  ...[
    [
      '{scope: "a:{sub}" access: ACCESS_READ anonymous: true}',
      "is anonymous: who has no token has no claims",
    ],
    ['{scope: "a" anonymous: true}', "is anonymous, which only reads"],
    ['{scope: "a" access: ACCESS_READ_WRITE anonymous: true}', "is anonymous, which only reads"],
    ['{scope: ""}', "is empty"],
    ['{scope: "a:{sub"}', "has a brace without its partner"],
    ['{scope: "a" access: 7}', "has access 7"],
    ['{scope: "a{sub}"}', "has a name that isn't by itself between colons"],
  ].map(([grant, fault]) => ({
    title: `claim grant ${grant}`,
    ...withApp(grant ?? ""),
    faults: [fault ?? ""],
  })),
  {
    title: "claim grants",
    ...withApp('{scope: "a" access: ACCESS_READ anonymous: true}, {scope: "{sub}"}'),
    faults: [],
  },
  {
    title: "two fields, one key",
    ...withField('string a = 2; string b = 3 [(tidemark.v1.field).bson = "a"];'),
    faults: ['1: b and a are both the key "a"'],
  },
  ...["a.b", "$a", "a\\0", "__proto__", "_bsontype", "_id"].map((key) => ({
    title: `key ${key}`,
    ...withRule("string", `bson: "${key}"`),
    faults: ["1: "],
  })),
  { title: "key id", ...withRule("string", 'bson: "id"'), faults: [] },
  {
    title: "key _id in a nested message",
    ...withField("Inner x = 2;", 'message Inner { string key = 1 [(tidemark.v1.field).bson = "_id"]; }'),
    faults: [],
  },
  {
    title: "key with a dot in a nested message",
    ...withField(
      "repeated Inner x = 2;",
      'message Inner { string a = 1 [(tidemark.v1.field).bson = "a.b"]; }',
    ),
    faults: ['2: a document can\'t have the key "a.b"'],
  },
  ...bsonTypes(),
  ...merges(),
  ...mergesByBsonType(),
  ...collectionRules(),
  ...stamps(),
  ...mergesTogether,
  ...unsupportedTypes(),
  {
    title: "stamp below the record",
    ...withField(
      "Inner x = 2;",
      "message Inner { int64 a = 1 [(tidemark.v1.field).stamp = STAMP_CREATED_AT]; }",
    ),
    faults: ["2: stamp and READ_ONLY don't reach Inner.a"],
  },
  {
    title: "READ_ONLY below the record",
    ...withField(
      "map<string, Inner> x = 2;",
      "message Inner { int32 a = 1 [(tidemark.v1.field).access = FIELD_ACCESS_READ_ONLY]; }",
    ),
    faults: ["2: stamp and READ_ONLY don't reach Inner.a"],
  },
  {
    title: "HIDDEN below the record",
    ...withField(
      "Inner x = 2;",
      "message Inner { int32 a = 1 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN]; }",
    ),
    faults: [],
  },
  {
    title: "recursive messages",
    ...withField("Inner x = 2;", "message Inner { Inner x = 1; repeated Thing y = 2; }"),
    faults: [],
  },
  {
    title: "rules of unknown numbers",
    ...withRule("string", "access: 9 bson_type: 99 merge: 99 stamp: 99"),
    faults: [
      "1: x: access 9 is not known",
      "1: bson_type type 99 doesn't fit x",
      "1: merge 99 doesn't fit x: it wants a rule this server knows",
      "1: stamp 99 doesn't fit x",
    ],
  },
  {
    title: "writes of an unknown number",
    ...withOption("writes: 9"),
    faults: ["1: the collection of Thing has a rule"],
  },
  {
    title: "a validation rule that can't be compiled",
    ...withField(
      'string x = 2 [(buf.validate.field).cel = {id: "a" expression: "this.nothing ==" message: "m"}];',
    ),
    faults: ["1: a validation rule of Thing can't be compiled"],
  },
  {
    title: "a validation rule of a nested message that can't be compiled",
    ...withField(
      "Inner x = 2;",
      'message Inner { option (buf.validate.message).cel = {id: "a" expression: "this.y ==" message: "m"}; string y = 1; }',
    ),
    faults: ["2: a validation rule of Inner can't be compiled"],
  },
  {
    title: "a validation rule for another type",
    ...withField("string x = 2 [(buf.validate.field).int32.gt = 1];"),
    faults: ["1: a validation rule of Thing can't be compiled"],
  },
  {
    title: "validation rules",
    ...withField("string x = 2 [(buf.validate.field).string.uuid = true];"),
    faults: [],
  },
  {
    title: "proto2 required",
    syntax: 'syntax = "proto2"',
    text: `message Thing { ${option()} optional string id = 1; required string x = 2; }`,
    faults: ["1: x is required"],
  },
  {
    title: "proto2 group",
    syntax: 'syntax = "proto2"',
    text: `message Thing { ${option()} optional string id = 1; optional group X = 2 { optional string y = 1; } }`,
    faults: ["1: x is a group"],
  },
  {
    title: "proto2 extensions",
    syntax: 'syntax = "proto2"',
    text: `message Thing { ${option()} optional string id = 1; extensions 100 to 200; }`,
    faults: ["1: Thing has extensions"],
  },
  {
    title: "proto2 otherwise",
    syntax: 'syntax = "proto2"',
    text: `message Thing { ${option()} optional string id = 1; optional int32 x = 2 [default = 7]; repeated int32 y = 3; }`,
    faults: [],
  },
  {
    title: "edition 2023",
    syntax: 'edition = "2023"',
    text: `message Thing { ${option()} string id = 1; int32 x = 2; int32 y = 3 [features.field_presence = IMPLICIT]; }`,
    faults: [],
  },
  {
    title: "edition 2023, delimited",
    syntax: 'edition = "2023"',
    text: `message Thing { ${option()} string id = 1; repeated Thing x = 2 [features.message_encoding = DELIMITED]; }`,
    faults: ["1: x is a group"],
  },
  {
    title: "several faults at once",
    text: [
      'option (tidemark.v1.app) = { grants: [{scope: "a" anonymous: true}] };',
      "message Thing {",
      '  option (tidemark.v1.collection) = {name: "a/b"',
      '    scopes: ["public", "user:{nobody}"]};',
      "  string id = 1;",
      "  google.protobuf.Any x = 2;",
      "  string y = 3 [",
      '    (tidemark.v1.field).bson = "$y",',
      "    (tidemark.v1.field).bson_type = BSON_TYPE_DATE];",
      "}",
    ].join("\n"),
    faults: [
      '1: grant "a" is anonymous',
      '3: the collection of Thing can\'t be "a/b"',
      '4: scope "user:{nobody}" names nobody',
      "6: x: google.protobuf.Any",
      '8: a document can\'t have the key "$y"',
      "9: bson_type BSON_TYPE_DATE doesn't fit y",
    ],
  },
];

const sets = await compileAll(cases);

const titled = cases.map((each, index) => ({
  ...each,
  index,
  verdict: each.faults.length === 0 ? "accepted" : "refused",
}));

describe("schema", () => {
  test.each(titled)("schema: $title → $verdict", ({ index, faults: wanted }) => {
    const [set] = sets.slice(index, index + 1);
    const found = set === undefined ? ["no set"] : faultsOf(set);
    expect(found.map((fault, at) => (fault.includes(wanted[at] ?? "nothing") ? wanted[at] : fault))).toEqual(
      wanted,
    );
  });
});

test("schema: faults without source info → the file alone", () => {
  const [set] = sets.slice(-1);
  if (set === undefined) throw new Error("there are cases");
  const bare = clone(FileDescriptorSetSchema, set);
  for (const file of bare.file) delete file.sourceCodeInfo;
  const lines = () => faultsOf(bare).map((fault) => fault.split(":")[0]);
  expect(new Set(lines())).toEqual(new Set(["?"]));
});

test("schema: the error's text lists every fault as file:line:column", () => {
  const at = cases.length - 1;
  const set = sets[at];
  if (set === undefined) throw new Error("there are cases");
  const name = `case${at}.proto`;
  expect(fileOf(set, name).messageType).toHaveLength(1);
  const read = () => readSchema(set);
  expect(read).toThrow(SchemaError);
  expect(read).toThrow(
    new RegExp(`^${name}:\\d+:\\d+: grant "a" is anonymous.*\n${name}:\\d+:\\d+: the collection`),
  );
});

test("schema: a set that lacks an import → a fault, no crash", () => {
  const set = sets[0];
  if (set === undefined) throw new Error("there are cases");
  const bare = clone(FileDescriptorSetSchema, set);
  bare.file = bare.file.filter((file) => file.name !== "tidemark/v1/schema.proto");
  expect(faultsOf(bare)).toEqual([expect.stringContaining("can't be read")]);
});
