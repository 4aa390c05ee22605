// Error classes, from errors a real server throws; only lost history, which takes an oplog that rolled over, is made.
import { MongoClient, MongoServerError, Timestamp } from "mongodb";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { SyncError } from "../../src/model/sync-error.ts";
import { connectMongo } from "../../src/mongo/connect.ts";
import { classOf } from "../../src/mongo/error-class.ts";
import { snapshotSession, snapshotTimeOf } from "../../src/mongo/snapshot.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { startOwnMongod } from "../support/own-mongod.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { waitFor } from "../support/wait-for.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());

async function thrownBy(action: () => Promise<unknown>): Promise<unknown> {
  try {
    await action();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

const items = () => db.source.collection<{ _id: number }>("items");

test("class: the same _id again → duplicate-key, singly and in bulk", async () => {
  await items().insertOne({ _id: 1 });
  expect(classOf(await thrownBy(() => items().insertOne({ _id: 1 })))).toBe("duplicate-key");
  expect(classOf(await thrownBy(() => items().insertMany([{ _id: 2 }, { _id: 1 }])))).toBe("duplicate-key");
});

test("class: a validator, an index or the size limit says no → document-refused", async () => {
  await db.source.createCollection("strict", { validator: { n: { $type: "int" } } });
  const strict = db.source.collection("strict");
  expect(classOf(await thrownBy(() => strict.insertOne({ n: "x" })))).toBe("document-refused");
  expect(classOf(await thrownBy(() => strict.insertMany([{ n: "x" }])))).toBe("document-refused");
  const places = db.source.collection("places");
  await places.createIndex({ at: "2dsphere" });
  const nowhere = { at: { type: "Point", coordinates: [500, 500] } };
  expect(classOf(await thrownBy(() => places.insertOne(nowhere)))).toBe("document-refused");
  const pairs = db.source.collection("pairs");
  await pairs.createIndex({ a: 1, b: 1 });
  expect(classOf(await thrownBy(() => pairs.insertOne({ a: [1], b: [2] })))).toBe("document-refused");
  const large = db.source.collection<{ _id: number; a: string }>("large");
  await large.insertOne({ _id: 1, a: "x".repeat(15e6) });
  const grow = () => large.updateOne({ _id: 1 }, { $set: { b: "y".repeat(5e6) } });
  expect(classOf(await thrownBy(grow))).toBe("document-refused");
  expect(classOf(await thrownBy(() => large.insertOne({ _id: 2, a: "x".repeat(17e6) })))).toBe(
    "document-refused",
  );
});

test("class: two transactions write one record → transient", async () => {
  await items().insertOne({ _id: 10 });
  const [first, second] = [db.client.startSession(), db.client.startSession()];
  onTestFinished(() => Promise.all([first.endSession(), second.endSession()]).then(() => {}));
  first.startTransaction();
  second.startTransaction();
  await items().updateOne({ _id: 10 }, { $set: { a: 1 } }, { session: first });
  const conflict = () => items().updateOne({ _id: 10 }, { $set: { a: 2 } }, { session: second });
  expect(classOf(await thrownBy(conflict))).toBe("transient");
});

test("class: a snapshot older than the collection → snapshot-lost (246)", async () => {
  await items().insertOne({ _id: 20 });
  const before = snapshotSession(db.client);
  onTestFinished(() => before.endSession());
  await items().findOne({}, { session: before });
  await db.source.collection("younger").insertOne({});
  const error = await thrownBy(() => db.source.collection("younger").findOne({}, { session: before }));
  expect(error).toMatchObject({ code: 246 });
  expect(classOf(error)).toBe("snapshot-lost");
});

test("class: a snapshot fallen out of the window → snapshot-lost (239)", async () => {
  const mongod = await startOwnMongod(await temporaryFolder());
  onTestFinished(() => mongod.close());
  const client = await connectMongo(mongod.uri);
  onTestFinished(() => client.close());
  const things = client.db("app").collection("things");
  await things.insertOne({ n: 0 });
  const session = snapshotSession(client);
  await things.findOne({}, { session });
  const at = snapshotTimeOf(session);
  await session.endSession();
  await client.db("admin").command({ setParameter: 1, minSnapshotHistoryWindowInSeconds: 0 });
  const error = await waitFor(async () => {
    await things.updateOne({}, { $inc: { n: 1 } });
    const late = snapshotSession(client, at);
    const failure = await things.findOne({}, { session: late }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    await late.endSession();
    return failure;
  });
  expect(error).toMatchObject({ code: 239 });
  expect(classOf(error)).toBe("snapshot-lost");
});

test("class: a read at a time that hasn't come → other", async () => {
  const session = snapshotSession(
    db.client,
    new Timestamp({ t: Math.floor(Date.now() / 1000) + 3600, i: 1 }),
  );
  onTestFinished(() => session.endSession());
  expect(classOf(await thrownBy(() => items().findOne({}, { session })))).toBe("other");
});

test("class: the stream's history is gone → history-lost", () => {
  for (const code of [136, 260, 280, 286]) {
    expect(
      classOf(new MongoServerError({ message: "resume point may no longer be in the oplog", code })),
    ).toBe("history-lost");
  }
});

test("class: out of time, no server, a closed client → unavailable", async () => {
  await items().insertOne({ _id: 30 });
  const slow = () => items().find({ $where: "while (true) {}" }, { maxTimeMS: 20 }).toArray();
  expect(classOf(await thrownBy(slow))).toBe("unavailable");
  const nobody = new MongoClient("mongodb://127.0.0.1:1/", { serverSelectionTimeoutMS: 100 });
  expect(classOf(await thrownBy(() => nobody.connect()))).toBe("unavailable");
  const closed = await connectMongo(db.uri);
  await closed.close();
  expect(classOf(await thrownBy(() => closed.db("app").command({ ping: 1 })))).toBe("unavailable");
});

test("class: the server is killed under an operation → unavailable", async () => {
  const mongod = await startOwnMongod(await temporaryFolder());
  onTestFinished(() => mongod.close());
  const client = await connectMongo(mongod.uri, { serverSelectionTimeoutMs: 200 });
  onTestFinished(() => client.close());
  const things = client.db("app").collection("things");
  await things.insertOne({ n: 0 });
  const long = thrownBy(() => things.find({ $where: "while (true) {}" }).toArray());
  await waitFor(
    async () => (await client.db("admin").command({ currentOp: 1, op: "query" })).inprog.length > 0,
  );
  process.kill(mongod.pid, "SIGKILL");
  expect(classOf(await long)).toBe("unavailable");
  expect(classOf(await thrownBy(() => things.insertOne({ n: 1 })))).toBe("unavailable");
});

test("class: a faulty command, a bug, a caller's fault → other; a SyncError by its reason", async () => {
  expect(classOf(await thrownBy(() => db.source.command({ find: "items", filter: { $nonsense: 1 } })))).toBe(
    "other",
  );
  expect(classOf(new TypeError("a bug"))).toBe("other");
  expect(classOf(undefined)).toBe("other");
  expect(classOf(new SyncError("FORBIDDEN", "no"))).toBe("other");
  expect(classOf(new SyncError("CONTENTION", "again"))).toBe("transient");
  expect(classOf(new SyncError("DATABASE_UNAVAILABLE", "wait"))).toBe("unavailable");
});
