// Deltas by slicing, and the JSON forms of records and deltas.
import { fromBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { changedFields, pickFields } from "../../src/schema/delta.ts";
import { deltaToJson, recordToJson } from "../../src/schema/record-json.ts";
import { bytesOf, everything, field } from "./acme.ts";

const number = (name: string) => field(name).number;
const changed = (before: object, after: object) => changedFields(everything, bytesOf(before), bytesOf(after));

test("delta: no field differs → none, though the documents do", () => {
  expect(changed({ text: "x", small: 3 }, { small: 3n, text: "x", more: 1, flag: false, parts: [] })).toEqual(
    [],
  );
});

test("delta: changed, new and cleared fields, ascending", () => {
  expect(changed({ text: "x", flag: true }, { text: "y", small: 1 })).toEqual([
    ...[number("text"), number("flag"), number("small")],
  ]);
});

test("delta: repeated fields and maps as wholes", () => {
  expect(changed({ texts: ["a", "b"] }, { texts: ["a", "b", "c"] })).toEqual([number("texts")]);
  expect(changed({ counts: { a: 1, b: 2 } }, { counts: { b: 2, a: 1 } })).toEqual([]);
  expect(changed({ counts: { a: 1 } }, { counts: { a: 2 } })).toEqual([number("counts")]);
});

test("delta: a oneof's members are listed together", () => {
  const members = ["choice_text", "choice_number", "choice_part"].map(number);
  expect(changed({ choiceText: "x" }, { choiceNumber: 0 })).toEqual(members);
  expect(changed({ choiceText: "x" }, { choiceText: "y" })).toEqual(members);
  expect(changed({ choiceText: "x" }, {})).toEqual(members);
});

test("delta: never the id, never a hidden field", () => {
  const before = bytesOf({ secret: "a" });
  const after = bytesOf({ _id: "b", secret: "b" });
  expect(changedFields(everything, before, after)).toEqual([]);
});

test("delta: a number the schema has no more → listed where it was", () => {
  const before = Buffer.concat([bytesOf({ text: "x" }), Buffer.from([0xfa, 0x3e, 1, 65])]);
  expect(changedFields(everything, before, bytesOf({ text: "x" }))).toEqual([1007]);
  expect(deltaToJson(everything, bytesOf({ text: "x" }), [1007])).toEqual({});
});

test("delta: dropping the changed fields and appending the delta gives the new record", () => {
  const before = bytesOf({
    text: "x",
    texts: ["a"],
    parts: [{ name: "p" }],
    choiceText: "c",
    wrappedText: "",
  });
  const after = bytesOf({
    texts: ["a", "b"],
    parts: [{ name: "p" }],
    choicePart: {},
    large: -1n,
    time: new Date(5),
  });
  const numbers = changedFields(everything, before, after);
  const kept = everything.fields.map((each) => each.number).filter((each) => !numbers.includes(each));
  const patched = Buffer.concat([pickFields(before, [1, ...kept]), pickFields(after, numbers)]);
  expect(fromBinary(everything.message, patched)).toEqual(fromBinary(everything.message, after));
});

test("delta: picking nothing, everything, and numbers that aren't there", () => {
  const record = bytesOf({ text: "x", numbers: [1, 2], flag: true });
  expect(pickFields(record, []).length).toBe(0);
  expect(pickFields(record, [1, ...everything.fields.map((each) => each.number)])).toEqual(
    new Uint8Array(record),
  );
  expect(pickFields(record, [number("small")]).length).toBe(0);
  expect(pickFields(new Uint8Array(), [1]).length).toBe(0);
});

test("json: whole records leave defaults out", () => {
  const record = bytesOf({
    text: "x",
    large: 5n,
    small: 0,
    maybeNumber: 0,
    secret: "s",
    part: { cost: "c" },
  });
  expect(recordToJson(everything, record)).toEqual({
    id: "a",
    text: "x",
    large: "5",
    maybeNumber: 0,
    part: {},
  });
});

test("json: deltas have every changed key, null where cleared", () => {
  const record = bytesOf({ text: "x", choiceText: "y" });
  const numbers = ["text", "flag", "parts", "choice_text", "choice_number", "time", "renamed"].map(number);
  expect(deltaToJson(everything, record, numbers)).toEqual({
    text: "x",
    flag: null,
    parts: null,
    choiceText: "y",
    choiceNumber: null,
    time: null,
    renamed: null,
  });
  expect(deltaToJson(everything, pickFields(record, numbers), [number("text")])).toEqual({ text: "x" });
});
