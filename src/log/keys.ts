// Which records the log knows anything of, in `_id` order, and which leavers are old: for loads and upkeep.
// Majority reads, a bounded page at a time.
import { type Document, MaxKey, MinKey } from "mongodb";
import { invariant } from "../model/invariant.ts";
import type { Seq } from "../model/seq.ts";
import type { LeaverKey, RecordKey } from "./entry.ts";
import type { Log } from "./log.ts";

export interface KeyRange {
  readonly collection: string;
  /** Later ones are read; undefined: from the first. */
  readonly after: { readonly key: unknown } | undefined;
  /** Looked at, at most. */
  readonly max: number;
}

export interface KeyPage {
  readonly keys: readonly RecordKey[];
  /** The last one looked at, whether it is among the keys or not; undefined: there are no more. */
  readonly last: { readonly key: unknown } | undefined;
}

/** Records with a main entry that the load of this number has not met. */
export async function readUnmetKeys(log: Log, range: KeyRange, load: number): Promise<KeyPage> {
  // No filter: one that lets little through would look at the whole collection in one go.
  const rows = await log.entries
    .find(inRange(range), { ...options, projection: { load: 1 } })
    .sort({ _id: 1 })
    .limit(range.max)
    .toArray();
  const unmet = rows.filter((row) => row.load !== undefined && row.load !== load);
  return { keys: unmet.map(({ _id }) => _id), last: lastOf(rows) };
}

/** Membership records with a grant. */
export async function readGrantKeys(log: Log, range: KeyRange): Promise<KeyPage> {
  const rows = await log.grants.find(inRange(range), options).sort({ _id: 1 }).limit(range.max).toArray();
  return { keys: rows.map(({ _id }) => _id), last: lastOf(rows) };
}

export async function readQuarantineKeys(log: Log, range: KeyRange): Promise<KeyPage> {
  const rows = await log.quarantine.find(inRange(range), options).sort({ _id: 1 }).limit(range.max).toArray();
  return { keys: rows.map(({ _id }) => _id), last: lastOf(rows) };
}

export interface OldLeaver {
  readonly key: LeaverKey;
  readonly seq: Seq;
}

/** The oldest leavers from before a time, in ms since 1970. */
export async function readLeaversBefore(log: Log, timeMs: number, max: number): Promise<OldLeaver[]> {
  const rows = await log.entries
    .find(
      { at: { $lt: new Date(timeMs) } },
      { readConcern: "majority", projection: { seq: 1 }, batchSize: max + 1 },
    )
    .sort({ at: 1 })
    .limit(max)
    .toArray();
  return rows.map(({ _id, seq }) => {
    invariant("f" in _id, "only leavers have a time");
    return { key: _id, seq: Number(seq) };
  });
}

const options = { readConcern: "majority", projection: { _id: 1 } } as const;

function lastOf(rows: ReadonlyArray<{ readonly _id: RecordKey }>): KeyPage["last"] {
  const last = rows.at(-1);
  return last && { key: last._id.k };
}

/** Whatever is stored by the keys of one collection's records. */
export function inCollection(collection: string): Document {
  return inRange({ collection, after: undefined });
}

/** Compared as whole documents `{c, k}` or `{c, k, f}`, so that keys of all BSON types come, in their order. */
function inRange({ collection, after }: Omit<KeyRange, "max">): Document {
  const from = after
    ? { $gt: { c: collection, k: after.key, f: new MaxKey() } }
    : { $gte: { c: collection, k: new MinKey() } };
  return { _id: { ...from, $lt: { c: collection, k: new MaxKey() } } };
}
