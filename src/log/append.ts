// Append: one transaction writes entries, grants, quarantine and `state`, fenced by the state's revision, so that
// two leaders can't both append and a crash loses and repeats nothing. Whoever loses the fence must step down.
import { type AnyBulkWriteOperation, type ClientSession, Long, type Timestamp } from "mongodb";
import { invariant } from "../model/invariant.ts";
import type { Seq } from "../model/seq.ts";
import { snapshotSession } from "../mongo/snapshot.ts";
import { type Entry, entryDocument, type LeaverKey, type RecordKey } from "./entry.ts";
import { type Grant, type GrantDocument, grantDocument } from "./grants.ts";
import { inCollection } from "./keys.ts";
import { type Log, readState } from "./log.ts";
import { type QuarantineDocument, type Quarantined, quarantineDocument } from "./quarantine.ts";
import { type LogState, stateDocument } from "./state.ts";

/** What an append changes; whatever is absent stays. */
export interface Append {
  /** The state this was computed from. */
  readonly base: LogState;
  /** The state's new values; revision, nonce and grantsRevision are set by the append. */
  readonly state: Partial<Omit<LogState, "revision" | "nonce" | "grantsRevision" | "epoch" | "signingKey">>;
  /** Main entries and leavers with their new seqs: (base.head, state.head], ascending. */
  readonly entries?: readonly Entry[];
  /** Those of `entries` that nothing was stored for before: the others replace what is there. */
  readonly created?: ReadonlySet<Entry>;
  /** Main entries (deleted records) and leavers (feeds re-entered, or too old) to drop, where they exist. */
  readonly drops?: ReadonlyArray<RecordKey | LeaverKey>;
  /** Main entries a load has met unchanged. */
  readonly stamps?: { readonly load: number; readonly schema: number; readonly keys: readonly RecordKey[] };
  readonly grants?: readonly Grant[];
  readonly grantDrops?: readonly RecordKey[];
  /** Collections all of whose grants go, before those of `grants` come. */
  readonly voidGrants?: readonly string[];
  readonly quarantine?: readonly Quarantined[];
  readonly quarantineDrops?: readonly RecordKey[];
}

/** An append as committed: with it a reader standing at `before` can go on without reading the database. */
export interface CommittedAppend {
  readonly before: Seq;
  readonly state: LogState;
  readonly entries: readonly Entry[];
  /** Whether any grant may have changed. */
  readonly grantsChanged: boolean;
  /** Cluster time of the commit: a snapshot at it holds exactly this. */
  readonly time: Timestamp;
}

/** Another node has written `state` since: step down. */
export class FencedError extends Error {
  override readonly name = "FencedError";
}

const ATTEMPTS_MAX = 5;

/** A state that another transaction holds on to is waited for, but not for ever. */
const STATE_WRITE_MS_MAX = 10_000;

/**
 * Commits an append, at most once whatever fails on the way.
 * @param session one of the caller's own, where it must be known under which id an append left open can be ended.
 * @throws FencedError when `base` is no longer the state; the driver's error when the database stays unreachable.
 */
export async function append(
  log: Log,
  change: Append,
  nonce: string,
  session?: ClientSession,
): Promise<CommittedAppend> {
  if (!session) return withSession(log, (own) => append(log, change, nonce, own));
  const state = stateAfter(change, nonce);
  invariant(
    seqsAreDense(change.entries ?? [], change.base.head, state.head),
    "entries fill (base.head, head]",
  );
  for (let attempt = 1; ; attempt++) {
    try {
      return committed(change, state, await commit(log, change, { state, session }));
    } catch (error) {
      // Whatever failed, an attempt of ours may have been committed: only the state itself tells.
      const now = await readStateNow(log);
      if (now.state.nonce === nonce) return committed(change, state, now.time);
      if (now.state.revision !== change.base.revision) {
        const moved = `state went from revision ${change.base.revision} to ${now.state.revision}`;
        throw new FencedError(moved, { cause: error });
      }
      if (attempt === ATTEMPTS_MAX) throw error;
    }
  }
}

/** The state an append makes of its base: known before it is committed. */
export function stateAfter(change: Append, nonce: string): LogState {
  const revision = change.base.revision + 1;
  const grantsRevision = changesGrants(change) ? revision : change.base.grantsRevision;
  return { ...change.base, ...change.state, revision, grantsRevision, nonce };
}

function committed(change: Append, state: LogState, time: Timestamp): CommittedAppend {
  const grantsChanged = changesGrants(change);
  return { before: change.base.head, state, entries: change.entries ?? [], grantsChanged, time };
}

function changesGrants(change: Append): boolean {
  return [change.grants, change.grantDrops, change.voidGrants].some((list) => list?.length);
}

function seqsAreDense(entries: readonly Entry[], before: Seq, head: Seq): boolean {
  return (
    entries.length === head - before && entries.every((entry, index) => entry.seq === before + index + 1)
  );
}

async function withSession<T>({ client }: Log, work: (session: ClientSession) => Promise<T>): Promise<T> {
  const session = client.startSession();
  try {
    return await work(session);
  } finally {
    await session.endSession();
  }
}

interface Target {
  readonly state: LogState;
  readonly session: ClientSession;
}

async function commit(log: Log, change: Append, to: Target): Promise<Timestamp> {
  const { session } = to;
  try {
    if (onlyState(change)) await writeState(log, change.base, to);
    else await commitAll(log, change, to);
    invariant(session.operationTime, "a committed write has an operation time");
    return session.operationTime;
  } catch (error) {
    if (session.inTransaction()) await session.abortTransaction();
    throw error;
  }
}

/** One document is written atomically without a transaction, in one round trip instead of two. */
function onlyState({
  entries,
  drops,
  stamps,
  grants,
  grantDrops,
  voidGrants,
  quarantine,
  quarantineDrops,
}: Append): boolean {
  const lists = [entries, drops, stamps?.keys, grants, grantDrops, voidGrants, quarantine, quarantineDrops];
  return lists.every((list) => !list?.length);
}

async function commitAll(log: Log, change: Append, to: Target): Promise<void> {
  const { session } = to;
  session.startTransaction({ readConcern: { level: "snapshot" }, writeConcern: { w: "majority" } });
  await writeState(log, change.base, to);
  await writeEntries(log, change, session);
  await writeGrants(log, change, session);
  await writeQuarantine(log, change, session);
  await session.commitTransaction();
}

async function writeState(log: Log, base: LogState, { state, session }: Target): Promise<void> {
  const { _id, ...fields } = stateDocument(state);
  const fence = { _id, revision: Long.fromNumber(base.revision) };
  const { matchedCount } = await log.states.updateOne(
    fence,
    { $set: fields },
    { session, maxTimeMS: STATE_WRITE_MS_MAX },
  );
  if (matchedCount === 0) throw new FencedError("state has moved on");
}

async function writeEntries(log: Log, change: Append, session: ClientSession): Promise<void> {
  const { entries = [], drops = [], created, stamps } = change;
  const replaced = created ? entries.filter((entry) => !created.has(entry)) : entries;
  const gone = [...drops, ...replaced.map(({ key }) => key)];
  // One delete for all and one insert take 0.6 of the time of as many replacements: each would move two index keys.
  if (gone.length) await log.entries.deleteMany({ _id: { $in: gone } }, { session });
  if (entries.length) await log.entries.insertMany(entries.map(entryDocument), { session, ordered: false });
  if (stamps?.keys.length) {
    const { keys, load, schema } = stamps;
    await log.entries.updateMany({ _id: { $in: [...keys] } }, { $set: { load, schema } }, { session });
  }
}

async function writeGrants(log: Log, change: Append, session: ClientSession): Promise<void> {
  for (const collection of change.voidGrants ?? [])
    await log.grants.deleteMany(inCollection(collection), { session });
  const operations: AnyBulkWriteOperation<GrantDocument>[] = [];
  for (const key of change.grantDrops ?? []) operations.push({ deleteOne: { filter: { _id: key } } });
  for (const grant of change.grants ?? []) {
    const { _id, ...fields } = grantDocument(grant);
    operations.push({ replaceOne: { filter: { _id }, replacement: fields, upsert: true } });
  }
  if (operations.length) await log.grants.bulkWrite(operations, { session, ordered: false });
}

async function writeQuarantine(log: Log, change: Append, session: ClientSession): Promise<void> {
  const operations: AnyBulkWriteOperation<QuarantineDocument>[] = [];
  for (const key of change.quarantineDrops ?? []) operations.push({ deleteOne: { filter: { _id: key } } });
  for (const quarantined of change.quarantine ?? []) {
    const { _id, ...fields } = quarantineDocument(quarantined);
    operations.push({ replaceOne: { filter: { _id }, replacement: fields, upsert: true } });
  }
  if (operations.length) await log.quarantine.bulkWrite(operations, { session, ordered: false });
}

/** The state with all that has been written by now, whoever wrote it, as soon as a majority has it. */
async function readStateNow(log: Log): Promise<{ state: LogState; time: Timestamp }> {
  const { operationTime } = await log.db.command({ ping: 1 });
  const session = snapshotSession(log.client, operationTime);
  try {
    return { state: await readState(log, session), time: operationTime };
  } finally {
    await session.endSession();
  }
}
