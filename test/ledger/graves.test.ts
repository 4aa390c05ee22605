// Graves: what comes out is what went in, and they go when receipts do.
import { Binary, Double, Long, ObjectId } from "mongodb";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readGraves, writeGraves } from "../../src/ledger/graves.ts";
import { expireReceipts, type Ledger, openLedger } from "../../src/ledger/ledger.ts";
import { runTransaction } from "../../src/mongo/transaction.ts";
import { sourceReadOptions } from "../../src/schema/bson-value.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";

const DAY_MS = 86_400_000;

let database: TestDatabase;
let ledger: Ledger;

beforeAll(async () => {
  database = await testDatabase();
  ledger = await openLedger(database.client, database.tidemarkDb, 90);
});
afterAll(() => database.drop());

async function bury(ref: string, grave: Record<string, unknown> | "none", atMs = Date.now()): Promise<void> {
  const changes = [{ ref, grave }];
  await runTransaction(database.client, (session) => writeGraves(ledger, { changes, atMs }, session));
}

async function graveOf(ref: string): Promise<unknown> {
  const asked = { refs: [ref], readOptions: sourceReadOptions };
  const { result } = await runTransaction(database.client, (session) => readGraves(ledger, asked, session));
  return result.get(ref);
}

test("graves: a document of every kind of value → the same, to the type", async () => {
  const document = {
    _id: new ObjectId(),
    whole: Long.MAX_VALUE,
    double: new Double(1),
    bytes: new Binary(Buffer.from("b"), 128),
    at: new Date(5),
    nested: { undeclared: [null, { deep: true }] },
  };
  await database.source.collection<Record<string, unknown>>("kinds").insertOne(document);
  const stored = await database.source.collection("kinds", sourceReadOptions).findOne({ _id: document._id });
  await bury("kinds/a", stored ?? {});
  expect(await graveOf("kinds/a")).toEqual(stored);
});

test("graves: buried again → the later; taken away → none", async () => {
  await bury("notes/a", { _id: "a", title: "first" });
  await bury("notes/a", { _id: "a", title: "second" });
  expect(await graveOf("notes/a")).toEqual({ _id: "a", title: "second" });
  await bury("notes/a", "none");
  expect(await graveOf("notes/a")).toBeUndefined();
});

test("graves: older than receipts are kept → gone with them; younger → kept", async () => {
  const nowMs = Date.now();
  await bury("notes/old", { _id: "old" }, nowMs - 91 * DAY_MS);
  await bury("notes/young", { _id: "young" }, nowMs - 89 * DAY_MS);
  await expireReceipts(ledger, nowMs);
  expect(await graveOf("notes/old")).toBeUndefined();
  expect(await graveOf("notes/young")).toEqual({ _id: "young" });
});
