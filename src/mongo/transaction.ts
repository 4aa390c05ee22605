// Runs work in a transaction: snapshot reads, majority writes, said explicitly. Conflicts with other transactions
// re-run the work, a commit whose answer was lost is asked again; both bounded by attempts and by time.
// Our own loop instead of the driver's `withTransaction`, which neither obeys a signal nor bounds its attempts.
import { setTimeout as delay } from "node:timers/promises";
import { type ClientSession, type MongoClient, MongoError, MongoErrorLabel, type Timestamp } from "mongodb";
import { invariant } from "../model/invariant.ts";
import { SyncError } from "../model/sync-error.ts";
import { classOf, isInterrupted } from "./error-class.ts";
import type { SessionPool } from "./session-pool.ts";

export interface TransactionOptions {
  readonly signal?: AbortSignal;
  /**
   * Where the session is taken from, waiting for one if need be; else it is one of its own. Sessions of a pool may be
   * ended under a transaction by another node: that counts as a conflict.
   */
  readonly sessions?: SessionPool;
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
 * Runs `work` in a transaction of a session of its own and commits. `work` passes the session to each operation, one
 * after the other, lets their errors through, and may run several times: it has no other effects.
 * An abort rejects at once with the signal's reason while `work` runs or waits to run again (what it still does is
 * rolled back when it ends); a commit on its way is waited for, so that what was committed is never told as aborted.
 * @throws what `work` throws, unless a retry can mend it; what the pool of sessions throws.
 * @throws SyncError CONTENTION or DATABASE_UNAVAILABLE, with the last error as cause, when the bounds are used up.
 * @throws the driver's error when the outcome of the commit stays unknown.
 */
export async function runTransaction<T>(
  client: MongoClient,
  work: TransactionWork<T>,
  options: TransactionOptions = {},
): Promise<TransactionOutcome<T>> {
  const { sessions } = options;
  const deadline = AbortSignal.timeout(options.durationMsMax ?? DURATION_MS_MAX);
  const signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline;
  let failure: unknown;
  try {
    signal.throwIfAborted();
    const session = sessions ? await sessions.acquire(signal) : client.startSession();
    const run = new Run(session, signal, sessions);
    try {
      const attemptsMax = options.attemptsMax ?? ATTEMPTS_MAX;
      for (let attempt = 1; attempt <= attemptsMax; attempt++) {
        try {
          return await run.once(work);
        } catch (error) {
          if (signal.aborted || !run.isMendable(error)) throw error;
          failure = error;
        }
        if (session.inTransaction()) await session.abortTransaction();
        if (attempt < attemptsMax) await delay(backoffMs(attempt), undefined, { signal });
      }
    } finally {
      await run.close();
    }
  } catch (error) {
    if (!signal.aborted || isOutcomeUnknown(error)) throw error;
    options.signal?.throwIfAborted();
    failure ??= error;
  }
  throw exhausted(failure);
}

/** The runs of one piece of work in one session. */
class Run {
  readonly #session: ClientSession;
  readonly #signal: AbortSignal;
  readonly #sessions: SessionPool | undefined;
  #work: Promise<unknown> = Promise.resolve();
  #isWorking = false;
  /** The last transaction may be open on a server that could not be asked. */
  #isDoubtful = false;

  constructor(session: ClientSession, signal: AbortSignal, sessions: SessionPool | undefined) {
    this.#session = session;
    this.#signal = signal;
    this.#sessions = sessions;
  }

  async once<T>(work: TransactionWork<T>): Promise<TransactionOutcome<T>> {
    this.#signal.throwIfAborted();
    const session = this.#session;
    startTransaction(session);
    const before = session.serverSession.txnNumber;
    const working = work(session, this.#signal);
    this.#work = working;
    this.#isWorking = true;
    this.#isDoubtful = false;
    const onEnd = () => {
      this.#isWorking = false;
    };
    working.then(onEnd, onEnd);
    try {
      const result = await unlessAborted(working, this.#signal);
      invariant(session.serverSession.txnNumber > before, "a transaction runs at least one operation");
      return { result, operationTime: await commit(session, this.#signal) };
    } catch (error) {
      this.#isDoubtful = classOf(error) === "unavailable" || isOutcomeUnknown(error);
      throw error;
    }
  }

  /** Whether the work may succeed if run again. */
  isMendable(error: unknown): boolean {
    if (hasLabel(error, MongoErrorLabel.TransientTransactionError)) return true;
    return this.#sessions !== undefined && isInterrupted(error);
  }

  /** Rolls back what is open; while abandoned work has not ended, that could miss its next operation, so it waits. */
  async close(): Promise<void> {
    const session = this.#session;
    const sessions = this.#sessions;
    const ended = this.#work
      .catch(() => {})
      .then(() => (sessions ? rollBack(session) : session.endSession()));
    if (sessions && (this.#isWorking || this.#isDoubtful)) return sessions.retire(session, ended);
    const back = sessions ? ended.then(() => sessions.release(session)) : ended;
    if (!this.#signal.aborted) await back;
  }
}

async function rollBack(session: ClientSession): Promise<void> {
  if (session.inTransaction()) await session.abortTransaction();
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
      invariant(session.operationTime !== undefined, "an operation has told its time");
      return session.operationTime;
    } catch (error) {
      if (attempt === COMMITS_MAX) throw error;
      // Asked again, an interrupted commit tells whether it took place; that must be known even after an abort.
      if (isInterrupted(error) && !isOutcomeUnknown(error)) continue;
      if (!isOutcomeUnknown(error) || signal.aborted) throw error;
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

function isOutcomeUnknown(error: unknown): boolean {
  return hasLabel(error, MongoErrorLabel.UnknownTransactionCommitResult);
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
