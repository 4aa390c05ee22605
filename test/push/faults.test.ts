// Errors of the database on the way, provoked by the server's own failpoints, and calls that end early: what was
// committed is replayed, what wasn't is as if never sent.
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Document, MongoClient } from "mongodb";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Clock } from "../../src/model/clock.ts";
import { silentLogger } from "../../src/model/logger.ts";
import { SyncError } from "../../src/model/sync-error.ts";
import { connectMongo } from "../../src/mongo/connect.ts";
import { createPush } from "../../src/push/push.ts";
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
afterEach(() => failCommand("off", {}));

const ofAna = { title: "tea", ownerId: "ana" };

async function failCommand(
  mode: string | { times: number } | { skip: number },
  data: Document,
): Promise<void> {
  await control.db("admin").command({ configureFailPoint: "failCommand", mode, data });
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

test("push: the call fails midway → what was committed is replayed when all is sent again", async () => {
  const all = [create("midway-1", ofAna), create("midway-2", ofAna), create("midway-3", ofAna)];
  // Two inserts of the first mutation pass: its receipt and its document.
  await failCommand({ skip: 2 }, { failCommands: ["insert"], errorCode: 11_602 });
  await expect(send(fixture, all)).rejects.toBeInstanceOf(SyncError);
  await failCommand("off", {});
  const { receipts } = await send(fixture, all);
  expect(receipts.map(({ outcome, replayed }) => [outcome, replayed])).toEqual([
    ["APPLIED", true],
    ["APPLIED", false],
    ["APPLIED", false],
  ]);
});

test("push: aborted during the second mutation → the first stays, the second is undone, all can be sent again", async () => {
  const abort = new AbortController();
  let runs = 0;
  const clock: Clock = {
    // Asked once in each mutation's transaction, just before its receipt goes in.
    nowMs() {
      runs += 1;
      if (runs === 2) abort.abort();
      return NOW_MS;
    },
    sleep: () => Promise.resolve(),
  };
  const { log, ledger, schema, database, sessions } = fixture;
  const { client, sourceDb } = database;
  const push = createPush({ client, sourceDb, log, ledger, schema, clock, logger: silentLogger, sessions });
  const all = [create("abort-1", ofAna), create("abort-2", ofAna), create("abort-3", ofAna)];
  const aborted = send({ ...fixture, push }, all, { signal: abort.signal });
  await expect(aborted).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED" });
  const { receipts } = await send(fixture, all);
  expect(receipts.map(({ replayed }) => replayed)).toEqual([true, false, false]);
  expect(await fixture.notes.countDocuments({ _id: /^abort/ })).toBe(3);
});

test("push: aborted before it begins, with a reason of its own → that reason, nothing written", async () => {
  const signal = AbortSignal.abort(new SyncError("SHUTTING_DOWN", "the server is going away"));
  const call = send(fixture, [update("never", { title: "x" })], { signal });
  await expect(call).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
  const atomic = send(fixture, [create("never", ofAna)], { signal, atomic: true });
  await expect(atomic).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
  expect(await fixture.notes.countDocuments({ _id: "never" })).toBe(0);
});
