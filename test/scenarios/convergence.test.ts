// P1–P5 on the whole product: random writers (plain MongoDB clients with transactions, and pushes) while clients of
// several principals pull, stop midway, come back with old cursors and change what they select. At every checkpoint
// a client's records equal the source as it was at that commit clock. Replay a failure with TIDEMARK_SEED.
import { fromBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, it } from "vitest";
import { TodoSchema } from "#gen/demo/v1/todo_pb.js";
import { PullMode } from "#gen/tidemark/v1/pull_changes_pb.js";
import { Outcome } from "#gen/tidemark/v1/receipt_pb.js";
import type { Tidemark } from "../../src/main.ts";
import type { Collection } from "../../src/schema/collection.ts";
import { demoTodos, expectEqualsSource } from "../support/equals-source.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { PullClient, type Stored } from "../support/pull-client.ts";
import { type Random, randomOf, seedOf } from "../support/random.ts";
import { asPrincipal, startServer, syncClient } from "../support/server.ts";

const WRITER_STEPS = 150;
const PRINCIPALS = ["ana", "ben"];
const IDS = Array.from({ length: 12 }, (_, n) => `t${n}`);

interface TodoDocument {
  _id: string;
  ownerId: string;
  title: string;
  votes?: number;
  done?: boolean;
  tags?: string[];
  hiddenFromAll?: number;
}

let database: TestDatabase;
let server: Tidemark;

beforeEach(async () => {
  database = await testDatabase();
  // A snapshot at a time before its collection was made can't be read.
  await database.source.createCollection("todos");
  server = await startServer(database);
});

afterEach(async () => {
  await server.close();
  await database.drop();
});

it.each([1, 2, 3].map(seedOf))(
  "converges, seed %s",
  async (seed) => {
    const todos = await demoTodos();
    const writing = { done: false };
    const writers = [0, 1].map((n) => writeAtRandom(randomOf(seed, `writer ${n}`)));
    const pusher = pushAtRandom(randomOf(seed, "pusher"));
    const finished = Promise.all([...writers, pusher]).finally(() => {
      writing.done = true;
    });
    const devices = [0, 1, 2, 3].map((n) =>
      pullAtRandom({
        random: randomOf(seed, `device ${n}`),
        principal: PRINCIPALS[n % 2] ?? "",
        todos,
        writing,
      }),
    );
    const checkpoints = await Promise.all(devices);
    const receipts = (await finished).at(-1) ?? [];
    expect(Math.min(...checkpoints)).toBeGreaterThan(3);
    expect(receipts.length).toBeGreaterThan(0);
  },
  120_000,
);

async function writeAtRandom(random: Random): Promise<bigint[]> {
  const todos = database.source.collection<TodoDocument>("todos");
  for (let step = 0; step < WRITER_STEPS; step++) {
    const _id = random.of(IDS);
    const ownerId = random.of(PRINCIPALS);
    const kind = random.below(10);
    if (kind < 3) await todos.replaceOne({ _id }, { ownerId, title: `T${step}` }, { upsert: true });
    else if (kind < 5) await todos.updateOne({ _id }, { $inc: { votes: 1 }, $set: { tags: [`x${step}`] } });
    else if (kind < 6) await todos.updateOne({ _id }, { $set: { hiddenFromAll: step } });
    else if (kind < 7) await todos.updateOne({ _id }, { $set: { ownerId } });
    else if (kind < 8) await todos.deleteOne({ _id });
    else await writePair(step, random);
  }
  return [];
}

/** P3: two records of one owner that always say the same. */
async function writePair(step: number, random: Random): Promise<void> {
  const todos = database.source.collection<TodoDocument>("todos");
  const owner = random.of(PRINCIPALS);
  const session = database.client.startSession();
  try {
    await session.withTransaction(async () => {
      for (const half of ["left", "right"]) {
        const replacement = { ownerId: owner, title: `pair ${step}` };
        await todos.replaceOne({ _id: `${owner}-${half}` }, replacement, { upsert: true, session });
      }
    });
  } finally {
    await session.endSession();
  }
}

/** Pushes as ana; P4: what was applied is there at the first checkpoint that reaches its receipt's commit clock. */
async function pushAtRandom(random: Random): Promise<bigint[]> {
  const client = syncClient(server.url);
  const clocks: bigint[] = [];
  for (let n = 0; n < 25; n++) {
    const recordId = `pushed-${n}`;
    const value = { record: { form: { case: "json" as const, value: { title: `P${n}`, ownerId: "ana" } } } };
    const mutation = {
      mutationId: random.uuid(),
      collection: "todos",
      recordId,
      kind: { case: "create" as const, value },
    };
    const device = new PullClient();
    const request = { mutations: [mutation] };
    const { receipts } = await client.pushMutations(request, { headers: asPrincipal("ana") });
    const again = await client.pushMutations(request, { headers: asPrincipal("ana") });
    expect(again.receipts.map(({ replayed }) => replayed)).toEqual([true]);
    const receipt = receipts[0];
    expect(receipt?.outcome).toBe(Outcome.APPLIED);
    const clock = receipt?.commitClock ?? 0n;
    clocks.push(clock);
    for await (const frame of client.pullChanges({}, { headers: asPrincipal("ana") })) {
      const checkpoint = device.apply(frame);
      if (checkpoint && checkpoint.commitClock >= clock) break;
    }
    expect(device.records.has(`todos/${recordId}`), `P4: ${recordId}`).toBe(true);
  }
  return clocks;
}

interface Device {
  readonly random: Random;
  readonly principal: string;
  readonly todos: Collection;
  readonly writing: { readonly done: boolean };
}

/** Pulls until the writers are done and one more checkpoint has come; resolves with the number of checkpoints. */
async function pullAtRandom(device: Device): Promise<number> {
  const { random, principal, writing } = device;
  let client = new PullClient();
  const disk: Stored[] = [];
  let checkpoints = 0;
  for (let last = false; !last; ) {
    last = writing.done;
    if (disk.length && random.below(3) === 0 && !last) client = PullClient.restored(random.of(disk));
    const stopAfter = last ? Number.POSITIVE_INFINITY : 1 + random.below(12);
    const leaving = new AbortController();
    const frames = syncClient(server.url).pullChanges(
      {
        selections:
          random.below(4) === 0
            ? [{ collection: "todos" }, { collection: "cities" }]
            : [{ collection: "todos" }],
        mode: last || random.below(2) ? PullMode.CATCH_UP : PullMode.FOLLOW,
        maxBatchBytes: random.below(2) ? 100n : 0n,
        options: { wholeRecords: random.below(4) === 0 },
        heartbeatInterval: { seconds: 1n },
        ...(client.cursor ? { cursor: client.cursor } : {}),
      },
      { headers: asPrincipal(principal), signal: leaving.signal },
    );
    let seen = 0;
    for await (const frame of frames) {
      const checkpoint = client.apply(frame);
      if (frame.frame.case !== "part") disk.push(client.store());
      if (checkpoint) {
        checkpoints++;
        await equalsSource(client, checkpoint.commitClock, device);
      }
      if (++seen >= stopAfter) break;
    }
    leaving.abort();
  }
  return checkpoints;
}

/** P2 by the checker; P3: of a pair written in one transaction, never one alone. */
async function equalsSource(client: PullClient, clock: bigint, { principal, todos }: Device): Promise<void> {
  await expectEqualsSource(client, clock, { database, todos, principal });
  const [left, right] = ["left", "right"].map(
    (half) => client.records.get(`todos/${principal}-${half}`)?.bytes,
  );
  const titleOf = (bytes: Uint8Array | undefined) => bytes && fromBinary(TodoSchema, bytes).title;
  expect(titleOf(left)).toBe(titleOf(right));
}
