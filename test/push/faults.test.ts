// Errors of the database on the way, provoked by the server's own failpoints, and calls that end early: what was
// committed is replayed, what wasn't is as if never sent.
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Document, MongoClient } from "mongodb";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Clock } from "../../src/model/clock.ts";
import { silentLogger } from "../../src/model/logger.ts";
import type { Mutation } from "../../src/model/mutation.ts";
import type { Receipt } from "../../src/model/receipt.ts";
import { SyncError } from "../../src/model/sync-error.ts";
import { connectMongo } from "../../src/mongo/connect.ts";
import { createPush } from "../../src/push/push.ts";
import { GROUP_MUTATIONS_MAX } from "../../src/push/queue.ts";
import { type OwnMongod, startOwnMongod } from "../support/own-mongod.ts";
import { temporaryParent, temporaryPrefix } from "../support/temporary-parent.ts";
import { create, NOW_MS, type PushFixture, pushFixture, send, sendOne, update } from "./push-fixture.ts";

let folder: string;
let mongod: OwnMongod;
let fixture: PushFixture;
/** Sets failpoints, itself untouched by what they do to the client under test. */
let control: MongoClient;

beforeAll(async () => {
  folder = await mkdtemp(join(await temporaryParent(), temporaryPrefix(process.pid)));
  mongod = await startOwnMongod(folder);
  control = await new MongoClient(`${mongod.uri}&directConnection=true`).connect();
  const client = await connectMongo(mongod.uri);
  const names = { sourceDb: "source", tidemarkDb: "tidemark" };
  const source = client.db(names.sourceDb);
  const drop = () => client.close();
  fixture = await pushFixture({ database: { uri: mongod.uri, client, source, ...names, drop } });
  await source.createCollection("notes");
});
afterAll(async () => {
  await fixture?.close();
  await control?.close();
  await mongod?.close();
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
});
afterEach(async () => {
  await failCommand("off", {});
});

const ofAna = { title: "tea", ownerId: "ana" };

/** @returns how often it has been entered by now. */
async function failCommand(
  mode: string | { times: number } | { skip: number },
  data: Document,
): Promise<number> {
  const { count } = await control.db("admin").command({ configureFailPoint: "failCommand", mode, data });
  return count;
}

test.each(["insert", "commitTransaction"])(
  "push: transient errors of %s → run again, applied once",
  async (command) => {
    const labels = { errorLabels: ["TransientTransactionError"] };
    await failCommand({ times: 3 }, { failCommands: [command], errorCode: 112, ...labels });
    const receipt = await sendOne(fixture, create(`transient ${command}`, ofAna));
    expect(receipt).toMatchObject({ outcome: "APPLIED", replayed: false });
  },
);

test("push: a write conflict that never ends → CONTENTION, nothing written", async () => {
  const data = { failCommands: ["insert"], errorCode: 112, errorLabels: ["TransientTransactionError"] };
  await failCommand("alwaysOn", data);
  await expect(sendOne(fixture, create("contended", ofAna))).rejects.toMatchObject({ reason: "CONTENTION" });
  expect(await fixture.notes.countDocuments({ _id: "contended" })).toBe(0);
});

test("push: the commit's answer stays unknown → DATABASE_UNAVAILABLE; sent again it is a replay", async () => {
  const one = create("unknown", ofAna);
  const lost = { code: 64, errmsg: "waiting for replication timed out" };
  await failCommand("alwaysOn", { failCommands: ["commitTransaction"], writeConcernError: lost });
  await expect(sendOne(fixture, one)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
  await failCommand("off", {});
  expect(await sendOne(fixture, one)).toMatchObject({ outcome: "APPLIED", replayed: true });
  expect(await fixture.notes.countDocuments({ _id: "unknown" })).toBe(1);
});

test("push: the connection breaks at commit → applied once; broken for good → DATABASE_UNAVAILABLE", async () => {
  await failCommand({ times: 1 }, { failCommands: ["commitTransaction"], closeConnection: true });
  expect(await sendOne(fixture, create("cut", ofAna))).toMatchObject({ outcome: "APPLIED", replayed: false });
  await failCommand("alwaysOn", { failCommands: ["find"], closeConnection: true });
  await expect(sendOne(fixture, create("cut-2", ofAna))).rejects.toMatchObject({
    reason: "DATABASE_UNAVAILABLE",
  });
});

/** More creates than one group takes: the second group begins when the first has ended. */
function twoGroups(name: string): Mutation[] {
  return Array.from({ length: GROUP_MUTATIONS_MAX + 3 }, (_, i) => create(`${name}-${i}`, ofAna));
}

function firstGroupReplayed(receipts: readonly Receipt[]): void {
  expect(receipts.every(({ outcome }) => outcome === "APPLIED")).toBe(true);
  const replayed = receipts.map((receipt) => receipt.replayed);
  expect(replayed.slice(0, GROUP_MUTATIONS_MAX)).not.toContain(false);
  expect(replayed.slice(GROUP_MUTATIONS_MAX)).toEqual([false, false, false]);
}

test("push: the call fails midway → what was committed is replayed when all is sent again", async () => {
  const all = twoGroups("midway");
  // Two inserts of the first group pass: its receipts and its documents.
  await failCommand({ skip: 2 }, { failCommands: ["insert"], errorCode: 11_602 });
  await expect(send(fixture, all)).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
  await failCommand("off", {});
  expect(await fixture.notes.countDocuments({ _id: /^midway/ })).toBe(GROUP_MUTATIONS_MAX);
  firstGroupReplayed((await send(fixture, all)).receipts);
});

test("push: aborted while its first group is on its way → that is committed, the rest never begun; all can be sent again", async () => {
  const abort = new AbortController();
  let asked = 0;
  const clock: Clock = {
    // First asked when the call comes in, then in the transaction, when all is read and nothing decided.
    nowMs() {
      asked += 1;
      if (asked === 2) abort.abort();
      return NOW_MS;
    },
    sleep: () => Promise.resolve(),
  };
  const { log, ledger, schema, database, sessions } = fixture;
  const { client, sourceDb } = database;
  const push = createPush({ client, sourceDb, log, ledger, schema, clock, logger: silentLogger, sessions });
  const all = twoGroups("abort");
  const aborted = send({ ...fixture, push }, all, { signal: abort.signal });
  await expect(aborted).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED" });
  await push.close();
  expect(await fixture.notes.countDocuments({ _id: /^abort/ })).toBe(GROUP_MUTATIONS_MAX);
  firstGroupReplayed((await send(fixture, all)).receipts);
  expect(await fixture.notes.countDocuments({ _id: /^abort/ })).toBe(all.length);
});

test("push: aborted before it begins, with a reason of its own → that reason, nothing written", async () => {
  const signal = AbortSignal.abort(new SyncError("SHUTTING_DOWN", "the server is going away"));
  const call = send(fixture, [update("never", { title: "x" })], { signal });
  await expect(call).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
  const atomic = send(fixture, [create("never", ofAna)], { signal, atomic: true });
  await expect(atomic).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
  expect(await fixture.notes.countDocuments({ _id: "never" })).toBe(0);
});

test("atomic: copies on two nodes that read different states → both blame the same mutation", async () => {
  await fixture.notes.insertOne({ _id: "skew", ...ofAna });
  const { log, ledger, schema, database, sessions } = fixture;
  const { client, sourceDb, tidemarkDb } = database;
  const clock = { nowMs: () => NOW_MS, sleep: () => Promise.resolve() };
  const push = createPush({ client, sourceDb, log, ledger, schema, clock, logger: silentLogger, sessions });
  const all = [update("skew", { title: "mine" }, { title: "tea" }), update("absent", { title: "mine" })];
  const outcomes = async (node: PushFixture) => {
    const { receipts } = await send(node, all, { atomic: true });
    return receipts.map(({ outcome }) => outcome);
  };
  // The early copy has read, and is held up on its way to blame the second mutation.
  const before = await failCommand(
    { times: 1 },
    {
      failCommands: ["insert"],
      namespace: `${tidemarkDb}.ledger`,
      blockConnection: true,
      blockTimeMS: 500,
    },
  );
  const early = outcomes(fixture);
  await control.db("admin").command({
    waitForFailPoint: "failCommand",
    timesEntered: before + 1,
    maxTimeMS: 10_000,
  });
  // To the late one the first is to blame: its record is gone.
  await fixture.notes.deleteOne({ _id: "skew" });
  const late = outcomes({ ...fixture, push });
  expect(await Promise.all([early, late])).toEqual([
    ["NOT_ATTEMPTED", "CONFLICT"],
    ["NOT_ATTEMPTED", "CONFLICT"],
  ]);
  const ids = all.map(({ mutationId }) => mutationId);
  expect(await ledger.receipts.countDocuments({ _id: { $in: ids } })).toBe(1);
  await push.close();
});
