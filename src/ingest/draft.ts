// A draft of one append: the changes of many records, in order, with dense seqs from the log's head on.
import type { Append } from "../log/append.ts";
import type { Entry, LeaverKey, RecordKey } from "../log/entry.ts";
import type { Grant } from "../log/grants.ts";
import type { Quarantined } from "../log/quarantine.ts";
import type { Seq } from "../model/seq.ts";
import {
  changeOf,
  type LoggedRecord,
  type RecordChange,
  type RecordState,
  type Writing,
} from "./record-change.ts";

export interface DraftedRecord {
  readonly key: RecordKey;
  /** The key as text (see record-key.ts). */
  readonly text: string;
  readonly logged: LoggedRecord;
  readonly state: RecordState;
}

export interface Draft {
  /** Records that stay as they are are stamped for one collection: a draft of a load holds no other. */
  add(record: DraftedRecord, writing: Writing): void;
  /** As much as one append should hold. */
  readonly full: boolean;
  readonly empty: boolean;
  readonly quarantines: boolean;
  readonly head: Seq;
  /** What the log has of the records afterwards, by their texts. */
  readonly written: ReadonlyMap<string, LoggedRecord>;
  /** What the append writes. */
  contents(): Omit<Append, "base" | "state">;
}

export interface DraftLimits {
  readonly recordsMax: number;
  readonly bytesMax: number;
}

/** Leavers a single record may add are bounded by its scopes; this bounds those of many records. */
const ENTRIES_PER_RECORD_MAX = 4;

export function createDraft(head: Seq, { recordsMax, bytesMax }: DraftLimits): Draft {
  const entries: Entry[] = [];
  const created = new Set<Entry>();
  const drops: Array<RecordKey | LeaverKey> = [];
  const stamped: RecordKey[] = [];
  let stamps: Append["stamps"];
  const grants: Grant[] = [];
  const grantDrops: RecordKey[] = [];
  const quarantine: Quarantined[] = [];
  const quarantineDrops: RecordKey[] = [];
  const written = new Map<string, LoggedRecord>();
  let bytes = 0;
  return {
    written,
    add({ key, text, logged, state }, writing) {
      const change = changeOf({ key, logged, state, seq: head + entries.length + 1 }, writing);
      written.set(text, afterwards(logged, change, writing));
      for (const entry of change.entries) {
        entries.push(entry);
        if (entry.kind === "main") bytes += entry.record.length;
      }
      if (change.created) created.add(change.created);
      drops.push(...change.drops);
      if (change.stamped) {
        stamped.push(key);
        stamps ??= { load: writing.load ?? 0, schema: writing.generation, keys: stamped };
      }
      if (change.grant === "dropped") grantDrops.push(key);
      else if (change.grant) grants.push(change.grant);
      if (change.quarantine === "healed") quarantineDrops.push(key);
      else if (change.quarantine) quarantine.push(change.quarantine);
    },
    get full() {
      return (
        written.size >= recordsMax ||
        bytes >= bytesMax ||
        entries.length >= ENTRIES_PER_RECORD_MAX * recordsMax
      );
    },
    get empty() {
      const lists = [entries, drops, stamped, grants, grantDrops, quarantine, quarantineDrops];
      return lists.every((list) => list.length === 0);
    },
    get quarantines() {
      return quarantine.length + quarantineDrops.length > 0;
    },
    get head() {
      return head + entries.length;
    },
    contents: () => ({
      entries,
      created,
      drops,
      ...(stamps && { stamps }),
      grants,
      grantDrops,
      quarantine,
      quarantineDrops,
    }),
  };
}

function afterwards(
  logged: LoggedRecord,
  change: RecordChange,
  { load = 0, generation }: Writing,
): LoggedRecord {
  const last = change.entries.at(-1);
  const kept = change.stamped && logged.main ? { ...logged.main, load, schema: generation } : logged.main;
  return {
    main: last?.kind === "main" ? last : change.departed ? undefined : kept,
    grant: change.grant === "dropped" ? undefined : (change.grant ?? logged.grant),
    quarantined: change.quarantine === undefined ? logged.quarantined : change.quarantine !== "healed",
  };
}
