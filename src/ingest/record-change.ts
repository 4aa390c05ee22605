// What a record's new state changes in the log, as a pure function: entries with their seqs, drops, grant, quarantine.
// One entry per feed left, then the main entry, so that each has a seq of its own and the main entry the highest.
import type { Entry, LeaveReason, LeaverEntry, LeaverKey, MainEntry, RecordKey } from "../log/entry.ts";
import type { Grant } from "../log/grants.ts";
import type { Quarantined } from "../log/quarantine.ts";
import { type Feed, feedOf } from "../model/feed.ts";
import type { Seq } from "../model/seq.ts";
import type { Collection } from "../schema/collection.ts";
import { changedFields } from "../schema/delta.ts";
import type { EncodedRecord } from "../schema/encode-document.ts";
import { isBeyondJson } from "../schema/json-limits.ts";

/** What the source has of a record. Unfit: a document its collection's message can't hold. */
export type RecordState =
  | { readonly kind: "record"; readonly encoded: EncodedRecord }
  | { readonly kind: "unfit"; readonly reason: string }
  | { readonly kind: "absent" };

/** What the log has of it. */
export interface LoggedRecord {
  readonly main: MainEntry | undefined;
  readonly grant: Grant | undefined;
  readonly quarantined: boolean;
}

/** How entries of the collection are written at present. */
export interface Writing {
  /** Undefined: the schema no longer has the collection; then every record is absent. */
  readonly collection: Collection | undefined;
  readonly generation: number;
  readonly oldestReadable: number;
  /** The load under way, and whether it is the load itself that meets the record now. */
  readonly load: number | undefined;
  readonly loading: boolean;
  /** The time of the change, in ms since 1970. */
  readonly atMs: number;
}

export interface RecordChange {
  readonly entries: readonly Entry[];
  /** The main entry among `entries`, if it replaces none. */
  readonly created: Entry | undefined;
  readonly drops: ReadonlyArray<RecordKey | LeaverKey>;
  /** The main entry is dropped. */
  readonly departed: boolean;
  /** The main entry stays as it is, but must say that the load has met it. */
  readonly stamped: boolean;
  readonly grant: Grant | "dropped" | undefined;
  readonly quarantine: Quarantined | "healed" | undefined;
}

export interface RecordStep {
  readonly key: RecordKey;
  readonly logged: LoggedRecord;
  readonly state: RecordState;
  /** The first seq that is free. */
  readonly seq: Seq;
}

/** An entry must fit into MongoDB's 16 MiB, feeds and marks included. */
const ENTRY_BYTES_MAX = 16_000_000;
const BYTES_PER_FEED = 16;
const BYTES_PER_MARK = 24;

export function changeOf(step: RecordStep, writing: Writing): RecordChange {
  const { key, logged } = step;
  const state = fitting(step.state, writing);
  const grant = grantChange(key, logged.grant, state);
  if (state.kind === "record") {
    const feeds = feedsOf(writing, state.encoded);
    const quarantine = logged.quarantined ? "healed" : undefined;
    return { ...entriesOf({ ...step, feeds, encoded: state.encoded }, writing), grant, quarantine };
  }
  const quarantine = quarantineChange(step, state, writing);
  return { ...departed(step, "DELETED", writing), grant, quarantine };
}

function fitting(state: RecordState, writing: Writing): RecordState {
  if (state.kind !== "record") return state;
  const { bytes, scopes } = state.encoded;
  const feedBytes = scopes.reduce((sum, scope) => sum + 3 * scope.length + BYTES_PER_FEED, 0);
  const markBytes = (writing.collection?.fields.length ?? 0) * BYTES_PER_MARK;
  if (bytes.length + feedBytes + markBytes <= ENTRY_BYTES_MAX) return state;
  return {
    kind: "unfit",
    reason: `the record and the names of its scopes are over ${ENTRY_BYTES_MAX} bytes`,
  };
}

function feedsOf({ collection }: Writing, { scopes }: EncodedRecord): Feed[] {
  return collection ? scopes.map((scope) => feedOf(collection.name, scope)) : [];
}

interface Present extends RecordStep {
  readonly feeds: readonly Feed[];
  readonly encoded: EncodedRecord;
}

type EntryChange = Pick<RecordChange, "entries" | "created" | "drops" | "departed" | "stamped">;

function entriesOf(step: Present, writing: Writing): EntryChange {
  const { feeds, logged } = step;
  if (feeds.length === 0) return departed(step, "LEFT_SCOPE", writing);
  return logged.main ? replaced(step, logged.main, writing) : entered(step, writing);
}

function entered({ key, seq, feeds, encoded }: Present, writing: Writing): EntryChange {
  const main = mainEntry({ key, feeds, encoded, seq, since: seq, marks: NO_MARKS }, writing);
  return { ...UNCHANGED, entries: [main], created: main, drops: feeds.map((f) => leaverKey(key, f)) };
}

function replaced(step: Present, old: MainEntry, writing: Writing): EntryChange {
  const { key, feeds, encoded } = step;
  const joined = feeds.filter((feed) => !old.feeds.includes(feed));
  const left = old.feeds.filter((feed) => !feeds.includes(feed));
  const changed = differing(old, encoded, writing);
  // A reader passed over a withheld entry: unless it gets a new seq, nobody who did would ever see it.
  const withheld = old.schema < writing.oldestReadable;
  if (joined.length + left.length + changed.length === 0 && !withheld) {
    const met = old.load === writing.load && old.schema === writing.generation;
    return { ...UNCHANGED, stamped: writing.loading && !met };
  }
  const leavers = leaversOf(step, left, { recordId: old.recordId, reason: "LEFT_SCOPE", writing });
  const seq = step.seq + leavers.length;
  const fresh = joined.length > 0 || (changed.length > 0 && shrank(old, encoded, writing));
  const marks = fresh
    ? NO_MARKS
    : new Map([...old.marks, ...changed.map((field): [number, Seq] => [field, seq])]);
  const main = mainEntry({ key, feeds, encoded, seq, since: fresh ? seq : old.since, marks }, writing, old);
  return { ...UNCHANGED, entries: [...leavers, main], drops: joined.map((f) => leaverKey(key, f)) };
}

/** Clients of the JSON form were told to drop what was too large for it: a delta would find nothing there. */
function shrank(old: MainEntry, { bytes }: EncodedRecord, { collection }: Writing): boolean {
  if (collection === undefined) return false;
  return isBeyondJson(collection, old.record) && !isBeyondJson(collection, bytes);
}

function differing(old: MainEntry, { bytes }: EncodedRecord, { collection }: Writing): number[] {
  return collection && Buffer.compare(old.record, bytes) !== 0
    ? changedFields(collection, old.record, bytes)
    : [];
}

const NO_MARKS: ReadonlyMap<number, Seq> = new Map();
const UNCHANGED: EntryChange = {
  entries: [],
  created: undefined,
  drops: [],
  departed: false,
  stamped: false,
};

interface NewMain {
  readonly key: RecordKey;
  readonly feeds: readonly Feed[];
  readonly encoded: EncodedRecord;
  readonly seq: Seq;
  readonly since: Seq;
  readonly marks: ReadonlyMap<number, Seq>;
}

function mainEntry({ encoded, ...main }: NewMain, writing: Writing, old?: MainEntry): MainEntry {
  const { recordId, bytes: record } = encoded;
  return {
    kind: "main",
    ...main,
    recordId,
    record,
    schema: writing.generation,
    load: writing.load ?? old?.load ?? 0,
  };
}

/** The record leaves all its feeds. */
function departed(step: RecordStep, reason: LeaveReason, writing: Writing): EntryChange {
  const { main } = step.logged;
  if (!main) return UNCHANGED;
  const entries = leaversOf(step, main.feeds, { recordId: main.recordId, reason, writing });
  return { ...UNCHANGED, entries, drops: [step.key], departed: true };
}

function leaversOf(
  { key, seq }: RecordStep,
  feeds: readonly Feed[],
  { recordId, reason, writing }: { recordId: string; reason: LeaveReason; writing: Writing },
): LeaverEntry[] {
  const { atMs, generation: schema } = writing;
  return feeds.map((feed, index) => {
    return { kind: "leaver", key: leaverKey(key, feed), recordId, seq: seq + index, reason, atMs, schema };
  });
}

function leaverKey({ c, k }: RecordKey, f: Feed): LeaverKey {
  return { c, k, f };
}

function grantChange(key: RecordKey, old: Grant | undefined, state: RecordState): RecordChange["grant"] {
  const membership = state.kind === "record" ? state.encoded.membership : undefined;
  if (!membership) return old ? "dropped" : undefined;
  const { principal, scope, access } = membership;
  const same = old?.principal === principal && old.scope === scope && old.access === access;
  return same ? undefined : { key, principal, scope, access };
}

function quarantineChange(
  { key, logged }: RecordStep,
  state: Exclude<RecordState, { kind: "record" }>,
  { atMs }: Writing,
): RecordChange["quarantine"] {
  if (state.kind === "unfit") return { key, reason: state.reason, atMs };
  return logged.quarantined ? "healed" : undefined;
}
