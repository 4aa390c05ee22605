// Fingerprints: equal from reading to reading, changed by what shapes log entries or clients, by nothing else.
import { expect, test } from "vitest";
import { readSchema, type Schema } from "../../src/schema/schema.ts";
import { acme, acmeSet } from "./acme.ts";
import { compileAll } from "./compile-cases.ts";

const base = `message Thing {
  option (tidemark.v1.collection) = {name: "things" scopes: ["user:{owner}"] grant: {principal: "{owner}" scope: "team:{team}" access: ACCESS_READ}};
  string id = 1;
  string owner = 2;
  string team = 3;
  int32 count = 4;
  Level level = 5;
  Inner inner = 6;
  string title = 7;
}
message Inner { string a = 1; Inner inner = 2; }
message Unused { string a = 1; }
enum Level { LEVEL_UNSPECIFIED = 0; LEVEL_LOW = 1; }
`;

type Effect = "entries" | "clients" | "both" | "neither";

const changes: ReadonlyArray<readonly [from: string, to: string, effect: Effect]> = [
  ["string title = 7;", "string title = 7; string more = 8;", "both"],
  ["int32 count = 4;", "int64 count = 4;", "both"],
  ["int32 count = 4;", "optional int32 count = 4;", "both"],
  ["int32 count = 4;", "repeated int32 count = 4;", "both"],
  ["string title = 7;", "string title = 9;", "both"],
  ["string title = 7;", "string title = 7 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];", "both"],
  ["LEVEL_LOW = 1;", "LEVEL_LOW = 1; LEVEL_HIGH = 2;", "both"],
  ["string a = 1; Inner", "string a = 1; string b = 3; Inner", "both"],
  ["string title = 7;", 'string title = 7 [(tidemark.v1.field).bson = "t"];', "entries"],
  ["int32 count = 4;", "int32 count = 4 [(tidemark.v1.field).bson_type = BSON_TYPE_INT64];", "entries"],
  ['scopes: ["user:{owner}"]', 'scopes: ["user:{owner}", "public"]', "entries"],
  ['scopes: ["user:{owner}"]', 'scopes: ["user:{team}"]', "entries"],
  ["access: ACCESS_READ", "access: ACCESS_READ_WRITE", "entries"],
  ["string title = 7;", 'string name = 7 [(tidemark.v1.field).bson = "title"];', "clients"],
  [
    "string title = 7;",
    'string title = 7 [json_name = "Title", (tidemark.v1.field).bson = "title"];',
    "clients",
  ],
  ["string title = 7;", "/* A comment. */ string title = 7;", "neither"],
  ["string title = 7;", "string title = 7 [(tidemark.v1.field).merge = MERGE_REJECT];", "neither"],
  ["int32 count = 4;", "int32 count = 4 [(tidemark.v1.field).merge = MERGE_COUNTER];", "neither"],
  ["Inner inner = 6;", "Inner inner = 6 [(tidemark.v1.field).merge = MERGE_SERVER_WINS];", "neither"],
  ["string a = 1; Inner", "string a = 1 [(tidemark.v1.field).merge = MERGE_SERVER_WINS]; Inner", "neither"],
  ['scopes: ["user:{owner}"]', 'scopes: ["user:{owner}"] merge: MERGE_REJECT', "neither"],
  ['scopes: ["user:{owner}"]', 'scopes: ["user:{owner}"] deletes: DELETES_EDIT_WINS', "neither"],
  ["string title = 7;", "string title = 7 [(tidemark.v1.field).access = FIELD_ACCESS_READ_ONLY];", "neither"],
  ["string title = 7;", "string title = 7 [(buf.validate.field).string.min_len = 1];", "neither"],
  ["string title = 7;", "string title = 7 [deprecated = true];", "neither"],
  ['scopes: ["user:{owner}"]', 'scopes: ["user:{owner}"] writes: WRITES_SERVER_ONLY', "neither"],
  ["message Unused { string a = 1; }", "", "neither"],
  ["message Thing {", "message Unrelated {}\nmessage Thing {", "neither"],
];

const bare = base.replace("string title = 7;", "int64 title = 7; repeated string tags = 8;");
/** Of `bare`, on fields of types that `base` lacks. */
const rules: ReadonlyArray<readonly [from: string, rule: string]> = [
  ["int64 title = 7", "merge = MERGE_MAX"],
  ["int64 title = 7", "merge = MERGE_MIN"],
  ["int64 title = 7", "stamp = STAMP_CREATED_AT"],
  ["int64 title = 7", "stamp = STAMP_WRITTEN_AT"],
  ["repeated string tags = 8", "merge = MERGE_SET"],
];
const ruled = rules.map(([from, rule]) => bare.replace(from, `${from} [(tidemark.v1.field).${rule}]`));

const texts = [base, ...changes.map(([from, to]) => base.replace(from, to)), bare, ...ruled];
// One package name for all: a package is part of what clients see.
const read = (await compileAll(texts.map((text) => ({ text })))).map((set) => {
  for (const file of set.file) rename(file);
  return readSchema(set);
});

function rename(value: object): void {
  for (const [key, each] of Object.entries(value)) {
    if (typeof each === "string" && /(^|\.)case\d+/.test(each))
      Reflect.set(value, key, each.replace(/case\d+/, "same"));
    else if (typeof each === "object" && each !== null && !(each instanceof Uint8Array)) rename(each);
  }
}

function prints(schema: Schema | undefined) {
  return { entries: schema?.collections.get("things")?.fingerprint, clients: schema?.fingerprint };
}

const before = prints(read[0]);

test.each(changes.map(([from, to, effect], index) => ({ from, to, effect, after: prints(read[index + 1]) })))(
  "fingerprint: $from → $to changes $effect",
  ({ effect, after }) => {
    expect(after.entries).toBeDefined();
    expect({ entries: after.entries !== before.entries, clients: after.clients !== before.clients }).toEqual({
      entries: effect === "entries" || effect === "both",
      clients: effect === "clients" || effect === "both",
    });
  },
);

test.each(rules.map(([from, rule], index) => ({ from, rule, index })))(
  "fingerprint: $from with $rule is as without",
  ({ index }) => {
    const [without, ...all] = read.slice(1 + changes.length).map(prints);
    expect(without?.entries).toBeDefined();
    expect(all[index]).toEqual(without);
  },
);

test("fingerprint: equal whenever the same set is read", () => {
  const again = readSchema(acmeSet);
  expect(again.fingerprint).toBe(acme.fingerprint);
  const all = (schema: Schema) =>
    [...schema.collections].map(([name, { fingerprint }]) => [name, fingerprint]);
  expect(all(again)).toEqual(all(acme));
  expect(new Set(all(acme).map(([, fingerprint]) => fingerprint)).size).toBe(acme.collections.size);
});

test("fingerprint: stays what it was in released versions, or every log is encoded anew", () => {
  expect(before).toEqual({
    entries: "b511e41252369dcdab0842e071538507",
    clients: "251d4c840b8786a7051ba25199485a1b",
  });
});
