// Ends the transactions that killed nodes left open: until then every document in them meets conflicts, for a minute.
// A node whose beat stands still, as watched by this node's own clock, is taken for dead. If it was only idle, or
// slow, nothing is lost: a transaction ended under a living node is run again (see transaction.ts).
import type { Db, MongoClient } from "mongodb";
import type { Clock } from "../model/clock.ts";
import { endInSessions, nodesOf } from "./nodes.ts";

export interface OrphanWatchOptions {
  readonly client: MongoClient;
  /** Tidemark's own. */
  readonly db: Db;
  readonly clock: Clock;
  /** A beat that stands still for so long is a dead node's; its sessions are ended this often while it is known. */
  readonly staleMs: number;
  /** The id of this node's pool, which is never ended. */
  readonly ownId: string;
}

export interface OrphanWatch {
  /** Never throws. */
  close(): Promise<void>;
}

const SWEEP_MS_MAX = 2_000;
/** More dead nodes than ever live at once; older ones have been ended before. */
const NODES_MAX = 200;
const FORGET_EVERY_MS = 3_600_000;
const FORGET_AFTER_DAYS = 1;

/** Begins at once. A sweep that fails is left to the next. */
export function watchOrphans(options: OrphanWatchOptions): OrphanWatch {
  const { clock, staleMs } = options;
  const closing = new AbortController();
  const watching = (async () => {
    const watch: Watch = { ...options, seen: new Map(), sweptAtMs: 0, forgotAtMs: 0 };
    while (!closing.signal.aborted) {
      // What a database that is away can't do now.
      await sweep(watch).catch(() => {});
      await clock.sleep(Math.min(SWEEP_MS_MAX, staleMs / 2), closing.signal);
    }
  })();
  return {
    close() {
      closing.abort();
      return watching;
    },
  };
}

interface Seen {
  readonly beat: number;
  /** Since when the beat has stood still, or its sessions were last ended. */
  sinceMs: number;
}

interface Watch extends OrphanWatchOptions {
  readonly seen: Map<string, Seen>;
  sweptAtMs: number;
  forgotAtMs: number;
}

async function sweep(watch: Watch): Promise<void> {
  const { client, db, clock, staleMs, ownId, seen } = watch;
  const nowMs = clock.nowMs();
  const nodes = await nodesOf(db)
    .find({ _id: { $ne: ownId } }, { readConcern: "majority" })
    .sort({ at: -1 })
    .limit(NODES_MAX)
    .toArray();
  // Who has not looked for a while has not seen a beat stand still.
  if (nowMs - watch.sweptAtMs > staleMs + SWEEP_MS_MAX) seen.clear();
  watch.sweptAtMs = nowMs;
  const known = new Set(nodes.map(({ _id }) => _id));
  for (const id of seen.keys()) if (!known.has(id)) seen.delete(id);
  for (const { _id, beat } of nodes)
    if (seen.get(_id)?.beat !== beat) seen.set(_id, { beat, sinceMs: nowMs });
  const dead = nodes.filter(({ _id }) => nowMs - (seen.get(_id)?.sinceMs ?? nowMs) >= staleMs);
  await endInSessions(
    client,
    dead.flatMap(({ sessions }) => sessions),
  );
  for (const { _id, beat } of dead) seen.set(_id, { beat, sinceMs: nowMs });
  if (nowMs - watch.forgotAtMs >= FORGET_EVERY_MS) await forget(watch, nowMs);
}

/** Removes who has not beaten for a day by the database's time; a node that was only idle registers again. */
async function forget(watch: Watch, nowMs: number): Promise<void> {
  const aDayAgo = { $dateSubtract: { startDate: "$$NOW", unit: "day", amount: FORGET_AFTER_DAYS } };
  await nodesOf(watch.db).deleteMany({ $expr: { $lt: ["$at", aDayAgo] }, _id: { $ne: watch.ownId } });
  watch.forgotAtMs = nowMs;
}
