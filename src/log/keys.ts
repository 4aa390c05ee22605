// Which records the log knows anything of, in `_id` order, and which leavers are old: for loads and upkeep.
// Majority reads, a bounded page at a time.
import { type Document, type Filter, MaxKey, MinKey } from "mongodb";
import { invariant } from "../model/invariant.ts";
import type { Seq } from "../model/seq.ts";
import type { EntryDocument, LeaverKey, RecordKey } from "./entry.ts";
import type { Log } from "./log.ts";

export interface KeyPage {
  readonly collection: string;
  /** Later ones are read; undefined: from the first. */
  readonly after: { readonly key: unknown } | undefined;
  readonly max: number;
}

/** Records with a main entry that the load of this number has not met. */
export async function readUnmetKeys(log: Log, page: KeyPage, load: number): Promise<RecordKey[]> {
  const unmet: Filter<EntryDocument> = { load: { $exists: true, $ne: load } };
  const rows = await log.entries
    .find({ ...inPage(page), ...unmet }, options)
    .sort({ _id: 1 })
    .limit(page.max)
    .toArray();
  return rows.map(({ _id }) => _id);
}

/** Membership records with a grant. */
export async function readGrantKeys(log: Log, page: KeyPage): Promise<RecordKey[]> {
  const rows = await log.grants.find(inPage(page), options).sort({ _id: 1 }).limit(page.max).toArray();
  return rows.map(({ _id }) => _id);
}

export async function readQuarantineKeys(log: Log, page: KeyPage): Promise<RecordKey[]> {
  const rows = await log.quarantine.find(inPage(page), options).sort({ _id: 1 }).limit(page.max).toArray();
  return rows.map(({ _id }) => _id);
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

/** Compared as whole documents `{c, k}`, so that keys of all BSON types come, in their order. */
function inPage({ collection, after }: KeyPage): Document {
  const from = after
    ? { $gt: { c: collection, k: after.key } }
    : { $gte: { c: collection, k: new MinKey() } };
  return { _id: { ...from, $lt: { c: collection, k: new MaxKey() } } };
}
