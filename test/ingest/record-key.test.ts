// Keys as text: equal exactly where MongoDB's `_id` index of the log has them equal.
import { Binary, Decimal128, Long, ObjectId, UUID } from "mongodb";
import { expect, test } from "vitest";
import { keyText } from "../../src/ingest/record-key.ts";
import { testDatabase } from "../support/mongo.ts";

const uuid = new UUID("6f1ed002-ab10-4e5c-9a5d-5a1f4d5b6c7d");
const keys: readonly unknown[] = [
  ...["", "a", "A", "1", "n1"],
  ...[0, -0, 1, 1.5, -1, 2 ** 53, Number.NaN, 1n, Long.fromNumber(1), Decimal128.fromString("1.0")],
  ...[
    new ObjectId("0123456789abcdef01234567"),
    "0123456789abcdef01234567",
    uuid,
    new Binary(uuid.buffer, 4),
    new Binary(uuid.buffer, 0),
  ],
  ...[null, true, false, new Date(0), new Date(1), { a: 1 }, { a: "1" }, { b: 1 }],
];

test("keys: the same text where the log takes them for one _id, another where it doesn't", async () => {
  const { client, tidemarkDb, drop } = await testDatabase();
  try {
    const collection = client.db(tidemarkDb).collection<{ _id: { c: string; k: unknown } }>("keys");
    for (const k of keys) {
      await collection.deleteMany({});
      await collection.insertOne({ _id: { c: "todos", k } });
      for (const other of keys) {
        const same = (await collection.countDocuments({ _id: { c: "todos", k: other } })) === 1;
        expect([k, other, keyText(k) === keyText(other)]).toEqual([k, other, same]);
      }
    }
  } finally {
    await drop();
  }
});
