// What a push writes into a document: the leaves that differ, and nothing nobody declared, on a real database.
import { type Document, Double, Int32, ObjectId } from "bson";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JsonObject } from "../../src/model/record-form.ts";
import { sourceReadOptions } from "../../src/schema/bson-value.ts";
import { documentOf } from "../../src/schema/document-of.ts";
import { encodeField } from "../../src/schema/encode-document.ts";
import { type LeafWrites, leafWrites } from "../../src/schema/leaf-writes.ts";
import { readPushed } from "../../src/schema/pushed-record.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { everything, field, json } from "./acme.ts";

function writes(name: string, record: JsonObject, current: Document): LeafWrites {
  return leafWrites(everything, field(name), readPushed(everything, json(record)).message, current);
}

const nothing = { set: {}, unset: [] };

test.each<readonly [title: string, name: string, record: JsonObject, current: Document, wanted: LeafWrites]>([
  ["a new value", "text", { text: "x" }, {}, { set: { text: "x" }, unset: [] }],
  ["another value", "text", { text: "x" }, { text: "y" }, { set: { text: "x" }, unset: [] }],
  ["a value of a wrong type", "text", { text: "x" }, { text: 5 }, { set: { text: "x" }, unset: [] }],
  ["the same value", "text", { text: "x" }, { text: "x" }, nothing],
  ["the same value of another BSON type", "small", { small: 3 }, { small: new Double(3) }, nothing],
  ["zero where implicit", "flag", { flag: false }, { flag: true }, { set: { flag: false }, unset: [] }],
  ["zero where absent already", "flag", {}, {}, nothing],
  [
    "zero that no BSON type has",
    "object_id",
    {},
    { objectId: new ObjectId() },
    { set: {}, unset: ["objectId"] },
  ],
  ["UNSPECIFIED where implicit", "colour", {}, { colour: "RED" }, { set: {}, unset: ["colour"] }],
  ["UNSPECIFIED where it is already", "colour", {}, { colour: "UNSPECIFIED" }, nothing],
  ["clearing what is explicit", "maybe_number", {}, { maybeNumber: 0 }, { set: {}, unset: ["maybeNumber"] }],
  ["clearing what is null", "maybe_number", {}, { maybeNumber: null }, nothing],
  ["clearing a list", "texts", {}, { texts: ["a"] }, { set: { texts: [] }, unset: [] }],
  ["a field by another key", "renamed", { renamed: "x" }, {}, { set: { "old-name": "x" }, unset: [] }],
  ["clearing a wrapper", "wrapped_text", {}, { wrappedText: "" }, { set: {}, unset: ["wrappedText"] }],
  ["a null Value", "any", { any: null }, { any: 5 }, { set: {}, unset: ["any"] }],
])("writes: %s", (...[, name, record, current, wanted]) => {
  expect(writes(name, record, current)).toEqual(wanted);
});

test("writes: nested messages by their leaves, so that undeclared and hidden keys stay", () => {
  const current = { part: { name: "a", count: 1, cost: "hidden", more: 1, inner: { name: "b", more: 2 } } };
  expect(writes("part", { part: { name: "a", count: 2, inner: { name: "c" } } }, current)).toEqual({
    set: { "part.count": new Int32(2), "part.inner.name": "c" },
    unset: [],
  });
});

test("writes: a nested message where no document is → whole", () => {
  const whole = { name: "x", count: new Int32(0), others: [] };
  for (const part of [null, undefined, "text", [1]]) {
    expect(writes("part", { part: { name: "x" } }, { part })).toEqual({ set: { part: whole }, unset: [] });
  }
  expect(writes("part", { part: { inner: { name: "x" } } }, { part: { name: "a" } })).toEqual({
    set: { "part.name": "", "part.inner": whole },
    unset: [],
  });
});

test("writes: clearing a nested message → whole, or its declared leaves if there is more in it", () => {
  expect(writes("part", {}, { part: { name: "a", inner: {} } })).toEqual({ set: {}, unset: ["part"] });
  expect(
    writes("part", {}, { part: { name: "a", count: 0, inner: { name: "b", more: 1 }, cost: "h" } }),
  ).toEqual({
    set: {},
    unset: ["part.name", "part.inner.name"],
  });
  expect(writes("part", {}, { part: { inner: { name: "b" }, more: 1 } })).toEqual({
    set: {},
    unset: ["part.inner"],
  });
  expect(writes("part", {}, { part: { others: [{ more: 1 }] } })).toEqual({ destroys: "part.others" });
});

test("writes: a list of messages keeps the elements that stay, with all that is in them", () => {
  const parts = [{ name: "a", more: 1 }, { name: "b" }, { name: "a", more: 2, count: new Double(0) }];
  const result = writes("parts", { parts: [{ name: "c" }, { name: "a" }, { name: "a" }] }, { parts });
  expect(result).toEqual({
    set: { parts: [{ name: "c", count: new Int32(0), others: [] }, parts[0], parts[2]] },
    unset: [],
  });
});

test("writes: a list of messages that would lose undeclared or hidden keys → refused, naming none", () => {
  expect(writes("parts", { parts: [] }, { parts: [{}, { more: 1 }] })).toEqual({ destroys: "parts[1]" });
  expect(writes("parts", { parts: [{ name: "b" }] }, { parts: [{ name: "a", cost: "h" }] })).toEqual({
    destroys: "parts[0]",
  });
  expect(writes("parts", { parts: [] }, { parts: [{ inner: { more: 1 } }] })).toEqual({
    destroys: "parts[0]",
  });
  expect(writes("parts", { parts: [] }, { parts: [{ name: "a" }] })).toEqual({
    set: { parts: [] },
    unset: [],
  });
});

test("writes: a map of messages alike, by key", () => {
  const partsByName = { a: { name: "a", more: 1 }, b: { name: "b" } };
  const kept = writes("parts_by_name", { partsByName: { a: { name: "a" }, c: {} } }, { partsByName });
  expect(kept).toEqual({
    set: { partsByName: { a: partsByName.a, c: { name: "", count: new Int32(0), others: [] } } },
    unset: [],
  });
  expect(writes("parts_by_name", { partsByName: { a: { name: "z" } } }, { partsByName })).toEqual({
    destroys: 'partsByName["a"]',
  });
});

test("writes: free form keeps the BSON types of what stays", () => {
  const when = new Date(5);
  const extra = { when, deep: [{ when, n: new Double(1) }, 2], gone: 1 };
  const pushed = { when: when.toISOString(), deep: [{ when: when.toISOString(), n: 1 }, 3], more: "x" };
  expect(writes("extra", { extra: pushed }, { extra })).toEqual({
    set: { extra: { when, deep: [extra.deep[0], 3], more: "x" } },
    unset: [],
  });
  expect(writes("extra", { extra: { a: "1970-01-01T00:00:00.005Z" } }, { extra: { a: when } })).toEqual(
    nothing,
  );
});

test("writes: setting a member of a oneof unsets the others, hidden or null ones rightly", () => {
  expect(writes("choice_number", { choiceNumber: 0 }, { choiceText: "x", choicePart: null })).toEqual({
    set: { choiceNumber: new Int32(0) },
    unset: ["choiceText"],
  });
  expect(writes("choice_text", { choiceNumber: 0 }, { choiceText: "x" })).toEqual({
    set: {},
    unset: ["choiceText"],
  });
  expect(writes("choice_text", { choiceText: "y" }, { choicePart: { more: 1 } })).toEqual({
    destroys: "choicePart",
  });
  expect(writes("part", { part: { label: "x" } }, { part: { width: 1, name: "" } })).toEqual({
    set: { "part.label": "x" },
    unset: ["part.width"],
  });
});

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.drop());

/** Writes the whole record over a document as push does, and gives the document it became. */
async function overwrite(current: Document, record: JsonObject): Promise<Document> {
  const things = database.source.collection<Document>("things", sourceReadOptions);
  const { insertedId } = await things.insertOne({ ...current });
  const stored = await things.findOne({ _id: insertedId });
  const { message } = readPushed(everything, json(record));
  const set: Document = {};
  const unset: Document = {};
  for (const each of everything.fields.filter(({ access }) => access !== "HIDDEN")) {
    const result = leafWrites(everything, each, message, stored ?? {});
    if ("destroys" in result) throw new Error(result.destroys);
    Object.assign(set, result.set);
    for (const path of result.unset) unset[path] = "";
  }
  const update = {
    ...(Object.keys(set).length > 0 && { $set: set }),
    ...(Object.keys(unset).length > 0 && { $unset: unset }),
  };
  if (Object.keys(update).length > 0) await things.updateOne({ _id: insertedId }, update);
  return (await things.findOne({ _id: insertedId })) ?? {};
}

const currents: readonly Document[] = [
  {},
  { text: 5, part: "x", parts: 7, counts: [], time: "x", extra: 1 },
  {
    text: "a",
    part: { name: "p", more: 1, inner: { more: [1] }, width: 1 },
    choicePart: {},
    more: { a: 1 },
    secret: "s",
  },
  {
    part: null,
    parts: [{ name: "kept", more: 1 }],
    extra: { when: new Date(5), $a: { "b.c": 1 } },
    choiceText: "",
  },
];

const records: readonly JsonObject[] = [
  { parts: [{ name: "kept" }] },
  { part: { inner: { name: "i" }, label: "l" }, parts: [{ name: "kept" }, {}], choiceNumber: 0 },
  {
    ...{
      text: "x",
      time: "2026-11-21T03:04:05.678Z",
      price: "1.50",
      uuid: "0f8fad5b-d9cb-469f-a165-70867728950e",
    },
    ...{
      parts: [{}, { name: "kept", others: [{ width: 0 }] }, { name: "kept" }],
      counts: { "a.b": 1, $c: 2, "": 3 },
    },
    ...{
      extra: { $a: { "b.c": 2, $d: null }, when: "1970-01-01T00:00:00.005Z" },
      any: [null],
      choicePart: { count: 1 },
    },
    ...{ colour: "COLOUR_RED", objectId: "65f0a1b2c3d4e5f601234567", largeUnsigned: "18446744073709551615" },
  },
];

test.each(
  currents.flatMap((current, at) => records.map((record, number) => ({ at, number, current, record }))),
)(
  "writes: record $number over document $at → the database holds what was pushed, and all that was undeclared",
  async ({ current, record }) => {
    const after = await overwrite(current, record);
    const wanted = documentOf(everything, readPushed(everything, json(record)).message);
    for (const each of everything.fields.filter(({ access }) => access !== "HIDDEN")) {
      const isCleared = each.name === "part" && !("part" in record);
      if (!isCleared)
        expect([each.name, encodeField(everything, each, after)]).toEqual([
          each.name,
          encodeField(everything, each, wanted),
        ]);
    }
    expect(after["more"]).toEqual(current["more"]);
    expect(after["secret"]).toEqual(current["secret"]);
    if (current["part"]?.more) expect(after["part"]).toMatchObject({ more: 1 });
    if (Array.isArray(current["parts"])) expect(after["parts"]).toContainEqual({ name: "kept", more: 1 });
  },
);
