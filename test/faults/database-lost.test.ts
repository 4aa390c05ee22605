// The database loses its primary, or is killed and comes back, under a server whose clients follow and push: what was
// acknowledged is kept, what wasn't is sent again under its id, and everybody converges without a restart.
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { MongoClient } from "mongodb";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Outcome } from "#gen/tidemark/v1/receipt_pb.js";
import type { Tidemark } from "../../src/main.ts";
import { connectMongo } from "../../src/mongo/connect.ts";
import { demoTodos, expectEqualsSource } from "../support/equals-source.ts";
import type { TestDatabase } from "../support/mongo.ts";
import { type OwnMongod, startOwnMongod } from "../support/own-mongod.ts";
import { PullClient } from "../support/pull-client.ts";
import { asPrincipal, startServer, syncClient } from "../support/server.ts";
import { temporaryParent, temporaryPrefix } from "../support/temporary-parent.ts";
import { waitFor } from "../support/wait-for.ts";

const PUSHES_BEFORE = 5;
const PUSHES_AFTER = 10;
const CALL_MS_MAX = 2_000;
const RETRYABLE = /^(DATABASE_UNAVAILABLE|CONTENTION|DEADLINE_EXCEEDED)$/;

let folder: string;
let mongod: OwnMongod;
let database: TestDatabase;
let server: Tidemark;

beforeAll(async () => {
  folder = await mkdtemp(join(await temporaryParent(), temporaryPrefix(process.pid)));
  mongod = await startOwnMongod(folder);
  const client = await connectMongo(mongod.uri);
  const names = { sourceDb: "source", tidemarkDb: "tidemark" };
  const source = client.db(names.sourceDb);
  database = { uri: mongod.uri, client, source, ...names, drop: () => client.close() };
  await source.createCollection("todos");
  server = await startServer(database, { LEASE_SECONDS: "1" });
});

afterAll(async () => {
  await server?.close();
  await database?.drop();
  await mongod?.close();
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
});

const troubles: Readonly<Record<string, () => Promise<void>>> = {
  async "the primary steps down"() {
    const control = await new MongoClient(`${mongod.uri}&directConnection=true`).connect();
    const command = { replSetStepDown: 1, secondaryCatchUpPeriodSecs: 0, force: true };
    await control.db("admin").command(command);
    await control.close();
  },
  async "mongod is killed and comes back"() {
    process.kill(mongod.pid, "SIGKILL");
    await mongod.close();
    mongod = await startOwnMongod(folder, { port: mongod.port });
  },
};

it.each(Object.keys(troubles))("%s → pushes and streams go on, exactly once, converged", async (trouble) => {
  const acknowledged = new Map<string, bigint>();
  const followed = { client: new PullClient(), clock: 0n };
  const enough = new AbortController();
  const over = new AbortController();
  const pushing = pushUntil(enough.signal, acknowledged);
  const following = followUntil(over.signal, followed);
  try {
    await waitFor(() => acknowledged.size >= PUSHES_BEFORE && followed.clock > 0n);
    await troubles[trouble]?.();
    const until = acknowledged.size + PUSHES_AFTER;
    await waitFor(() => acknowledged.size >= until, { what: "pushes going on" });
    enough.abort();
    await pushing;
    const last = [...acknowledged.values()].at(-1) ?? 0n;
    await waitFor(() => followed.clock >= last, { what: "a checkpoint past the last push" });
  } finally {
    enough.abort();
    over.abort();
  }
  await following;
  const audience = { database, todos: await demoTodos(), principal: "ana" };
  await expectEqualsSource(followed.client, followed.clock, audience);
  const held = [...followed.client.records.keys()];
  expect([...acknowledged.keys()].filter((id) => !held.includes(`todos/${id}`))).toEqual([]);
});

/** A device that sends each mutation until it has a receipt. */
async function pushUntil(stop: AbortSignal, acknowledged: Map<string, bigint>): Promise<void> {
  const sync = syncClient(server.url);
  while (!stop.aborted) {
    const mutationId = randomUUID();
    const form = { case: "json" as const, value: { title: "Pushed", ownerId: "ana" } };
    const kind = { case: "create" as const, value: { record: { form } } };
    const mutation = { mutationId, collection: "todos", recordId: mutationId, kind };
    const receipt = await retried(async () => {
      const options = { headers: asPrincipal("ana"), timeoutMs: CALL_MS_MAX };
      const { receipts } = await sync.pushMutations({ mutations: [mutation] }, options);
      return receipts[0];
    });
    expect(receipt?.outcome).toBe(Outcome.APPLIED);
    acknowledged.set(mutationId, receipt?.commitClock ?? 0n);
  }
}

/** A device that opens its stream again, where it stood, whenever it breaks. */
async function followUntil(over: AbortSignal, followed: { client: PullClient; clock: bigint }) {
  const sync = syncClient(server.url);
  while (!over.aborted) {
    await retried(async () => {
      const { cursor } = followed.client;
      const options = { headers: asPrincipal("ana"), signal: over };
      try {
        for await (const frame of sync.pullChanges(cursor ? { cursor } : {}, options)) {
          followed.clock = followed.client.apply(frame)?.commitClock ?? followed.clock;
        }
      } catch (error) {
        if (!over.aborted) throw error;
      }
    });
  }
}

/** Again and again, as long as the failures are of the kinds a client should retry, told as such. */
async function retried<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
      expect([Code.Unavailable, Code.Aborted, Code.DeadlineExceeded], error.message).toContain(error.code);
      expect(String(error.metadata.get("tidemark-reason")), `${Code[error.code]} ${error.message}`).toMatch(
        RETRYABLE,
      );
    }
  }
}
