// Push: a client's mutations reach the source exactly once, each with a lasting receipt. Replay check, access, validation,
// merge and write of a mutation are one transaction; nothing here tells pull: what is written comes back by the log.
import type { Ledger } from "../ledger/ledger.ts";
import type { Log } from "../log/log.ts";
import type { Clock } from "../model/clock.ts";
import type { CommitClock } from "../model/commit-clock.ts";
import type { Logger } from "../model/logger.ts";
import type { Principal } from "../model/principal.ts";
import type { Receipt } from "../model/receipt.ts";
import { SyncError } from "../model/sync-error.ts";
import { classOf } from "../mongo/error-class.ts";
import type { Source } from "../mongo/source-document.ts";
import { sourceReadOptions } from "../schema/bson-value.ts";
import type { Schema } from "../schema/schema.ts";
import { type Call, type PushRequest, RECORD_BYTES_MAX } from "./call.ts";
import { pushAtomically } from "./push-atomically.ts";
import { pushEach } from "./push-each.ts";

export interface PushOptions {
  readonly client: Source["client"];
  readonly sourceDb: string;
  readonly log: Log;
  readonly ledger: Ledger;
  readonly schema: Schema;
  readonly clock: Clock;
  readonly logger: Logger;
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
   * The signal is obeyed between transactions and before a commit; a commit on its way is waited for.
   * @throws SyncError INVALID_REQUEST, CONTENTION, DATABASE_UNAVAILABLE or DEADLINE_EXCEEDED; the signal's reason if
   * that is a SyncError.
   */
  pushMutations(principal: Principal, request: PushRequest, signal: AbortSignal): Promise<PushResult>;
}

export const MUTATIONS_PER_REQUEST_MAX = 1000;
const RETRY_AFTER_MS = 500;

export function createPush(options: PushOptions): Push {
  const { client, sourceDb, ...shared } = options;
  const source: Source = { client, databaseName: sourceDb, readOptions: sourceReadOptions };
  return {
    async pushMutations(principal, request, signal) {
      const count = request.mutations.length;
      if (count === 0 || count > MUTATIONS_PER_REQUEST_MAX) {
        throw new SyncError("INVALID_REQUEST", `a request takes 1 to ${MUTATIONS_PER_REQUEST_MAX} mutations`);
      }
      const call: Call = {
        ...shared,
        source,
        principal,
        request,
        signal,
        budget: { bytesLeft: RECORD_BYTES_MAX },
      };
      try {
        const receipts = await (request.atomic ? pushAtomically(call) : pushEach(call));
        return { receipts, commitClock: highest(receipts) };
      } catch (error) {
        throw failureOf(error, signal);
      }
    },
  };
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
