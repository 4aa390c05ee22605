// Push: a client's mutations reach the source exactly once, each with a lasting receipt. Replay check, access, validation,
// merge and write of a mutation are one transaction, shared by what arrives together; nothing here tells pull: what is
// written comes back by the log.
import type { Ledger } from "../ledger/ledger.ts";
import type { Log } from "../log/log.ts";
import type { Clock } from "../model/clock.ts";
import type { CommitClock } from "../model/commit-clock.ts";
import type { Logger } from "../model/logger.ts";
import { MUTATION_BYTES_MAX } from "../model/mutation.ts";
import type { Principal } from "../model/principal.ts";
import type { Receipt } from "../model/receipt.ts";
import { SyncError } from "../model/sync-error.ts";
import { classOf } from "../mongo/error-class.ts";
import type { SessionPool } from "../mongo/session-pool.ts";
import type { Source } from "../mongo/source-document.ts";
import { sourceReadOptions } from "../schema/bson-value.ts";
import type { Schema } from "../schema/schema.ts";
import { type Call, type IsPresent, type PushParts, type PushRequest, RECORD_BYTES_MAX } from "./call.ts";
import { LANES_AT_ONCE } from "./push-lanes.ts";
import { ALONE_MAX, GROUPS_MAX, Pusher } from "./pusher.ts";
import { readAll } from "./read-all.ts";
import { type Submission, type SubmittedUnit, submissionOf, work } from "./submission.ts";

export interface PushOptions {
  readonly client: Source["client"];
  readonly sourceDb: string;
  readonly log: Log;
  readonly ledger: Ledger;
  readonly schema: Schema;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of `PUSH_SESSIONS`; the caller closes it, after push. */
  readonly sessions: SessionPool;
  readonly mutationBytesMax?: number;
  /** Asked before a record is told. Default: always. */
  readonly isPresent?: IsPresent;
}

export interface PushResult {
  /** One per mutation, in the request's order. */
  readonly receipts: readonly Receipt[];
  /** The highest of the receipts' commit clocks; 0n: nothing was written. */
  readonly commitClock: CommitClock;
}

export interface Push {
  /**
   * Succeeds whatever became of each mutation. Sent again after any error, what was committed is replayed.
   * When the signal aborts, what hasn't been begun is not; what is on its way is committed or not, and told no more.
   * @throws SyncError INVALID_REQUEST, OVERLOADED, CONTENTION, DATABASE_UNAVAILABLE, SHUTTING_DOWN or
   * DEADLINE_EXCEEDED; the signal's reason if that is a SyncError.
   */
  pushMutations(principal: Principal, request: PushRequest, signal: AbortSignal): Promise<PushResult>;
  /** Takes nothing more, and ends when all that was taken is pushed. */
  close(): Promise<void>;
}

export const MUTATIONS_PER_REQUEST_MAX = 1000;
/** Transactions at once, at most. */
export const PUSH_SESSIONS = GROUPS_MAX * LANES_AT_ONCE + ALONE_MAX;
const RETRY_AFTER_MS = 500;

export function createPush(options: PushOptions): Push {
  const { client, sourceDb, mutationBytesMax = MUTATION_BYTES_MAX, ...shared } = options;
  const { isPresent = () => true } = options;
  const source: Source = { client, databaseName: sourceDb, readOptions: sourceReadOptions };
  const parts: PushParts = { ...shared, source, mutationBytesMax };
  const pusher = new Pusher<SubmittedUnit>(work(parts));
  return {
    async pushMutations(principal, request, signal) {
      const count = request.mutations.length;
      if (count === 0 || count > MUTATIONS_PER_REQUEST_MAX) {
        throw new SyncError("INVALID_REQUEST", `a request takes 1 to ${MUTATIONS_PER_REQUEST_MAX} mutations`);
      }
      try {
        signal.throwIfAborted();
        const budget = { bytesLeft: RECORD_BYTES_MAX };
        const call: Call = { principal, recordForm: request.recordForm, signal, budget, isPresent };
        const submission = submissionOf(readAll(parts, call, request.mutations), call, request.atomic);
        const receipts = await submitted(pusher, submission, signal);
        return { receipts, commitClock: highest(receipts) };
      } catch (error) {
        throw failureOf(error, signal);
      }
    },
    close: () => pusher.close(),
  };
}

async function submitted(
  pusher: Pusher<SubmittedUnit>,
  submission: Submission,
  signal: AbortSignal,
): Promise<readonly Receipt[]> {
  const { units } = submission;
  const stop = () => {
    pusher.remove(new Set(units));
    submission.fail(signal.reason);
  };
  submission.onFailure(() => pusher.remove(new Set(units)));
  if (units.length > 0) pusher.add(units);
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await submission.receipts;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

function highest(receipts: readonly Receipt[]): CommitClock {
  let clock: CommitClock = 0n;
  for (const receipt of receipts) if (receipt.commitClock > clock) clock = receipt.commitClock;
  return clock;
}

function failureOf(error: unknown, signal: AbortSignal): unknown {
  if (error instanceof SyncError) return error;
  if (signal.aborted) {
    const { reason } = signal;
    if (reason instanceof SyncError) return reason;
    const message = "the call ended before all mutations were pushed: send them again, with the same ids";
    return new SyncError("DEADLINE_EXCEEDED", message, { cause: error });
  }
  const details = { cause: error, retryAfterMs: RETRY_AFTER_MS };
  switch (classOf(error)) {
    case "transient":
      return new SyncError("CONTENTION", "too many writers at the same records; try again", details);
    case "unavailable":
      return new SyncError(
        "DATABASE_UNAVAILABLE",
        "the database did not answer; send the same mutations again",
        details,
      );
    default:
      return error;
  }
}
