// Runs work in a transaction: snapshot reads, majority writes, said explicitly. Conflicts with other transactions
// re-run the work, a commit whose answer was lost is asked again; both bounded by attempts and by time.
// Our own loop instead of the driver's `withTransaction`, which neither obeys a signal nor bounds its attempts.
import { setTimeout as delay } from "node:timers/promises";
import { type ClientSession, type MongoClient, MongoError, MongoErrorLabel, type Timestamp } from "mongodb";
import { invariant } from "../model/invariant.ts";
import { SyncError } from "../model/sync-error.ts";
import { classOf } from "./error-class.ts";

export interface TransactionOptions {
  readonly signal?: AbortSignal;
  /** Runs of the work, at most. Default 20. */
  readonly attemptsMax?: number;
  /** All runs, waits and commits together. Default 30 s, half of what a server lets a transaction live. */
  readonly durationMsMax?: number;
}

export interface TransactionOutcome<T> {
  readonly result: T;
  /**
   * The commit's cluster time: equal to the clusterTime of the change events of what was written. After a lost answer
   * it may be later, never earlier.
   */
  readonly operationTime: Timestamp;
}

const ATTEMPTS_MAX = 20;
const DURATION_MS_MAX = 30_000;
const COMMITS_MAX = 5;
/** The server gives up a commit that no majority confirms in this time. */
const COMMIT_MS_MAX = 10_000;
const BACKOFF_MS_MAX = 250;
const RETRY_AFTER_MS = 500;

/**
 * Runs `work` in a transaction of its own session and commits. `work` must pass the session to each operation, must not
 * swallow their errors, and may run several times: it has no other effects.
 * An abort rejects with the signal's reason: at once while `work` runs (whose later operations then fail), but a commit
 * on its way is waited for, so that nobody is told "aborted" about what was committed.
 * @throws what `work` throws, unless a retry can mend it.
 * @throws SyncError CONTENTION or DATABASE_UNAVAILABLE, with the last error as cause, when the bounds are used up.
 * @throws the driver's error when the outcome of the commit stays unknown.
 */
export async function runTransaction<T>(
  client: MongoClient,
  work: (session: ClientSession) => Promise<T>,
  options: TransactionOptions = {},
): Promise<TransactionOutcome<T>> {
  const durationMsMax = options.durationMsMax ?? DURATION_MS_MAX;
  const deadline = AbortSignal.timeout(durationMsMax);
  const signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline;
  const attemptsMax = options.attemptsMax ?? ATTEMPTS_MAX;
  const session = client.startSession();
  let failure: unknown;
  try {
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      signal.throwIfAborted();
      try {
        return await runOnce(session, work, signal);
      } catch (error) {
        if (signal.aborted || !hasLabel(error, MongoErrorLabel.TransientTransactionError)) throw error;
        failure = error;
      }
      await delay(backoffMs(attempt), undefined, { signal });
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    if (!deadline.aborted || hasLabel(error, MongoErrorLabel.UnknownTransactionCommitResult)) throw error;
    failure ??= error;
  } finally {
    // Also aborts what is still open; not awaited on the way out of an abort, since a dead server may not answer.
    const ended = session.endSession().catch(() => {});
    if (!signal.aborted) await ended;
  }
  throw exhausted(failure);
}

async function runOnce<T>(
  session: ClientSession,
  work: (session: ClientSession) => Promise<T>,
  signal: AbortSignal,
): Promise<TransactionOutcome<T>> {
  session.startTransaction({
    readConcern: { level: "snapshot" },
    writeConcern: { w: "majority" },
    readPreference: "primary",
    maxCommitTimeMS: COMMIT_MS_MAX,
  });
  try {
    const result = await unlessAborted(work(session), signal);
    const operationTime = await commit(session, signal);
    return { result, operationTime };
  } finally {
    if (session.inTransaction() && !signal.aborted) await session.abortTransaction();
  }
}

async function commit(session: ClientSession, signal: AbortSignal): Promise<Timestamp> {
  for (let attempt = 1; ; attempt++) {
    try {
      await session.commitTransaction();
      invariant(session.operationTime !== undefined, "a transaction runs at least one operation");
      return session.operationTime;
    } catch (error) {
      const unknown = hasLabel(error, MongoErrorLabel.UnknownTransactionCommitResult);
      if (!unknown || attempt === COMMITS_MAX || signal.aborted) throw error;
    }
  }
}

/** Settles with the work, or rejects as soon as the signal aborts; the abandoned work's own failure is then dropped. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
    if (signal.aborted) onAbort();
  });
}

/** Full jitter: two transactions that conflict must not meet again. */
function backoffMs(attempt: number): number {
  return Math.random() * Math.min(BACKOFF_MS_MAX, 2 ** attempt);
}

function hasLabel(error: unknown, label: string): boolean {
  return error instanceof MongoError && error.hasErrorLabel(label);
}

function exhausted(cause: unknown): SyncError {
  const details = { cause, retryAfterMs: RETRY_AFTER_MS };
  return classOf(cause) === "unavailable" || !(cause instanceof MongoError)
    ? new SyncError("DATABASE_UNAVAILABLE", "the database did not answer in time; try again", details)
    : new SyncError("CONTENTION", "too many writers at the same records; try again", details);
}
