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

/** The signal ends with the caller's or with the time allowed; operations may be given it to end early. */
export type TransactionWork<T> = (session: ClientSession, signal: AbortSignal) => Promise<T>;

/**
 * Runs `work` in a transaction of its own session and commits. `work` passes the session to each operation, one after
 * the other, lets their errors through, and may run several times: it has no other effects.
 * An abort rejects at once with the signal's reason while `work` runs or waits to run again (what it still does is
 * rolled back when it ends); a commit on its way is waited for, so that what was committed is never told as aborted.
 * @throws what `work` throws, unless a retry can mend it.
 * @throws SyncError CONTENTION or DATABASE_UNAVAILABLE, with the last error as cause, when the bounds are used up.
 * @throws the driver's error when the outcome of the commit stays unknown.
 */
export async function runTransaction<T>(
  client: MongoClient,
  work: TransactionWork<T>,
  options: TransactionOptions = {},
): Promise<TransactionOutcome<T>> {
  const deadline = AbortSignal.timeout(options.durationMsMax ?? DURATION_MS_MAX);
  const signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline;
  const attemptsMax = options.attemptsMax ?? ATTEMPTS_MAX;
  const session = client.startSession();
  let running: Promise<unknown> = Promise.resolve();
  let failure: unknown;
  try {
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      signal.throwIfAborted();
      startTransaction(session);
      const result = work(session, signal);
      running = result;
      try {
        return { result: await unlessAborted(result, signal), operationTime: await commit(session, signal) };
      } catch (error) {
        if (signal.aborted || !hasLabel(error, MongoErrorLabel.TransientTransactionError)) throw error;
        failure = error;
      }
      if (session.inTransaction()) await session.abortTransaction();
      await delay(backoffMs(attempt), undefined, { signal });
    }
  } catch (error) {
    if (!signal.aborted || hasLabel(error, MongoErrorLabel.UnknownTransactionCommitResult)) throw error;
    options.signal?.throwIfAborted();
    failure ??= error;
  } finally {
    // Ending the session rolls back what is open; before abandoned work has ended, that could miss its next operation.
    const ended = running.catch(() => {}).then(() => session.endSession());
    if (!signal.aborted) await ended;
  }
  throw exhausted(failure);
}

function startTransaction(session: ClientSession): void {
  session.startTransaction({
    readConcern: { level: "snapshot" },
    writeConcern: { w: "majority" },
    readPreference: "primary",
    maxCommitTimeMS: COMMIT_MS_MAX,
  });
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
