// A server that was away: a client that resumes with its old cursor gets exactly the net difference.
import { afterAll, beforeAll, expect, it } from "vitest";
import { Follower } from "../support/follower.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { startServer } from "../support/server.ts";

const TODOS = 2000;
const CITIES = 300;
const CHANGED = 1000;

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

afterAll(() => database.drop());

it("resume: server stopped, 1,000 records changed, one collection dropped → the net difference, once", async () => {
  const todos = database.source.collection<{ _id: string; ownerId: string; title: string; votes: number }>(
    "todos",
  );
  const cities = database.source.collection<{ _id: string; name: string }>("cities");
  const numbers = Array.from({ length: TODOS }, (_, n) => n);
  await todos.insertMany(
    numbers.map((n) => ({ _id: `t${n}`, ownerId: "ana", title: `Todo ${n}`, votes: 1 })),
  );
  await cities.insertMany(Array.from({ length: CITIES }, (_, n) => ({ _id: `c${n}`, name: `City ${n}` })));

  const before = await startServer(database);
  const first = new Follower(before.url, "ana");
  const { changes: whole } = await first.checkpoint();
  expect(whole).toHaveLength(TODOS + CITIES);
  const cursor = first.cursor;
  await first[Symbol.asyncDispose]();
  await before.close();

  // Several writes to one record, one that takes itself back, a delete, an insert that is deleted again.
  const edited = numbers.slice(0, CHANGED - 2).map((n) => `t${n}`);
  await todos.updateMany({ _id: { $in: edited } }, { $inc: { votes: 1 } });
  await todos.updateMany({ _id: { $in: edited } }, { $inc: { votes: 1 } });
  await todos.updateOne({ _id: "t1500" }, { $set: { title: "Changed" } });
  await todos.updateOne({ _id: "t1500" }, { $set: { title: "Todo 1500" } });
  await todos.deleteOne({ _id: "t1600" });
  await todos.insertOne({ _id: "new", ownerId: "ana", title: "New", votes: 1 });
  await todos.insertOne({ _id: "gone", ownerId: "ana", title: "Gone", votes: 1 });
  await todos.deleteOne({ _id: "gone" });
  await cities.drop();

  const after = await startServer(database);
  const second = new Follower(after.url, "ana", cursor ? { cursor } : {});
  const session = database.client.startSession();
  await todos.findOne({}, { session });
  const { changes } = await second.checkpoint(session.operationTime);
  const got = changes.map(({ collection, recordId, kind }) => {
    const fields = kind.case === "put" ? `[${kind.value.changed}]` : "";
    return `${collection}/${recordId} ${kind.case}${fields}`;
  });
  const want = [
    ...edited.map((id) => `todos/${id} put[8]`),
    "todos/new put[]",
    "todos/t1600 remove",
    ...Array.from({ length: CITIES }, (_, n) => `cities/c${n} remove`),
  ];
  expect(got.sort()).toEqual(want.sort());
  await session.endSession();
  await second[Symbol.asyncDispose]();
  await after.close();
});
