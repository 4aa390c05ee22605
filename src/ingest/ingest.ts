// Ingest: keeps the change log equal to the source. Of all nodes one leads, the others wait for its lease; whatever
// fails, a node logs it, waits a little and becomes a candidate again.
import type { ClientSession, MongoClient } from "mongodb";
import { type CommittedAppend, FencedError } from "../log/append.ts";
import { type Log, readState } from "../log/log.ts";
import type { Clock } from "../model/clock.ts";
import { invariant } from "../model/invariant.ts";
import type { Logger } from "../model/logger.ts";
import type { Schema } from "../schema/schema.ts";
import { lead } from "./leader.ts";
import { createLease, type Lease } from "./lease.ts";
import { isOutdated, logFingerprint } from "./schema-plan.ts";
import { defaultIngestSettings, type IngestSettings } from "./settings.ts";
import { createStatusKeeper, type IngestStatus, type StatusKeeper } from "./status.ts";

export interface IngestOptions {
  readonly client: MongoClient;
  /** The name of the source's database. */
  readonly sourceDb: string;
  readonly log: Log;
  readonly schema: Schema;
  readonly clock: Clock;
  readonly logger: Logger;
  /** For operators; two nodes of one name do no harm. */
  readonly nodeId: string;
  /**
   * Called with each append this node commits, in order. An append whose outcome was lost may be left out: then the
   * next one's `before` is higher than the last one's head.
   */
  readonly onAppend?: (committed: CommittedAppend) => void;
  readonly settings?: Partial<IngestSettings>;
}

export interface Ingest {
  status(): IngestStatus;
  /** Stops at the next safe point and gives up the lease. Never throws; may be repeated. */
  close(): Promise<void>;
}

/** The lease is beaten, and watched, so many times in its length. */
const BEATS_PER_LEASE = 5;

/** Begins at once; failures are logged and told by `status`, never thrown. */
export function startIngest(options: IngestOptions): Ingest {
  const closing = new AbortController();
  const status = createStatusKeeper(options.clock, logFingerprint(options.schema));
  const settings = { ...defaultIngestSettings, ...options.settings };
  const running = run({ onAppend: () => {}, ...options, settings, status }, closing.signal);
  return {
    status: status.present,
    async close() {
      closing.abort();
      await running;
    },
  };
}

type RunOptions = Required<IngestOptions> & {
  readonly settings: IngestSettings;
  readonly status: StatusKeeper;
};

async function run(options: RunOptions, closing: AbortSignal): Promise<void> {
  const { client, log, clock, nodeId, settings, status, logger } = options;
  const session = client.startSession();
  invariant(session.id, "an explicit session has an id at once");
  const lease = createLease({ log, clock, nodeId, session: session.id });
  let failures = 0;
  while (!closing.aborted) {
    try {
      if (await acquire(options, lease)) await leadUnderLease({ ...options, session }, lease, closing);
      else await clock.sleep(settings.leaseMs / BEATS_PER_LEASE, closing);
      failures = 0;
    } catch (error) {
      failures = error instanceof FencedError ? 0 : failures + 1;
      status.failed(error);
      logger.warn({ err: error, failures }, "ingest failed; becoming a candidate again");
      await clock.sleep(backoffMs(settings, failures), closing);
    }
  }
  await session
    .endSession()
    .catch((error: unknown) => logger.debug({ err: error }, "the session runs out by itself"));
  status.become("CLOSED");
}

function backoffMs({ backoffMsMin, backoffMsMax }: IngestSettings, failures: number): number {
  return Math.min(backoffMsMax, backoffMsMin * 2 ** Math.max(0, failures - 1));
}

async function acquire(
  { log, schema, settings, status, logger }: RunOptions,
  lease: Lease,
): Promise<boolean> {
  const state = await readState(log);
  status.observe(state);
  status.count(await log.quarantine.estimatedDocumentCount());
  const outdated = isOutdated(state.schemas, logFingerprint(schema));
  // An older schema never leads where there is a newer one: its leader, still beating, is relieved at once.
  const newer = state.schemas.length > 0 && !status.present().isSchemaKnown;
  const staleMs = outdated ? settings.rollbackAfterMs : newer ? 0 : settings.leaseMs;
  const acquired = await lease.acquire({ staleMs, freeToo: !outdated });
  if (acquired && outdated)
    logger.warn({}, "no node with the newer schema is left: taking it for rolled back");
  return acquired;
}

/** Leads until the lease is lost, the node closes or something fails; gives the lease up in any case. */
async function leadUnderLease(
  options: RunOptions & { readonly session: ClientSession },
  lease: Lease,
  closing: AbortSignal,
): Promise<void> {
  const { status, logger } = options;
  const ended = new AbortController();
  const signal = AbortSignal.any([closing, ended.signal]);
  const beating = beat(options, lease, ended);
  status.become("LEADING");
  try {
    await lead(options, signal);
  } finally {
    ended.abort();
    await beating;
    status.become("FOLLOWING");
    await lease
      .release()
      .catch((error: unknown) => logger.debug({ err: error }, "the lease runs out by itself"));
  }
}

/** Ends the leadership when the lease is lost, or could not be renewed for its whole length. */
async function beat(
  { clock, settings, logger }: RunOptions,
  lease: Lease,
  ended: AbortController,
): Promise<void> {
  let renewedAtMs = clock.nowMs();
  for (;;) {
    await clock.sleep(settings.leaseMs / BEATS_PER_LEASE, ended.signal);
    if (ended.signal.aborted) return;
    try {
      if (!(await lease.renew())) {
        logger.warn({}, "another node took the lease");
        ended.abort();
      }
      renewedAtMs = clock.nowMs();
    } catch (error) {
      logger.warn({ err: error }, "the lease could not be renewed");
      if (clock.nowMs() - renewedAtMs > settings.leaseMs) ended.abort();
    }
  }
}
