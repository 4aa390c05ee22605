// Nodes that die, and nodes that only seem to: what is open in their transactions, as another node meets it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type ClientSession, MongoClient } from "mongodb";
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import type { Clock } from "../../src/model/clock.ts";
import { connectMongo } from "../../src/mongo/connect.ts";
import { nodesOf } from "../../src/mongo/nodes.ts";
import { watchOrphans } from "../../src/mongo/orphans.ts";
import { openSessionPool, type SessionPool } from "../../src/mongo/session-pool.ts";
import { runTransaction } from "../../src/mongo/transaction.ts";
import { FakeClock } from "../pull/fake-clock.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { startOwnMongod } from "../support/own-mongod.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { waitFor } from "../support/wait-for.ts";
import { wallClock } from "./wall-clock.ts";

const OWNER = fileURLToPath(new URL("./pool-owner.ts", import.meta.url));
const STALE_MS = 400;

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  await nodes().deleteMany({});
  await documents().deleteMany({});
  await documents().insertOne({ _id: "held", n: 0 });
});

function documents(client = db.client) {
  return client.db(db.sourceDb).collection<{ _id: string; n: number }>("documents");
}

function nodes(client = db.client) {
  return nodesOf(client.db(db.tidemarkDb));
}

async function openPool(clock: Clock, client = db.client): Promise<SessionPool> {
  const pool = await openSessionPool({
    client,
    db: client.db(db.tidemarkDb),
    clock,
    nodeId: "living",
    size: 1,
  });
  onTestFinished(() => pool.close());
  return pool;
}

function watch(clock: Clock = wallClock, staleMs = STALE_MS, client = db.client): void {
  const options = { client, db: client.db(db.tidemarkDb), clock, staleMs, ownId: "watcher" };
  const watching = watchOrphans(options);
  onTestFinished(() => watching.close());
}

/** Watches by a clock that stands still; what is returned lets it go on until another sweep has read the nodes. */
function watchSweeps(clock: FakeClock, staleMs: number): () => Promise<unknown> {
  const client = new MongoClient(db.uri, { monitorCommands: true });
  onTestFinished(() => client.close());
  let sweeps = 0;
  client.on("commandSucceeded", ({ commandName }) => {
    if (commandName === "find") sweeps += 1;
  });
  watch(clock, staleMs, client);
  return () => {
    const before = sweeps;
    return waitFor(() => {
      clock.advance(100);
      return sweeps > before;
    });
  };
}

/** A node killed with a transaction open that has written "held". */
async function killedNode(): Promise<void> {
  const args = [OWNER, db.uri, db.sourceDb, db.tidemarkDb];
  const owner = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(createInterface(owner.stdout), "line");
  expect(line).toBe("holding");
  owner.kill("SIGKILL");
  await once(owner, "exit");
}

async function raise(session: ClientSession, client = db.client): Promise<void> {
  await documents(client).updateOne({ _id: "held" }, { $inc: { n: 1 } }, { session });
}

const writeHeld = (durationMsMax: number) =>
  runTransaction(db.client, (session) => raise(session), { durationMsMax });

test("orphans: a node is killed inside a transaction → its documents are held until another node ends it", async () => {
  await killedNode();
  // The counter-proof: while nobody looks, the document stays held.
  await expect(writeHeld(2_000)).rejects.toMatchObject({ reason: "CONTENTION" });
  watch();
  await waitFor(() => writeHeld(500).catch(() => undefined));
  expect(await documents().findOne({ _id: "held" })).toEqual({ _id: "held", n: 1 });
});

test("orphans: a node starts and finds beats it doesn't know → they count as just seen", async () => {
  const holder = await openPool(new FakeClock());
  await runTransaction(
    db.client,
    async (session) => {
      await raise(session);
      await nodes().insertOne({ _id: "old", sessions: [], beat: 0, at: new Date(0) });
      watch(new FakeClock(), 5_000);
      // The first sweep forgets what is older than a day, after it has judged the others.
      await waitFor(async () => (await nodes().findOne({ _id: "old" })) === null);
      await raise(session);
    },
    { sessions: holder, attemptsMax: 1 },
  );
  expect(await documents().findOne({ _id: "held" })).toEqual({ _id: "held", n: 2 });
});

test("orphans: a living node is taken for dead → its transaction is run again and committed", async () => {
  const sessions = await openPool(new FakeClock());
  watch();
  let runs = 0;
  await runTransaction(
    db.client,
    async (session) => {
      runs += 1;
      await raise(session);
      // Outside the transaction, hence held up by it until it is ended.
      if (runs === 1) await documents().updateOne({ _id: "held" }, { $inc: { n: 10 } });
      await raise(session);
    },
    { sessions },
  );
  expect(runs).toBe(2);
  expect(await documents().findOne({ _id: "held" })).toEqual({ _id: "held", n: 12 });
});

test("orphans: a beat that moves, or was not looked at for a while → left alone; one that stands still → ended", async () => {
  const sessions = await openPool(new FakeClock());
  const clock = new FakeClock();
  const nextSweep = watchSweeps(clock, 5_000);
  let runs = 0;
  await runTransaction(
    db.client,
    async (session) => {
      runs += 1;
      await raise(session);
      if (runs > 1) return;
      for (let beats = 0; beats < 5; beats++) {
        await nodes().updateOne({ _id: sessions.id }, { $inc: { beat: 1 } });
        await nextSweep();
      }
      clock.advance(60_000);
      await nextSweep();
      await nextSweep();
      // Still open.
      await raise(session);
      const ended = documents().updateOne({ _id: "held" }, { $inc: { n: 10 } });
      let isEnded = false;
      void ended.then(() => {
        isEnded = true;
      });
      while (!isEnded) await nextSweep();
      await raise(session);
    },
    { sessions },
  );
  expect(runs).toBe(2);
  expect(await documents().findOne({ _id: "held" })).toEqual({ _id: "held", n: 11 });
});

test("orphans: the database refuses to end sessions → nothing breaks, and it is asked again", async () => {
  const mongod = await startOwnMongod(await temporaryFolder());
  onTestFinished(() => mongod.close());
  const client = await connectMongo(mongod.uri);
  onTestFinished(() => client.close());
  await documents(client).insertOne({ _id: "held", n: 0 });
  const holder = client.startSession();
  onTestFinished(() => holder.endSession());
  holder.startTransaction();
  await raise(holder, client);
  const sessions = holder.id ? [holder.id] : [];
  await nodes(client).insertOne({ _id: "dead", sessions, beat: 1, at: new Date() });
  const notAllowed = { failCommands: ["killSessions"], errorCode: 13 };
  await client
    .db("admin")
    .command({ configureFailPoint: "failCommand", mode: { times: 2 }, data: notAllowed });
  watch(wallClock, STALE_MS, client);
  await documents(client).updateOne({ _id: "held" }, { $inc: { n: 10 } });
  expect(await documents(client).findOne({ _id: "held" })).toEqual({ _id: "held", n: 10 });
});

test("orphans: ended in the midst of an operation, or of a commit → run again, committed once", async () => {
  const mongod = await startOwnMongod(await temporaryFolder());
  onTestFinished(() => mongod.close());
  const client = await connectMongo(mongod.uri);
  onTestFinished(() => client.close());
  await documents(client).insertOne({ _id: "held", n: 0 });
  const admin = client.db("admin");
  const sessions = await openPool(wallClock, client);
  const points = ["hangDuringBatchUpdate", "hangBeforeCommitingTxn", "hangBeforeWaitingForWriteConcern"];
  const runs = points.map(() => 0);
  for (const [i, point] of points.entries()) {
    const { count } = await admin.command({ configureFailPoint: point, mode: "alwaysOn" });
    const work = (session: ClientSession) => {
      runs[i] = (runs[i] ?? 0) + 1;
      return raise(session, client);
    };
    const running = runTransaction(client, work, { sessions });
    await admin.command({ waitForFailPoint: point, timesEntered: count + 1, maxTimeMS: 20_000 });
    let isOver = false;
    const onEnd = () => {
      isOver = true;
    };
    running.then(onEnd, onEnd);
    const ending = admin.command({ killAllSessions: [] });
    const killed = [{ $currentOp: { allUsers: true } }, { $match: { killPending: true } }];
    await waitFor(async () => isOver || (await admin.aggregate(killed).toArray()).length > 0);
    await admin.command({ configureFailPoint: point, mode: "off" });
    await ending;
    await running;
    expect(await documents(client).findOne({ _id: "held" })).toEqual({ _id: "held", n: i + 1 });
  }
  // The last one's commit had taken place.
  expect(runs).toEqual([2, 2, 1]);
  const interrupted = { failCommands: ["commitTransaction"], errorCode: 11_601 };
  await admin.command({ configureFailPoint: "failCommand", mode: { times: 1 }, data: interrupted });
  let asked = 0;
  const work = (session: ClientSession) => {
    asked += 1;
    return raise(session, client);
  };
  await runTransaction(client, work, { sessions });
  expect([asked, await documents(client).findOne({ _id: "held" })]).toEqual([1, { _id: "held", n: 4 }]);
});

test("orphans: not beaten for a day by the database's time → forgotten; a node that was idle registers again", async () => {
  const sessions = await openPool(wallClock);
  await nodes().updateOne({ _id: sessions.id }, { $set: { at: new Date(Date.now() - 25 * 3_600_000) } });
  await nodes().insertOne({ _id: "young", sessions: [], beat: 1, at: new Date(Date.now() - 23 * 3_600_000) });
  watch();
  await waitFor(async () => (await nodes().findOne({ _id: sessions.id })) === null);
  await runTransaction(db.client, (session) => raise(session), { sessions });
  await waitFor(() => nodes().findOne({ _id: sessions.id, "sessions.0": { $exists: true } }));
  expect(await nodes().findOne({ _id: "young" })).not.toBeNull();
});
