// A node without its edge, in the bench's own process: ingest running, and push called as the edge calls it.
import { join } from "node:path";
import type { MongoClient } from "mongodb";
import { loadDescriptorSet } from "../src/generate/load-descriptor-set.ts";
import { startIngest } from "../src/ingest/ingest.ts";
import { openLedger } from "../src/ledger/ledger.ts";
import { openLog, readState } from "../src/log/log.ts";
import { isSettled } from "../src/log/state.ts";
import { realClock } from "../src/main.ts";
import { silentLogger } from "../src/model/logger.ts";
import type { Principal } from "../src/model/principal.ts";
import { connectMongo } from "../src/mongo/connect.ts";
import { openSessionPool } from "../src/mongo/session-pool.ts";
import { createPush, PUSH_SESSIONS, type Push } from "../src/push/push.ts";
import { readSchema } from "../src/schema/schema.ts";
import { grantsOfClaims } from "../src/schema/scopes.ts";

/** The demo's: its todos have validation and merge rules. */
export const PUSH_SCHEMA = join(import.meta.dirname, "../proto/demo");

const POLL_MS = 10;
/** So that whoever waits for the log to have caught up doesn't wait for more. */
const IDLE_PERSIST_MS = 200;

export interface PushNode {
  readonly client: MongoClient;
  readonly push: Push;
  principalOf(name: string): Principal;
  /** Resolves once the log equals the source as it is now. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

export async function startPushNode(options: {
  readonly uri: string;
  readonly sourceDb: string;
  readonly logDb: string;
}): Promise<PushNode> {
  const { uri, sourceDb, logDb } = options;
  const client = await connectMongo(uri);
  const schema = readSchema(await loadDescriptorSet(PUSH_SCHEMA));
  const log = await openLog(client, logDb);
  const ledger = await openLedger(client, logDb);
  const shared = { client, sourceDb, log, schema, clock: realClock, logger: silentLogger };
  const settings = { idlePersistMs: IDLE_PERSIST_MS };
  const ingest = startIngest({ ...shared, nodeId: "bench", settings });
  const pool = { client, db: log.db, clock: realClock, nodeId: "bench", size: PUSH_SESSIONS };
  const sessions = await openSessionPool(pool);
  const push = createPush({ ...shared, ledger, sessions });
  return {
    client,
    push,
    principalOf: (name) => ({
      id: name,
      claimGrants: grantsOfClaims(schema, { sub: name }),
      device: name,
      isService: false,
      expiresAtMs: undefined,
    }),
    async settled() {
      const { operationTime } = await client.db("admin").command({ ping: 1 });
      for (;;) {
        const state = await readState(log);
        if (isSettled(state) && state.clock?.greaterThanOrEqual(operationTime)) return;
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    },
    async close() {
      await push.close();
      await sessions.close();
      await ingest.close();
      await client.close();
    },
  };
}
