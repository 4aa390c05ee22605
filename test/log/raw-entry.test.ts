// Entries from their bytes, against the driver's own decoder.
import fc from "fast-check";
import { Binary, BSON, Decimal128, type Document, Int32, Long, ObjectId, UUID } from "mongodb";
import { describe, expect, it } from "vitest";
import { type EntryDocument, entryOf } from "../../src/log/entry.ts";
import { rawEntryOf } from "../../src/log/raw-entry.ts";

/** As the driver reads it. */
function decoded(document: Document) {
  return entryOf(BSON.deserialize(BSON.serialize(document)) as EntryDocument);
}

function plain(entry: ReturnType<typeof rawEntryOf>) {
  if (entry.kind === "leaver") return entry;
  return { ...entry, record: Buffer.from(entry.record).toString("hex"), marks: [...entry.marks] };
}

const text = fc.string({ unit: "grapheme", maxLength: 12 });
const seq = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  fc.maxSafeNat().map((n) => Long.fromNumber(n)),
);
const id = fc.oneof(
  text,
  fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => new ObjectId(bytes)),
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }).map((n) => new Int32(n)),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((n) => Long.fromBigInt(n)),
  fc.uuid().map((uuid) => new UUID(uuid)),
  fc.double({ noNaN: true }),
  fc.date({ noInvalidDate: true }),
  fc.boolean(),
  fc.constant(null),
  fc.constant(Decimal128.fromString("1.50")),
  fc.uint8Array({ maxLength: 9 }).map((bytes) => new Binary(bytes)),
  fc.record({ a: text, f: fc.integer() }),
);

const main = fc
  .record({
    c: text,
    k: id,
    feeds: fc.array(text, { maxLength: 4 }),
    seq,
    since: seq,
    record: fc.uint8Array({ maxLength: 300 }),
    marks: fc.dictionary(fc.integer({ min: 1, max: 9999 }).map(String), seq, { maxKeys: 5 }),
    schema: fc.integer({ min: 1, max: 99 }),
    load: fc.option(fc.nat(99), { nil: undefined }),
    hasOwnId: fc.boolean(),
    id: text,
  })
  .map(({ c, k, record, hasOwnId, load, ...rest }) => ({
    _id: { c, k },
    ...rest,
    id: hasOwnId && typeof k === "string" ? k : rest.id,
    record: new Binary(record),
    ...(load === undefined ? {} : { load }),
  }));

describe("log: entries from their bytes", () => {
  it("main entries of all kinds → as the driver reads them", () => {
    fc.assert(
      fc.property(main, (document) => {
        expect(plain(rawEntryOf(BSON.serialize(document)))).toEqual(plain(decoded(document)));
      }),
      { numRuns: 2_000 },
    );
  });

  it("a leaver → as the driver reads it", () => {
    const leaver = {
      _id: { c: "todos", k: "milk", f: "todos/user:ana" },
      id: "milk",
      feeds: ["todos/user:ana"],
      seq: Long.fromNumber(7),
      schema: 1,
      reason: "DELETED",
      at: new Date(1_700_000_000_000),
    };
    expect(rawEntryOf(BSON.serialize(leaver))).toEqual(decoded(leaver));
  });

  it("bytes in the midst of a larger buffer → the record is a view of them", () => {
    const document = {
      _id: { c: "todos", k: "milk" },
      id: "milk",
      feeds: ["todos/public"],
      seq: Long.fromNumber(2 ** 40),
      since: Long.fromNumber(1),
      record: new Binary(Buffer.from("record")),
      marks: {},
      schema: 1,
    };
    const bytes = BSON.serialize(document);
    const around = Buffer.concat([Buffer.alloc(7, 255), bytes, Buffer.alloc(7, 255)]);
    const entry = rawEntryOf(around.subarray(7, 7 + bytes.length));
    expect(plain(entry)).toEqual(plain(decoded(document)));
    expect(entry.kind === "main" && entry.record.buffer === around.buffer).toBe(true);
  });
});
