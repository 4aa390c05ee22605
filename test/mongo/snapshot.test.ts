// Reads at a cluster time: exact, in every batch, whatever is written meanwhile.
import { MongoClient, type Timestamp } from "mongodb";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { connectMongo } from "../../src/mongo/connect.ts";
import { closeSnapshotCursor, snapshotSession, snapshotTimeOf } from "../../src/mongo/snapshot.ts";
import { runTransaction } from "../../src/mongo/transaction.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";

interface Item {
  _id: number;
  n: number;
  text: string;
}

const COUNT = 2_000;

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());

/** A collection of 2,000 records at n = 0, written by one transaction, and its time. */
async function filled(name: string): Promise<Timestamp> {
  await db.source.createCollection(name);
  const items = Array.from({ length: COUNT }, (_, _id) => ({ _id, n: 0, text: "x".repeat(300) }));
  const write = await runTransaction(db.client, (session) => itemsOf(name).insertMany(items, { session }));
  return write.operationTime;
}

function itemsOf(name: string, client: MongoClient = db.client) {
  return client.db(db.sourceDb).collection<Item>(name);
}

function open(at?: Timestamp, client: MongoClient = db.client) {
  const session = snapshotSession(client, at);
  onTestFinished(() => session.endSession());
  return session;
}

test("snapshot: a find at T in batches, records changed between its getMores → all as they were at T", async () => {
  const at = await filled("batches");
  const session = open(at);
  const cursor = itemsOf("batches").find({}, { session, batchSize: 100, sort: { _id: 1 } });
  let count = 0;
  for await (const item of cursor) {
    expect(item).toMatchObject({ _id: count, n: 0 });
    count += 1;
    if (count % 500 === 0) {
      await itemsOf("batches").updateMany({}, { $inc: { n: 1 } });
      await itemsOf("batches").deleteMany({ _id: { $gte: COUNT - count, $lt: COUNT - count + 10 } });
      await itemsOf("batches").insertOne({ _id: COUNT + count, n: 9, text: "" });
    }
  }
  expect(count).toBe(COUNT);
  expect(snapshotTimeOf(session)).toEqual(at);
});

test("snapshot: a find by keys at T, without sort, in the order of the collection → each key once, as at T", async () => {
  const at = await filled("keys");
  await itemsOf("keys").updateMany({}, { $set: { n: 1 } });
  const keys = Array.from({ length: COUNT }, (_, index) => index);
  const found = await itemsOf("keys")
    .find({ _id: { $in: keys } }, { session: open(at), batchSize: 333 })
    .toArray();
  expect(found).toHaveLength(COUNT);
  expect(new Set(found.map(({ _id }) => _id)).size).toBe(COUNT);
  expect(found.every(({ n }) => n === 0)).toBe(true);
});

test("snapshot: at the cluster time of an event just received → the record as that event left it", async () => {
  await db.source.createCollection("events");
  const stream = itemsOf("events").watch();
  onTestFinished(() => stream.close());
  expect(await stream.tryNext()).toBeNull();
  await itemsOf("events").insertOne({ _id: 1, n: 0, text: "" });
  for (let n = 1; n <= 20; n++) await itemsOf("events").updateOne({ _id: 1 }, { $set: { n } });
  for (let n = 0; n <= 20; n++) {
    const { clusterTime } = await stream.next();
    const item = await itemsOf("events").findOne({ _id: 1 }, { session: open(clusterTime) });
    expect(item?.n).toBe(n);
  }
});

test("snapshot: one tick before a transaction → nothing of it; at its time → all of it", async () => {
  const at = await filled("ticks");
  const { operationTime } = await runTransaction(db.client, (session) =>
    itemsOf("ticks").updateMany({}, { $set: { n: 1 } }, { session }),
  );
  expect(operationTime.greaterThan(at)).toBe(true);
  expect(await itemsOf("ticks").countDocuments({ n: 1 }, { session: open(operationTime) })).toBe(COUNT);
  expect(await itemsOf("ticks").countDocuments({ n: 1 }, { session: open(at) })).toBe(0);
});

test("snapshot: without a time → the first read fixes it for finds and aggregates of other collections", async () => {
  await filled("first");
  await filled("second");
  const session = open();
  expect(await itemsOf("first").countDocuments({}, { session })).toBe(COUNT);
  const at = snapshotTimeOf(session);
  await itemsOf("second").updateMany({}, { $set: { n: 1 } });
  expect(await itemsOf("second").countDocuments({ n: 0 }, { session })).toBe(COUNT);
  expect(await itemsOf("second").findOne({ _id: 0 }, { session })).toMatchObject({ n: 0 });
  expect(snapshotTimeOf(session)).toEqual(at);
});

test("snapshot: a read concern inherited from the client → no snapshot, and asking for its time says so", async () => {
  await filled("inherited");
  const client = new MongoClient(db.uri, { readConcern: { level: "majority" } });
  onTestFinished(() => client.close());
  const session = open(undefined, client);
  expect(await itemsOf("inherited", client).findOne({}, { session })).not.toBeNull();
  expect(() => snapshotTimeOf(session)).toThrow("broken invariant");
});

test("snapshot: a read concern in the connection string → cut out, the session reads from a snapshot", async () => {
  await filled("uri");
  const client = await connectMongo(`${db.uri}&readConcernLevel=local&w=1`);
  onTestFinished(() => client.close());
  const session = open(undefined, client);
  expect(await itemsOf("uri", client).findOne({}, { session })).not.toBeNull();
  expect(snapshotTimeOf(session).t).toBeGreaterThan(0);
});

test("snapshot: the collection was dropped after T → it reads as empty, without an error", async () => {
  const at = await filled("dropped");
  await itemsOf("dropped").drop();
  expect(await itemsOf("dropped").countDocuments({}, { session: open(at) })).toBe(0);
});

test("snapshot: the first find meets no collection → no time fixed yet, and asking for it says so; an aggregate fixes it", async () => {
  const session = open();
  expect(await itemsOf("nowhere").findOne({}, { session })).toBeNull();
  expect(() => snapshotTimeOf(session)).toThrow("broken invariant");
  expect(await itemsOf("nowhere").aggregate([], { session }).toArray()).toEqual([]);
  expect(snapshotTimeOf(session).t).toBeGreaterThan(0);
});

/** Cursors the server keeps for these items. */
async function cursorsOpen(name: string): Promise<number> {
  const open = db.client
    .db("admin")
    .aggregate([
      { $currentOp: { idleCursors: true, localOps: true } },
      { $match: { type: "idleCursor", ns: `${db.sourceDb}.${name}` } },
    ]);
  return (await open.toArray()).length;
}

test("snapshot: a cursor that isn't read to its end, closed → the server keeps nothing of it", async () => {
  await filled("unread");
  const session = open();
  const [first, second] = [0, 1].map(() => itemsOf("unread").find({}, { session, batchSize: 10 }));
  if (!first || !second) throw new Error("no cursors");
  await Promise.all([first.next(), second.next()]);
  expect(await cursorsOpen("unread")).toBe(2);
  await closeSnapshotCursor(db.client, first);
  expect(await cursorsOpen("unread")).toBe(1);
  expect((await second.toArray()).length).toBe(COUNT - 1);
  await closeSnapshotCursor(db.client, second);
  await closeSnapshotCursor(db.client, itemsOf("unread").find({}, { session }));
});

test("snapshot: the driver's own close of such a cursor → the server keeps it, which is why there is another", async () => {
  await filled("kept");
  const cursor = itemsOf("kept").find({}, { session: open(), batchSize: 10 });
  await cursor.next();
  await cursor.close();
  expect(await cursorsOpen("kept")).toBe(1);
});
