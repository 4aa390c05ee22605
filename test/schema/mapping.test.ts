// Every row of the mapping, from MongoDB to the wire and back: what reads as what, what is unfit, what is written.
import { deserialize, ObjectId, serialize, UUID } from "bson";
import { describe, expect, test } from "vitest";
import { sourceReadOptions } from "../../src/schema/bson-value.ts";
import { documentOf } from "../../src/schema/document-of.ts";
import { encodeField } from "../../src/schema/encode-document.ts";
import { readPushed } from "../../src/schema/pushed-record.ts";
import { bytesOf, everything, field, json, seen, unfit } from "./acme.ts";
import { leafRows } from "./mapping-leaves.ts";
import { decimal, oid, uuid } from "./mapping-row.ts";
import { structureRows } from "./mapping-structures.ts";

const rows = [...leafRows, ...structureRows];
const all = rows.map((row) => ({ name: row.key, ...row }));

describe.each(all)("mapping: $key", ({ key, name, reads, unfit: misfits, writes }) => {
  test.each(reads)("reads %o as %o", (bson, wanted) => {
    expect(seen({ [key]: bson })).toEqual(wanted === undefined ? {} : { [name]: wanted });
  });

  test.each(reads)("reads %o the same after a journey through the database", (bson, wanted) => {
    const read = deserialize(serialize({ [key]: bson }), {
      ...sourceReadOptions,
      validation: { utf8: false },
    });
    expect(seen(read)).toEqual(wanted === undefined ? {} : { [name]: wanted });
  });

  test.each(misfits.map((value) => [value]))("unfit: %o", (value) => {
    const path = unfit({ [key]: value })?.split(/[.:[]/)[0];
    expect(path).toBe(key);
  });

  test.each(writes)("push of %o writes %o", (value, wanted) => {
    const { message } = readPushed(everything, json({ [name]: value }));
    const written = documentOf(everything, message);
    expect(written[key]).toEqual(wanted);
    expect(serialize({ v: written[key] })).toEqual(serialize({ v: wanted }));
  });

  test.each(writes)("push of %o is read back as pushed", (value) => {
    const { message } = readPushed(everything, json({ [name]: value }));
    const written = documentOf(everything, message);
    const read = deserialize(serialize(written), { ...sourceReadOptions, validation: { utf8: false } });
    const again = documentOf(
      everything,
      readPushed(everything, { form: "PROTO", bytes: bytesOf(read) }).message,
    );
    expect(serialize(again)).toEqual(serialize(written));
    expect(encodeField(everything, field(fieldName(key)), read)).toEqual(
      encodeField(everything, field(fieldName(key)), written),
    );
  });
});

function fieldName(key: string): string {
  return everything.fields.find((each) => each.key === key)?.name ?? key;
}

test("mapping: every declared field but the ones about access and scopes has a row", () => {
  const keys = everything.fields.map((each) => each.key);
  const others = ["readOnly", "secret", "ownerId", "deskIds"];
  expect(new Set([...rows.map((row) => row.key), ...others])).toEqual(new Set(keys));
});

test("mapping: two members of a oneof → unfit; null beside one is absence", () => {
  expect(unfit({ choiceText: "x", choiceNumber: 1 })).toContain("more than one member of the oneof choice");
  expect(seen({ choiceText: null, choiceNumber: 0 })).toEqual({ choiceNumber: 0 });
});

test("mapping: keys nobody declared are passed over, hidden ones too", () => {
  expect(seen({ text: "x", unheardOf: { a: 1 }, secret: "s" })).toEqual({ text: "x" });
  expect(bytesOf({ text: "x", unheardOf: 1, secret: "s" })).toEqual(bytesOf({ text: "x" }));
});

test("mapping: hidden fields have canonical bytes of their own", () => {
  expect(encodeField(everything, field("secret"), { secret: "s" }).length).toBe(4);
  expect(encodeField(everything, field("secret"), { secret: null }).length).toBe(0);
});

test("mapping: a DBRef in free form is the document it is", () => {
  const document = { extra: { $ref: "cities", $id: new ObjectId(oid), more: 1 } };
  const read = deserialize(serialize(document), sourceReadOptions);
  expect(seen(read)).toEqual({ extra: { $ref: "cities", $id: oid, more: 1 } });
});

test("mapping: `__proto__` as a key of a map or in free form is a key like any other", () => {
  const read = deserialize(serialize(JSON.parse('{"counts": {"__proto__": 1}, "extra": {"__proto__": 2}}')));
  const pushed = readPushed(everything, { form: "PROTO", bytes: bytesOf(read) });
  const written = documentOf(everything, pushed.message);
  expect(Object.keys(written["counts"])).toEqual(["__proto__"]);
  expect(Object.keys(written["extra"])).toEqual(["__proto__"]);
});

test("mapping: nesting deeper than clients can read → unfit, on the brink → read", () => {
  const nest = (levels: number): object => (levels === 0 ? {} : { inner: nest(levels - 1) });
  expect(unfit({ part: nest(98) })).toBeUndefined();
  expect(seen({ part: nest(98) })).toHaveProperty(["part", "inner", "inner"]);
  expect(unfit({ part: nest(99) })).toMatch(/^part\.inner\..*nested deeper than the 100 levels/);
});

test("mapping: free form nested deeper than clients can read → unfit, on the brink → read", () => {
  const nest = (levels: number): object => (levels === 0 ? {} : { a: nest(levels - 1) });
  const brink = Array.from({ length: 100 }, (_, levels) => levels).findIndex((levels) =>
    unfit({ extra: nest(levels) }),
  );
  expect(brink).toBe(33);
  expect(seen({ extra: nest(brink - 1) })).toHaveProperty(["extra", "a", "a"]);
  const array = (levels: number): unknown[] => (levels === 0 ? [] : [array(levels - 1)]);
  expect(unfit({ list: array(1_000) })).toContain("nested deeper");
});

test("mapping: a record over 15 MB → unfit; the next one is read", () => {
  expect(unfit({ text: "x".repeat(15_000_001) })).toContain("over 15000000 bytes");
  expect(unfit({ text: "x".repeat(14_999_000) })).toBeUndefined();
  expect(seen({ text: "x" })).toEqual({ text: "x" });
});

test("mapping: reasons tell where and what to do, and no value", () => {
  expect(unfit({ parts: [{}, { inner: { count: "secret" } }] })).toBe(
    "parts[1].inner.count: a string doesn't fit an int32",
  );
  expect(unfit({ partsByName: { "a b": { name: 1 } } })).toBe(
    'partsByName["a b"].name: a number doesn\'t fit a string',
  );
  expect(unfit({ text: new ObjectId(oid) })).toContain("declare bson_type: BSON_TYPE_OBJECT_ID");
  expect(unfit({ text: new UUID(uuid) })).toContain("declare bson_type: BSON_TYPE_UUID");
  expect(unfit({ text: decimal("1") })).toContain("declare bson_type: BSON_TYPE_DECIMAL128");
  expect(unfit({ extra: { a: [{ "b.c": new Date(Number.NaN) }] } })).toContain(
    'extra["a"][0]["b.c"]: a date',
  );
});

test("mapping: an unfit document leaves nothing behind for the next", () => {
  expect(unfit({ text: "x", parts: [{ name: "y" }, { name: 1 }] })).toBeDefined();
  expect(seen({ flag: true })).toEqual({ flag: true });
});
