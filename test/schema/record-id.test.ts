// Record ids: `_id` to text and back, canonical, and nothing that isn't one.
import { Binary, Decimal128, Double, Int32, Long, ObjectId, UUID } from "bson";
import { expect, test } from "vitest";
import { encodeDocument } from "../../src/schema/encode-document.ts";
import { keyOf, recordIdOf } from "../../src/schema/record-id.ts";
import { recordToJson } from "../../src/schema/record-json.ts";
import { UnfitDocument } from "../../src/schema/unfit-document.ts";
import { collection, everything } from "./acme.ts";

const oid = "65f0a1b2c3d4e5f601234567";
const uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
const byObjectId = collection("by_object_id");
const byUuid = collection("by_uuid");
const byNumber = collection("by_number");

test.each([
  [everything, "x", "x"],
  [everything, "Ü 🌊", "Ü 🌊"],
  [byObjectId, new ObjectId(oid), oid],
  [byUuid, new UUID(uuid), uuid],
  [byNumber, 5n, "5"],
  [byNumber, -7, "-7"],
  [byNumber, 0, "0"],
  [byNumber, Long.fromNumber(5), "5"],
  [byNumber, new Int32(5), "5"],
  [byNumber, new Double(5), "5"],
  [byNumber, Decimal128.fromString("5.0"), "5"],
])("id: %# %o → %s", (of, key, wanted) => {
  expect(recordIdOf(of, key)).toBe(wanted);
  expect(recordToJson(of, encodeDocument(of, { _id: key }).bytes)).toEqual({ id: wanted });
  expect(recordIdOf(of, keyOf(of, wanted))).toBe(wanted);
});

test.each([
  [everything, new ObjectId(oid)],
  [everything, 5],
  [everything, ""],
  [everything, "x".repeat(1025)],
  [everything, "é".repeat(513)],
  [everything, null],
  [everything, undefined],
  [byObjectId, oid],
  [byUuid, uuid],
  [byUuid, new Binary(Buffer.alloc(16), 3)],
  [byNumber, 5.5],
  [byNumber, "5"],
  [byNumber, { a: 1 }],
])("id: %# %o doesn't fit → none, and the document is unfit", (of, key) => {
  expect(recordIdOf(of, key)).toBeUndefined();
  expect(() => encodeDocument(of, { _id: key })).toThrow(UnfitDocument);
  expect(() => encodeDocument(of, { _id: key })).toThrow(/^_id: /);
});

test.each([
  [everything, "x", "x"],
  [byObjectId, oid.toUpperCase(), new ObjectId(oid)],
  [byUuid, uuid.toUpperCase(), new UUID(uuid)],
  [byNumber, "-9223372036854775808", -(2n ** 63n)],
])("key: %# %s → canonical", (of, id, wanted) => {
  expect(keyOf(of, id)).toEqual(wanted);
});

test.each([
  [everything, ""],
  [everything, "\ud800"],
  [everything, "é".repeat(513)],
  [byObjectId, "x"],
  [byObjectId, oid.slice(1)],
  [byUuid, uuid.replaceAll("-", "")],
  [byNumber, "05"],
  [byNumber, "+5"],
  [byNumber, "-0"],
  [byNumber, "5.0"],
  [byNumber, "9223372036854775808"],
])("key: %# %s is no id → none", (of, id) => {
  expect(keyOf(of, id)).toBeUndefined();
});
