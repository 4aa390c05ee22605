// Two nodes of push on one database, each with connections, sessions and a clock of its own, and ingest beside them.
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { type Document, MongoClient } from "mongodb";
import { compileProtos } from "../../src/generate/compile-protos.ts";
import { startIngest } from "../../src/ingest/ingest.ts";
import { openLedger } from "../../src/ledger/ledger.ts";
import { type Log, openLog } from "../../src/log/log.ts";
import { realClock } from "../../src/main.ts";
import { silentLogger } from "../../src/model/logger.ts";
import { connectMongo } from "../../src/mongo/connect.ts";
import { openSessionPool } from "../../src/mongo/session-pool.ts";
import { createPush, PUSH_SESSIONS, type Push } from "../../src/push/push.ts";
import { readSchema, type Schema } from "../../src/schema/schema.ts";
import type { Random } from "../support/random.ts";
import type { Databases } from "./random-history.ts";
import { COLLECTIONS } from "./reference-fields.ts";

export interface Nodes extends Databases {
  readonly pushes: readonly Push[];
  readonly log: Log;
  /** Makes the next few transactions of push fail, in a way that can be mended. */
  disturb(random: Random): Promise<void>;
  close(): Promise<void>;
}

/** Times of the nodes' clocks lie so far apart that each stamp tells which node set it. */
const CLOCK_DISTANCE_MS = 3_600_000;

let compiled: Promise<Schema> | undefined;

function mergeSchema(): Promise<Schema> {
  compiled ??= compileProtos(fileURLToPath(new URL("protos", import.meta.url))).then(readSchema);
  return compiled;
}

export async function startNodes(uri: string): Promise<Nodes> {
  const name = randomUUID().slice(0, 8);
  const [sourceDb, tidemarkDb] = [`source-${name}`, `tidemark-${name}`];
  const schema = await mergeSchema();
  const client = await connectMongo(uri);
  const source = client.db(sourceDb);
  for (const { name: collection } of COLLECTIONS) {
    await source.collection(collection).createIndex({ code: 1 }, { unique: true, sparse: true });
  }
  const nodes = await Promise.all(
    [0, 1].map((index) => startNode(uri, { sourceDb, tidemarkDb, schema, index })),
  );
  const [first] = nodes;
  if (first === undefined) throw new Error("there are two nodes");
  const { log } = first;
  const shared = { sourceDb, schema, log, clock: realClock, logger: silentLogger };
  const ingest = startIngest({ ...shared, client: first.client, nodeId: "ingest" });
  const control = await new MongoClient(`${uri}&directConnection=true`).connect();
  const fail = (mode: Document | string, data: Document) =>
    control.db("admin").command({ configureFailPoint: "failCommand", mode, data });
  return {
    client,
    sourceDb,
    tidemarkDb,
    schema,
    log,
    pushes: nodes.map(({ push }) => push),
    disturb: async (random) =>
      void (await fail({ times: 1 + random.below(3) }, randomFault(random, tidemarkDb))),
    async close() {
      await fail("off", {});
      for (const node of nodes) await node.close();
      await ingest.close();
      for (const node of nodes) await node.client.close();
      for (const database of [sourceDb, tidemarkDb]) await client.db(database).dropDatabase();
      await control.close();
      await client.close();
    },
  };
}

/** The ledger is push's alone; commits are ingest's as well, which lives with it. */
function randomFault(random: Random, tidemarkDb: string): Document {
  const transient = { errorCode: 112, errorLabels: ["TransientTransactionError"] };
  const ledger = { namespace: `${tidemarkDb}.ledger` };
  return random.of([
    { failCommands: ["insert"], ...ledger, ...transient },
    { failCommands: ["find"], ...ledger, ...transient },
    { failCommands: ["commitTransaction"], ...transient },
    { failCommands: ["commitTransaction"], closeConnection: true },
    { failCommands: ["commitTransaction"], writeConcernError: { code: 64, errmsg: "unknown" } },
  ]);
}

interface NodeOptions extends Omit<Databases, "client"> {
  readonly index: number;
}

async function startNode(uri: string, { sourceDb, tidemarkDb, schema, index }: NodeOptions) {
  const client = await connectMongo(uri);
  const log = await openLog(client, tidemarkDb);
  const ledger = await openLedger(client, tidemarkDb);
  const nodeId = `node ${index}`;
  const sessions = await openSessionPool({
    client,
    db: log.db,
    clock: realClock,
    nodeId,
    size: PUSH_SESSIONS,
  });
  let nowMs = Date.now() + index * CLOCK_DISTANCE_MS;
  const clock = { nowMs: () => ++nowMs, sleep: () => Promise.resolve() };
  const push = createPush({ client, sourceDb, log, ledger, schema, clock, logger: silentLogger, sessions });
  const close = async () => {
    await push.close();
    await sessions.close();
  };
  return { client, log, push, close };
}
