// runTransaction against real conflicts, lost answers, aborts and bounds.
import type { ClientSession, MongoClient } from "mongodb";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { SyncError } from "../../src/model/sync-error.ts";
import { connectMongo } from "../../src/mongo/connect.ts";
import { classOf } from "../../src/mongo/error-class.ts";
import { runTransaction } from "../../src/mongo/transaction.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { startOwnMongod } from "../support/own-mongod.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());

function accounts(client: MongoClient = db.client) {
  return client.db(db.sourceDb).collection<{ _id: string; n: number }>("accounts");
}

/** Reads and writes back, so that two at once must conflict. */
async function raise(session: ClientSession, id: string): Promise<number> {
  const account = await accounts().findOne({ _id: id }, { session });
  const n = (account?.n ?? 0) + 1;
  await accounts().updateOne({ _id: id }, { $set: { n } }, { session });
  return n;
}

/** A transaction left open that has written the account. */
async function holdAccount(id: string): Promise<ClientSession> {
  const session = db.client.startSession();
  session.startTransaction();
  await accounts().updateOne({ _id: id }, { $inc: { n: 100 } }, { session });
  return session;
}

describe("conflicts", () => {
  test("transaction: write conflicts → the work runs again until each has had its turn", async () => {
    await accounts().insertOne({ _id: "contended", n: 0 });
    const allHaveRead = Promise.withResolvers<void>();
    let runs = 0;
    const raiseOnce = async (session: ClientSession) => {
      await accounts().findOne({ _id: "contended" }, { session });
      runs += 1;
      if (runs === 8) allHaveRead.resolve();
      await allHaveRead.promise;
      return raise(session, "contended");
    };
    const results = await Promise.all(Array.from({ length: 8 }, () => runTransaction(db.client, raiseOnce)));
    expect(results.map(({ result }) => result).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(runs).toBeGreaterThanOrEqual(15);
    expect(await accounts().findOne({ _id: "contended" })).toEqual({ _id: "contended", n: 8 });
  });

  test("transaction: attempts used up → CONTENTION, class transient, with the conflict as cause", async () => {
    await accounts().insertOne({ _id: "held", n: 0 });
    const holder = await holdAccount("held");
    let runs = 0;
    const work = (session: ClientSession) => {
      runs += 1;
      return raise(session, "held");
    };
    const error = await runTransaction(db.client, work, { attemptsMax: 3 }).catch((thrown) => thrown);
    await holder.endSession();
    expect(error).toBeInstanceOf(SyncError);
    expect(error).toMatchObject({ reason: "CONTENTION", cause: { code: 112 } });
    expect(classOf(error)).toBe("transient");
    expect(runs).toBe(3);
  });

  test("transaction: time used up by conflicts → CONTENTION", async () => {
    await accounts().insertOne({ _id: "slow", n: 0 });
    const holder = await holdAccount("slow");
    const options = { attemptsMax: 1_000_000, durationMsMax: 300 };
    const running = runTransaction(db.client, (session) => raise(session, "slow"), options);
    await expect(running).rejects.toMatchObject({ reason: "CONTENTION" });
    await holder.endSession();
  });

  test("transaction: time used up by work that hangs → DATABASE_UNAVAILABLE", async () => {
    const running = runTransaction(db.client, () => new Promise(() => {}), { durationMsMax: 50 });
    await expect(running).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
  });
});

describe("outcome", () => {
  test("transaction: its operation time is the cluster time of its change events", async () => {
    await db.source.createCollection("seen");
    const stream = db.source.collection("seen").watch();
    onTestFinished(() => stream.close());
    // A stream begins where its first command finds it.
    expect(await stream.tryNext()).toBeNull();
    const { operationTime } = await runTransaction(db.client, async (session) => {
      await db.source.collection("seen").insertOne({ a: 1 }, { session });
      await db.source.collection("seen").insertOne({ a: 2 }, { session });
    });
    for (const _ of [1, 2]) expect((await stream.next()).clusterTime).toEqual(operationTime);
  });

  test("transaction: an error of the work → thrown as it is, after one run, everything rolled back", async () => {
    const failure = new Error("no");
    let runs = 0;
    const running = runTransaction(db.client, async (session) => {
      runs += 1;
      await accounts().insertOne({ _id: "rolled back", n: 1 }, { session });
      throw failure;
    });
    await expect(running).rejects.toBe(failure);
    expect(runs).toBe(1);
    expect(await accounts().findOne({ _id: "rolled back" })).toBeNull();
  });

  test("transaction: a duplicate key → thrown at once, class duplicate-key", async () => {
    await accounts().insertOne({ _id: "twice", n: 0 });
    const running = runTransaction(db.client, (session) =>
      accounts().insertOne({ _id: "twice", n: 1 }, { session }),
    );
    expect(classOf(await running.catch((error) => error))).toBe("duplicate-key");
  });
});

describe("abort", () => {
  test("transaction: aborted before → the work never runs", async () => {
    const reason = new Error("too late");
    let runs = 0;
    const work = () => Promise.resolve(++runs);
    await expect(runTransaction(db.client, work, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(runs).toBe(0);
  });

  test("transaction: aborted in the midst of work → rejects at once; what it wrote is rolled back when it ends", async () => {
    const abort = new AbortController();
    const reason = new Error("shutting down");
    const written = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const running = runTransaction(
      db.client,
      async (session) => {
        await accounts().insertOne({ _id: "abandoned", n: 1 }, { session });
        written.resolve();
        await release.promise;
        await accounts().insertOne({ _id: "abandoned too", n: 1 }, { session });
      },
      { signal: abort.signal },
    );
    await written.promise;
    abort.abort(reason);
    await expect(running).rejects.toBe(reason);
    release.resolve();
    // Conflicts with the abandoned transaction for as long as it is open, and succeeds only if it was rolled back.
    const { result } = await runTransaction(db.client, (session) =>
      accounts().insertOne({ _id: "abandoned", n: 2 }, { session }),
    );
    expect(result.insertedId).toBe("abandoned");
    expect(await accounts().findOne({ _id: "abandoned too" })).toBeNull();
  });

  test("transaction: aborted between attempts → rejects without another run", async () => {
    await accounts().insertOne({ _id: "waiting", n: 0 });
    const holder = await holdAccount("waiting");
    const abort = new AbortController();
    let runs = 0;
    const running = runTransaction(
      db.client,
      async (session) => {
        runs += 1;
        await raise(session, "waiting").catch((error) => {
          if (runs === 3) abort.abort(new Error("enough"));
          throw error;
        });
      },
      { signal: abort.signal },
    );
    await expect(running).rejects.toThrow("enough");
    await holder.endSession();
    expect(runs).toBe(3);
  });
});

test("transaction: the commit's answer is lost again and again → asked again, applied once", async () => {
  const mongod = await startOwnMongod(await temporaryFolder());
  onTestFinished(() => mongod.close());
  const client = await connectMongo(mongod.uri);
  onTestFinished(() => client.close());
  await accounts(client).insertOne({ _id: "lost", n: 0 });
  const lostAnswer = { code: 91, errmsg: "replication is being shut down" };
  await client.db("admin").command({
    configureFailPoint: "failCommand",
    mode: { times: 3 },
    data: { failCommands: ["commitTransaction"], writeConcernError: lostAnswer },
  });
  let runs = 0;
  const { operationTime } = await runTransaction(client, async (session) => {
    runs += 1;
    await accounts(client).updateOne({ _id: "lost" }, { $inc: { n: 1 } }, { session });
  });
  expect(runs).toBe(1);
  expect(operationTime.t).toBeGreaterThan(0);
  expect(await accounts(client).findOne({ _id: "lost" })).toEqual({ _id: "lost", n: 1 });
});
