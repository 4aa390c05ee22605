// Session pools: how many, who is next, what never comes back, what the database knows of them.
import type { ClientSession } from "mongodb";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { connectMongo } from "../../src/mongo/connect.ts";
import { nodesOf } from "../../src/mongo/nodes.ts";
import { openSessionPool, type SessionPool } from "../../src/mongo/session-pool.ts";
import { runTransaction } from "../../src/mongo/transaction.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { startOwnMongod } from "../support/own-mongod.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { waitFor } from "../support/wait-for.ts";
import { wallClock } from "./wall-clock.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());

const never = new AbortController().signal;
const idOf = (session: ClientSession) => session.id?.id.toString("hex") ?? "";

async function openPool(size: number, client = db.client): Promise<SessionPool> {
  const options = { client, db: client.db(db.tidemarkDb), clock: wallClock, nodeId: "node", size };
  const pool = await openSessionPool(options);
  onTestFinished(() => pool.close());
  return pool;
}

function documents(client = db.client) {
  return client.db(db.sourceDb).collection<{ _id: string }>("documents");
}

async function registered(pool: SessionPool, client = db.client): Promise<string[]> {
  const node = await nodesOf(client.db(db.tidemarkDb)).findOne({ _id: pool.id });
  return (node?.sessions ?? []).map(({ id }) => id.toString("hex"));
}

/** Resolves with "waiting" if the promise has not settled by now. */
const present = <T>(promise: Promise<T>) =>
  Promise.race([promise, new Promise<"waiting">((resolve) => setImmediate(resolve, "waiting"))]);

test("session pool: opened → all its sessions are registered; closed → none, and nothing is lent", async () => {
  const pool = await openPool(3);
  const ids = await registered(pool);
  const lent = await Promise.all([1, 2, 3].map(() => pool.acquire(never)));
  expect(lent.map(idOf).toSorted()).toEqual(ids.toSorted());
  for (const session of lent) pool.release(session);
  await pool.close();
  expect(await nodesOf(db.client.db(db.tidemarkDb)).findOne({ _id: pool.id })).toBeNull();
  await expect(pool.acquire(never)).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
});

test("session pool: all are in use → whoever asks waits, and is served in the order of asking", async () => {
  const pool = await openPool(1);
  const first = await pool.acquire(never);
  const served: number[] = [];
  const waiting = [1, 2, 3].map(async (n) => {
    const session = await pool.acquire(never);
    served.push(n);
    return session;
  });
  expect(await present(Promise.race(waiting))).toBe("waiting");
  pool.release(first);
  for (const session of waiting) pool.release(await session);
  expect(served).toEqual([1, 2, 3]);
});

test("session pool: aborted while waiting → rejects with the reason, and the next in line is served", async () => {
  const pool = await openPool(1);
  const session = await pool.acquire(never);
  const abort = new AbortController();
  const impatient = pool.acquire(abort.signal);
  const patient = pool.acquire(never);
  const reason = new Error("too long");
  abort.abort(reason);
  await expect(impatient).rejects.toBe(reason);
  pool.release(session);
  pool.release(await patient);
  await expect(pool.acquire(abort.signal)).rejects.toBe(reason);
});

test("session pool: time used up by waiting for a session → DATABASE_UNAVAILABLE, the work never runs", async () => {
  const pool = await openPool(1);
  const session = await pool.acquire(never);
  let runs = 0;
  const work = () => Promise.resolve(++runs);
  const running = runTransaction(db.client, work, { sessions: pool, durationMsMax: 50 });
  await expect(running).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
  expect(runs).toBe(0);
  pool.release(session);
});

test("session pool: more transactions than sessions → all commit, in the same sessions", async () => {
  const pool = await openPool(2);
  const used = new Set<string>();
  const insert = (n: number) =>
    runTransaction(
      db.client,
      async (session) => {
        used.add(idOf(session));
        await documents().insertOne({ _id: `many ${n}` }, { session });
      },
      { sessions: pool },
    );
  await Promise.all(Array.from({ length: 20 }, (_, n) => insert(n)));
  expect(await documents().countDocuments({ _id: /^many/ })).toBe(20);
  expect([...used].toSorted()).toEqual((await registered(pool)).toSorted());
});

test("session pool: work that fails → its transaction is rolled back and the session used again", async () => {
  const pool = await openPool(1);
  const failing = runTransaction(
    db.client,
    async (session) => {
      await documents().insertOne({ _id: "failed" }, { session });
      throw new Error("no");
    },
    { sessions: pool },
  );
  const [before] = await registered(pool);
  await expect(failing).rejects.toThrow("no");
  const session = await pool.acquire(never);
  expect([idOf(session), session.inTransaction()]).toEqual([before, false]);
  pool.release(session);
  // Would be held up for as long as the transaction is open.
  await documents().insertOne({ _id: "failed" });
});

test("session pool: work is abandoned → another session, registered first, takes the place; the old one goes when it ends", async () => {
  const pool = await openPool(1);
  const abort = new AbortController();
  const written = Promise.withResolvers<string>();
  const release = Promise.withResolvers<void>();
  const abandoned = runTransaction(
    db.client,
    async (session) => {
      await documents().insertOne({ _id: "abandoned" }, { session });
      written.resolve(idOf(session));
      await release.promise;
      await documents().insertOne({ _id: "abandoned too" }, { session });
    },
    { sessions: pool, signal: abort.signal },
  );
  const old = await written.promise;
  abort.abort(new Error("enough"));
  await expect(abandoned).rejects.toThrow("enough");
  const fresh = await pool.acquire(never);
  expect(idOf(fresh)).not.toBe(old);
  expect((await registered(pool)).toSorted()).toEqual([old, idOf(fresh)].toSorted());
  pool.release(fresh);
  release.resolve();
  await waitFor(async () => (await registered(pool)).join() === idOf(fresh));
  expect(await documents().countDocuments({ _id: /^abandoned/ })).toBe(0);
});

test("session pool: abandoned work that never ends → no more than twice the sessions; closing doesn't wait for it", async () => {
  const pool = await openPool(1);
  const hang = async () => {
    const hanging = runTransaction(db.client, () => new Promise(() => {}), {
      sessions: pool,
      durationMsMax: 300,
    });
    await expect(hanging).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
  };
  await hang();
  await hang();
  expect(await registered(pool)).toHaveLength(2);
  const third = pool.acquire(never);
  expect(await present(third)).toBe("waiting");
  const refused = expect(third).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
  await pool.close();
  await refused;
});

test("session pool: the connection breaks inside a transaction → its session is ended and another takes its place", async () => {
  const mongod = await startOwnMongod(await temporaryFolder());
  onTestFinished(() => mongod.close());
  const client = await connectMongo(mongod.uri);
  onTestFinished(() => client.close());
  const pool = await openPool(1, client);
  const [before] = await registered(pool, client);
  await client.db("admin").command({
    configureFailPoint: "failCommand",
    mode: { times: 1 },
    data: { failCommands: ["find"], closeConnection: true },
  });
  let runs = 0;
  await runTransaction(
    client,
    async (session) => {
      runs += 1;
      await documents(client).insertOne({ _id: "broken" }, { session });
      await documents(client).findOne({ _id: "broken" }, { session });
    },
    { sessions: pool },
  );
  expect(runs).toBe(2);
  const after = await pool.acquire(never);
  expect(idOf(after)).not.toBe(before);
  await waitFor(async () => (await registered(pool, client)).join() === idOf(after));
  pool.release(after);
});

test("session pool: idle → it doesn't write; used → the beat moves, for as long as a transaction is open", async () => {
  const pool = await openPool(1);
  const beat = async () => (await nodesOf(db.client.db(db.tidemarkDb)).findOne({ _id: pool.id }))?.beat ?? 0;
  const first = await beat();
  pool.release(await pool.acquire(never));
  await waitFor(async () => (await beat()) > first);
  expect(await beat()).toBe(first + 1);
  await runTransaction(
    db.client,
    async (session) => {
      await documents().findOne({ _id: "long" }, { session });
      await waitFor(async () => (await beat()) >= first + 4);
    },
    { sessions: pool },
  );
});
