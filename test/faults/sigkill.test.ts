// `tidemark serve`, killed at random points of its load and of its tail, 50 times: a client that goes on with what it
// had stored equals the source in the end; the log holds each record once and no more changes than were made.
import { afterAll, beforeAll, expect, it } from "vitest";
import { Outcome } from "#gen/tidemark/v1/receipt_pb.js";
import { demoTodos, expectEqualsSource } from "../support/equals-source.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { PullClient } from "../support/pull-client.ts";
import { type Random, randomOf, seedOf } from "../support/random.ts";
import { asPrincipal, type ServerProcess, spawnServer, syncClient } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";

const TODOS = 12_000;
const LOAD_KILLS = 15;
const TAIL_KILLS = 35;

interface TodoDocument {
  _id: string;
  ownerId: string;
  title: string;
  votes: number;
}

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

afterAll(() => database.drop());

it.each([1].map(seedOf))(
  "killed 50 times: nothing lost or doubled, seed %s",
  async (seed) => {
    const random = randomOf(seed, "kills");
    const todos = database.source.collection<TodoDocument>("todos");
    const ids = Array.from({ length: TODOS }, (_, n) => `t${n}`);
    await todos.insertMany(ids.map((_id, n) => ({ _id, ownerId: "ana", title: `Todo ${n}`, votes: 0 })));

    const client = new PullClient();
    for (let kill = 0; kill < LOAD_KILLS; kill++) {
      await runUntil(client, (await logHead()) + 1 + random.below((1.5 * TODOS) / LOAD_KILLS));
    }
    const loaded = await logHead();
    expect(loaded).toBeLessThanOrEqual(TODOS);

    const writing = { changes: 0, pushed: 0, done: false };
    const writer = writeUntilDone(randomOf(seed, "writer"), writing);
    for (let kill = 0; kill < TAIL_KILLS; kill++) {
      await runUntil(client, (await logHead()) + 1 + random.below(200), writing);
    }
    writing.done = true;
    await writer;

    const server = await spawnServer(database, { LEASE_SECONDS: "1" });
    await server.ready();
    const session = database.client.startSession();
    await todos.findOne({}, { session });
    const clock = await pullTo(server, client, BigInt(session.operationTime?.getHighBits() ?? 0));
    await session.endSession();
    await expectEqualsSource(client, clock, { database, todos: await demoTodos(), principal: "ana" });
    await logHoldsEachOnce(writing.changes + writing.pushed);
    expect(await server.stop()).toBe(0);
  },
  400_000,
);

/** Runs a server, with a client that follows it, until the log's head has come so far; then kills it. */
async function runUntil(client: PullClient, head: number, writing?: { pushed: number }): Promise<void> {
  const server = await spawnServer(database, { LEASE_SECONDS: "1" });
  const following = followUntilKilled(server, client);
  const pushing = writing ? pushUntilKilled(server, writing) : Promise.resolve();
  await waitFor(async () => (await logHead()) >= head || (!writing && (await isLoaded())), {
    what: `head ${head}`,
  });
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
    if (error instanceof Error && error.message.startsWith("P1")) throw error;
  }
}

/** A device that sends each mutation until it has a receipt: exactly once, whoever dies in between. */
async function pushUntilKilled(server: ServerProcess, writing: { pushed: number }): Promise<void> {
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
    try {
      const { receipts } = await sync.pushMutations(
        { mutations: [mutation] },
        { headers: asPrincipal("ana") },
      );
      expect(receipts[0]?.outcome).toBe(Outcome.APPLIED);
      writing.pushed++;
    } catch {
      return;
    }
  }
}

async function writeUntilDone(random: Random, writing: { changes: number; done: boolean }): Promise<void> {
  const todos = database.source.collection<TodoDocument>("todos");
  while (!writing.done) {
    const _id = `t${random.below(TODOS)}`;
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

function logState() {
  return database.client.db(database.tidemarkDb).collection<StateRow>("state").findOne({ _id: "log" });
}

async function logHead(): Promise<number> {
  return Number((await logState())?.head ?? 0);
}

async function isLoaded(): Promise<boolean> {
  const collections = (await logState())?.collections ?? [];
  return collections.length > 0 && collections.every(({ load }) => load === null);
}

/** Seqs are unique, there is one main entry per record, and no change was logged twice. */
async function logHoldsEachOnce(changes: number): Promise<void> {
  const entries = database.client.db(database.tidemarkDb).collection("entries");
  const seqs = (await entries.find({}, { projection: { seq: 1 } }).toArray()).map(({ seq }) => seq);
  expect(new Set(seqs).size).toBe(seqs.length);
  const records = await database.source.collection("todos").countDocuments();
  expect(await entries.countDocuments({ "_id.c": "todos", reason: { $exists: false } })).toBe(records);
  expect(await logHead()).toBeLessThanOrEqual(TODOS + changes);
}
