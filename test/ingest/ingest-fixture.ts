// A source, its log and ingest over them, for one test: starts nodes, waits for what the log holds, keeps every append.
import { setTimeout as delay } from "node:timers/promises";
import type { Collection, Db, Long, MongoClient, ObjectId } from "mongodb";
import { onTestFinished } from "vitest";
import { type Ingest, startIngest } from "../../src/ingest/ingest.ts";
import type { IngestSettings } from "../../src/ingest/settings.ts";
import type { CommittedAppend } from "../../src/log/append.ts";
import { type Entry, entryOf, type MainEntry } from "../../src/log/entry.ts";
import { type Log, openLog, readState } from "../../src/log/log.ts";
import { isSettled, type LogState } from "../../src/log/state.ts";
import type { Clock } from "../../src/model/clock.ts";
import { silentLogger } from "../../src/model/logger.ts";
import { connectMongo } from "../../src/mongo/connect.ts";
import type { Schema } from "../../src/schema/schema.ts";
import { testDatabase } from "../support/mongo.ts";
import { waitFor } from "../support/wait-for.ts";
import { faultsOf } from "./log-checker.ts";

/** Real time, which a test may put forward. */
export interface TestClock extends Clock {
  forward(ms: number): void;
}

function testClock(): TestClock {
  let forwardMs = 0;
  return {
    nowMs: () => Date.now() + forwardMs,
    sleep: (ms, signal) => delay(ms, undefined, { signal }).catch(() => {}),
    forward(ms) {
      forwardMs += ms;
    },
  };
}

export interface Node extends Ingest {
  /** What the node committed, in order. */
  readonly appends: CommittedAppend[];
  readonly clock: TestClock;
  /** Its connections break at once, as if it was killed; its lease stays. */
  kill(): Promise<void>;
}

export interface NodeOptions {
  readonly schema?: Schema;
  readonly settings?: Partial<IngestSettings>;
  readonly onAppend?: (committed: CommittedAppend) => void;
}

/** Short enough for tests to wait out, long enough for a busy machine. */
const LEASE_MS = 400;

/** A document of the source, however well it fits. */
export interface TestDocument {
  _id: string | number | Long | ObjectId | { x: number };
  [key: string]: unknown;
}

export interface IngestFixture {
  readonly uri: string;
  readonly client: MongoClient;
  readonly source: Db;
  readonly sourceDb: string;
  readonly log: Log;
  readonly schema: Schema;
  readonly todos: Collection<TestDocument>;
  readonly counters: Collection<TestDocument>;
  readonly members: Collection<TestDocument>;
  start(options?: NodeOptions): Promise<Node>;
  state(): Promise<LogState>;
  /** Waits until the log is settled at or after everything written so far; fails unless it equals the source there. */
  settled(): Promise<LogState>;
  /** What the log has now: `todos/a` for a main entry, `todos/a ⇥ todos/user:u1` for a leaver. */
  entries(): Promise<Map<string, Entry>>;
  /** The labels of all entries, sorted. */
  labels(): Promise<string[]>;
  /** One main entry, by its label. */
  main(label: string): Promise<MainEntry>;
}

/** Ends with the test: nodes are closed, databases dropped. */
export async function ingestFixture(schema: Schema, uri?: string): Promise<IngestFixture> {
  const database = await testDatabase();
  const client = uri ? await connectMongo(uri) : database.client;
  const source = client.db(database.sourceDb);
  const log = await openLog(client, database.tidemarkDb);
  const nodes: Node[] = [];
  onTestFinished(async () => {
    await Promise.all(nodes.map((node) => node.close()));
    if (uri) await client.close();
    await database.drop();
  });
  const fixture: IngestFixture = {
    uri: uri ?? database.uri,
    client,
    source,
    sourceDb: database.sourceDb,
    log,
    schema,
    todos: source.collection("todos"),
    counters: source.collection("counters"),
    members: source.collection("members"),
    async start(options = {}) {
      const node = await startNode(fixture, { schema, ...options });
      nodes.push(node);
      return node;
    },
    state: () => readState(log),
    async settled() {
      const { operationTime } = await source.command({ ping: 1 });
      const state = await waitFor(
        async () => {
          const now = await readState(log);
          return isSettled(now) && now.clock?.greaterThanOrEqual(operationTime) ? now : undefined;
        },
        { what: "the log" },
      );
      const faults = await faultsOf(fixture);
      if (faults.length > 0) throw new Error(`the log differs from the source:\n${faults.join("\n")}`);
      return state;
    },
    entries: async () => new Map((await allEntries(log)).map((entry) => [labelOf(entry), entry])),
    labels: async () => (await allEntries(log)).map(labelOf).sort(),
    async main(label) {
      const entry = (await fixture.entries()).get(label);
      if (entry?.kind !== "main") throw new Error(`${label} is not there`);
      return entry;
    },
  };
  return fixture;
}

async function startNode(fixture: IngestFixture, options: NodeOptions & { schema: Schema }): Promise<Node> {
  const client = await connectMongo(fixture.uri);
  const log = await openLog(client, fixture.log.db.databaseName);
  const appends: CommittedAppend[] = [];
  const clock = testClock();
  const ingest = startIngest({
    client,
    sourceDb: fixture.sourceDb,
    log,
    schema: options.schema,
    clock,
    logger: silentLogger,
    nodeId: "test",
    // The clock is stored often, so that tests needn't wait for it.
    settings: { leaseMs: LEASE_MS, idlePersistMs: 20, backoffMsMax: 200, ...options.settings },
    onAppend(committed) {
      appends.push(committed);
      options.onAppend?.(committed);
    },
  });
  let closed: Promise<void> | undefined;
  const close = async () => {
    await ingest.close();
    await client.close();
  };
  return {
    ...ingest,
    appends,
    clock,
    close: () => {
      closed ??= close();
      return closed;
    },
    async kill() {
      await client.close(true);
      await ingest.close();
      closed = Promise.resolve();
    },
  };
}

async function allEntries(log: Log): Promise<Entry[]> {
  return (await log.entries.find({}, { readConcern: "majority" }).toArray()).map(entryOf);
}

function labelOf({ kind, key, recordId }: Entry): string {
  return kind === "main" ? `${key.c}/${recordId}` : `${key.c}/${recordId} ⇥ ${key.f}`;
}
