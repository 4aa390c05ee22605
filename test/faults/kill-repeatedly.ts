// `tidemark serve` killed again and again under a client that follows, a device that pushes and a writer: what the two
// files beside share.
import { ConnectError } from "@connectrpc/connect";
import { expect } from "vitest";
import { Outcome } from "#gen/tidemark/v1/receipt_pb.js";
import { demoTodos, expectEqualsSource } from "../support/equals-source.ts";
import type { TestDatabase } from "../support/mongo.ts";
import { PullClient } from "../support/pull-client.ts";
import { type Random, randomOf } from "../support/random.ts";
import { asPrincipal, type ServerProcess, spawnServer, syncClient } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";

interface TodoDocument {
  _id: string;
  ownerId: string;
  title: string;
  votes: number;
}

export interface Killing {
  readonly database: TestDatabase;
  readonly seed: string;
  /** Records there are before the first start. */
  readonly todos: number;
  readonly kills: number;
  /** The log's head moves on by at most this much between two kills. */
  readonly headsMax: number;
  /** Whether a writer and a device write meanwhile. */
  readonly writes: boolean;
}

/** Kills as often as asked, then lets a last server live: the client equals the source, the log holds each once. */
export async function killRepeatedly(killing: Killing): Promise<void> {
  const { database, seed, kills, headsMax, writes } = killing;
  const random = randomOf(seed, "kills");
  const todos = database.source.collection<TodoDocument>("todos");
  const ids = Array.from({ length: killing.todos }, (_, n) => `t${n}`);
  await todos.insertMany(ids.map((_id, n) => ({ _id, ownerId: "ana", title: `Todo ${n}`, votes: 0 })));
  const client = new PullClient();
  const writing = { changes: 0, pushed: 0, done: !writes };
  const writer = writeUntilDone(killing, writing);
  for (let kill = 0; kill < kills; kill++) {
    await runUntil(killing, {
      client,
      head: (await logHead(database)) + 1 + random.below(headsMax),
      writing,
    });
  }
  writing.done = true;
  await writer;

  const server = await spawnServer(database, { LEASE_SECONDS: "1" });
  expect(await server.ready()).toBe(true);
  const session = database.client.startSession();
  await todos.findOne({}, { session });
  const clock = await pullTo(server, client, BigInt(session.operationTime?.getHighBits() ?? 0));
  await session.endSession();
  await expectEqualsSource(client, clock, { database, todos: await demoTodos(), principal: "ana" });
  await logHoldsEachOnce(database, killing.todos + writing.changes + writing.pushed);
  expect(await server.stop()).toBe(0);
}

interface Writing {
  changes: number;
  pushed: number;
  done: boolean;
}

interface Run {
  readonly client: PullClient;
  readonly head: number;
  readonly writing: Writing;
}

/** Runs a server until the log's head has come so far, or there is nothing to move it; then kills it. */
async function runUntil({ database, writes }: Killing, { client, head, writing }: Run): Promise<void> {
  const server = await spawnServer(database, { LEASE_SECONDS: "1" });
  const following = followUntilKilled(server, client);
  const pushing = writes ? pushUntilKilled(server, writing) : Promise.resolve();
  const isThere = async () => (await logHead(database)) >= head || (!writes && (await isLoaded(database)));
  await waitFor(isThere, { what: `head ${head}` });
  await server.kill();
  await Promise.all([following, pushing]);
}

/** What the client has applied it has stored; a broken stream is the server's death. */
async function followUntilKilled(server: ServerProcess, client: PullClient): Promise<void> {
  if (!(await server.ready())) return;
  try {
    const request = client.cursor ? { cursor: client.cursor } : {};
    for await (const frame of syncClient(server.url).pullChanges(request, { headers: asPrincipal("ana") })) {
      client.apply(frame);
    }
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
  }
}

/** A device that sends each mutation until it has a receipt: exactly once, whoever dies in between. */
async function pushUntilKilled(server: ServerProcess, writing: Writing): Promise<void> {
  if (!(await server.ready())) return;
  const sync = syncClient(server.url);
  for (;;) {
    const number = String(writing.pushed).padStart(12, "0");
    const form = { case: "json" as const, value: { title: "Pushed", ownerId: "ana" } };
    const kind = { case: "create" as const, value: { record: { form } } };
    const mutation = {
      mutationId: `00000000-0000-4000-8000-${number}`,
      collection: "todos",
      recordId: `p${number}`,
      kind,
    };
    const pushed = sync.pushMutations({ mutations: [mutation] }, { headers: asPrincipal("ana") });
    const answer = await pushed.catch((error: unknown) => ConnectError.from(error));
    if (answer instanceof ConnectError) return;
    expect(answer.receipts[0]?.outcome).toBe(Outcome.APPLIED);
    writing.pushed++;
  }
}

async function writeUntilDone(killing: Killing, writing: Writing): Promise<void> {
  const random: Random = randomOf(killing.seed, "writer");
  const todos = killing.database.source.collection<TodoDocument>("todos");
  while (!writing.done) {
    const _id = `t${random.below(killing.todos)}`;
    const kind = random.below(4);
    if (kind < 2) await todos.updateOne({ _id }, { $inc: { votes: 1 } });
    else if (kind === 2) await todos.deleteOne({ _id });
    else
      await todos.updateOne(
        { _id },
        { $set: { ownerId: "ana", title: "Again" }, $inc: { votes: 1 } },
        { upsert: true },
      );
    writing.changes++;
  }
}

async function pullTo(server: ServerProcess, client: PullClient, seconds: bigint): Promise<bigint> {
  const request = client.cursor ? { cursor: client.cursor } : {};
  for await (const frame of syncClient(server.url).pullChanges(request, { headers: asPrincipal("ana") })) {
    const checkpoint = client.apply(frame);
    if (checkpoint && (checkpoint.commitClock >> 32n) + 1_600_000_000n > seconds)
      return checkpoint.commitClock;
  }
  throw new Error("the stream ended");
}

interface StateRow {
  _id: string;
  head: number;
  collections: { load: unknown }[];
}

function logState(database: TestDatabase) {
  return database.client.db(database.tidemarkDb).collection<StateRow>("state").findOne({ _id: "log" });
}

async function logHead(database: TestDatabase): Promise<number> {
  return Number((await logState(database))?.head ?? 0);
}

async function isLoaded(database: TestDatabase): Promise<boolean> {
  const collections = (await logState(database))?.collections ?? [];
  return collections.length > 0 && collections.every(({ load }) => load === null);
}

/** Seqs are unique, there is one main entry per record, and no change was logged twice. */
async function logHoldsEachOnce(database: TestDatabase, changes: number): Promise<void> {
  const entries = database.client.db(database.tidemarkDb).collection("entries");
  const seqs = (await entries.find({}, { projection: { seq: 1 } }).toArray()).map(({ seq }) => seq);
  expect(new Set(seqs).size).toBe(seqs.length);
  const records = await database.source.collection("todos").countDocuments();
  expect(await entries.countDocuments({ "_id.c": "todos", reason: { $exists: false } })).toBe(records);
  expect(await logHead(database)).toBeLessThanOrEqual(changes);
}
