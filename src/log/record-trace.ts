// All that the log knows of one record, as of the session's snapshot: for explaining it to a person.
import { type ClientSession, type Document, MaxKey } from "mongodb";
import { entryOf, type LeaverEntry, type MainEntry, type RecordKey } from "./entry.ts";
import { type Log, readState } from "./log.ts";
import type { Quarantined } from "./quarantine.ts";
import type { LogState } from "./state.ts";

export interface RecordTrace {
  readonly state: LogState;
  readonly main: MainEntry | undefined;
  /** The latest first. */
  readonly leavers: readonly LeaverEntry[];
  readonly quarantined: Quarantined | undefined;
}

/** A record has a leaver per feed it was in. */
const LEAVERS_MAX = 1_000;

export async function readRecordTrace(
  log: Log,
  key: RecordKey,
  session: ClientSession,
): Promise<RecordTrace> {
  const state = await readState(log, session);
  const { c, k } = key;
  // As whole documents a main entry's key comes right before those of its leavers.
  const range: Document = { _id: { $gte: { c, k }, $lt: { c, k, f: new MaxKey() } } };
  const rows = await log.entries.find(range, { session }).limit(LEAVERS_MAX).toArray();
  const entries = rows.map(entryOf);
  const quarantined = await log.quarantine.findOne({ _id: { c, k } }, { session });
  return {
    state,
    main: entries.find((entry) => entry.kind === "main"),
    leavers: entries.filter((entry) => entry.kind === "leaver").sort((a, b) => b.seq - a.seq),
    quarantined: quarantined
      ? { key, reason: quarantined.reason, atMs: quarantined.at.getTime() }
      : undefined,
  };
}
