// Loads: a collection is walked in `_id` order at exactly the log's position, a page at a time between steps of the
// tail, and survives a crash after any page. Absence from the walk proves nothing: what it has not met is looked up
// again, and is gone only when the stream has passed that look-up without telling of the collection being replaced,
// since a dropped collection reads empty without error.
import type { Timestamp } from "mongodb";
import type { RecordKey } from "../log/entry.ts";
import {
  type KeyPage,
  type KeyRange,
  readGrantKeys,
  readQuarantineKeys,
  readUnmetKeys,
} from "../log/keys.ts";
import type { Log } from "../log/log.ts";
import { type CollectionState, collectionState, type LoadProgress, type LoadReason } from "../log/state.ts";
import type { Collection } from "../schema/collection.ts";
import type { Schema } from "../schema/schema.ts";
import { later } from "./cluster-time.ts";
import type { DraftedRecord } from "./draft.ts";
import type { LogWriter } from "./log-writer.ts";
import { type RecordReader, readFitting, recordText } from "./records.ts";
import type { IngestSettings } from "./settings.ts";
import type { SourceReader } from "./source-reader.ts";
import { writingOf } from "./writing.ts";

export interface LoadOptions {
  readonly log: Log;
  readonly schema: Schema;
  readonly writer: LogWriter;
  readonly source: SourceReader;
  readonly records: RecordReader;
  readonly settings: IngestSettings;
  /** A cluster time not before any read of loads that went on before this node led. */
  readonly lookedUpAt: Timestamp;
}

export interface Load {
  /** Some collection is loading. */
  readonly active: boolean;
  /** The tail has written these records: whatever a look-up found of them is outdated. */
  meet(keys: readonly RecordKey[]): void;
  /** The states with which these collections' loads begin anew, to be committed by the caller. */
  restart(names: readonly string[], reason: LoadReason): Map<string, CollectionState>;
  /** Loads a page. False: nothing can be done until the tail has moved on. */
  step(): Promise<boolean>;
}

/** Records that were looked up and not found. */
interface Missing {
  readonly name: string;
  readonly keys: Map<string, RecordKey>;
  /** The load's progress once they are forgotten. */
  readonly done: LoadProgress;
}

interface Loading extends LoadOptions {
  missing: Missing | undefined;
  /** By then, in cluster time, all look-ups so far had happened. */
  lookedUp: Timestamp;
}

export function createLoad(options: LoadOptions): Load {
  const { writer } = options;
  const loading: Loading = { ...options, missing: undefined, lookedUp: options.lookedUpAt };
  return {
    get active() {
      return writer.state.collections.some(({ load }) => load);
    },
    meet(keys) {
      for (const { c, k } of loading.missing ? keys : []) loading.missing?.keys.delete(recordText(c, k));
    },
    restart(names, reason) {
      if (loading.missing && names.includes(loading.missing.name)) loading.missing = undefined;
      const states = names.flatMap((name) => collectionState(writer.state, name) ?? []);
      return new Map(states.map((state) => [state.name, { ...state, load: firstProgress(writer, reason) }]));
    },
    async step() {
      const next = nextLoad(options);
      if (!next) return false;
      const collection = options.schema.collections.get(next.name);
      if (collection && next.load.phase === "walk") return await walk(loading, next, collection);
      return await lookUp(loading, next, collection);
    },
  };
}

/** The revision about to be written is higher than the number of any load before. */
function firstProgress({ state }: LogWriter, reason: LoadReason): LoadProgress {
  return newProgress(state.revision + 1, reason);
}

export function newProgress(number: number, reason: LoadReason): LoadProgress {
  return { number, phase: reason === "removed" ? "entries" : "walk", last: undefined, done: 0, reason };
}

type LoadingState = CollectionState & { readonly load: LoadProgress };

/** Memberships first: until they are loaded, nobody holds what they grant, or still holds what they no longer do. */
function nextLoad({ writer, schema }: LoadOptions): LoadingState | undefined {
  const loading = writer.state.collections.filter((state): state is LoadingState => state.load !== undefined);
  return loading.find(({ name }) => schema.collections.get(name)?.grant) ?? loading[0];
}

async function walk(loading: Loading, next: LoadingState, collection: Collection): Promise<boolean> {
  const { writer, source, settings, records } = loading;
  const { load } = next;
  const page = await source.page(next.name, {
    after: load.last,
    documentsMax: settings.recordsMax,
    at: writer.floor,
  });
  const { some, read } = await readFitting(page.documents, (few) => records.readLogged(collection, few));
  const odd = (await records.readLogged(collection, page.odd)) ?? [];
  const done = load.done + some.length + odd.length;
  const whole = page.whole && some.length === page.documents.length;
  if (whole) loading.lookedUp = later(await source.now(), page.at);
  const progress: LoadProgress = whole
    ? { ...load, phase: "entries", last: undefined, done }
    : { ...load, last: { key: some.at(-1)?.key }, done };
  await write(loading, next, { drafted: [...odd, ...read], progress, readAt: page.at });
  return true;
}

interface Page {
  readonly drafted: readonly DraftedRecord[];
  readonly progress: LoadProgress;
  readonly readAt: Timestamp;
}

async function write({ writer, schema }: Loading, next: LoadingState, page: Page): Promise<void> {
  const { drafted, progress, readAt } = page;
  const writing = writingOf(writer.state, next.name, { schema, time: writer.position.time, loading: true });
  let draft = writer.draft();
  for (const record of drafted) {
    if (draft.full) {
      await writer.begin({ draft, readAt });
      draft = writer.draft();
    }
    draft.add(record, writing);
  }
  await writer.begin({ draft, readAt, collections: new Map([[next.name, { ...next, load: progress }]]) });
}

async function lookUp(
  loading: Loading,
  next: LoadingState,
  collection: Collection | undefined,
): Promise<boolean> {
  if (loading.missing?.name === next.name) return forgetMissing(loading, next, loading.missing);
  const { writer } = loading;
  // What is unmet is read from the log itself.
  await writer.flush();
  for (const phase of phasesFrom(next.load.phase)) {
    const after = phase === next.load.phase ? next.load.last : undefined;
    const range = { collection: next.name, after, max: loading.settings.recordsMax };
    const page = await readKeys(loading.log, range, { phase, load: next.load.number });
    if (!page.last) continue;
    const at = { ...next, load: { ...next.load, phase, last: after } };
    if (collection) await lookUpPage(loading, at, page);
    else await forgetPage(loading, at, page);
    return true;
  }
  if (collection && writer.position.time.lessThan(loading.lookedUp)) return false;
  const done = collection ? { ...next, load: undefined } : undefined;
  await writer.begin({ collections: new Map([[next.name, done]]) });
  return true;
}

type LookUpPhase = Exclude<LoadProgress["phase"], "walk">;
const lookUpPhases: readonly LookUpPhase[] = ["entries", "grants", "quarantine"];

function phasesFrom(phase: LoadProgress["phase"]): readonly LookUpPhase[] {
  return phase === "walk" ? lookUpPhases : lookUpPhases.slice(lookUpPhases.indexOf(phase));
}

function readKeys(
  log: Log,
  range: KeyRange,
  { phase, load }: { phase: LookUpPhase; load: number },
): Promise<KeyPage> {
  switch (phase) {
    case "entries":
      return readUnmetKeys(log, range, load);
    case "grants":
      return readGrantKeys(log, range);
    case "quarantine":
      return readQuarantineKeys(log, range);
  }
}

/** Writes what is there; what is not waits for the stream. */
async function lookUpPage(loading: Loading, next: LoadingState, page: KeyPage): Promise<void> {
  const { records, writer, source } = loading;
  const { some, read } = await readFitting(page.keys, (few) => records.read(few, writer.floor));
  const absent = read.records.filter(({ state }) => state.kind === "absent");
  const drafted = read.records.filter(({ state }) => state.kind !== "absent");
  const done = { ...next.load, last: lastOf(page, some) };
  if (absent.length > 0) {
    loading.missing = { name: next.name, keys: new Map(absent.map(({ key, text }) => [text, key])), done };
    loading.lookedUp = later(await source.now(), read.at);
    if (drafted.length === 0) return;
  }
  await write(loading, next, { drafted, progress: absent.length > 0 ? next.load : done, readAt: read.at });
}

/** Some may be fewer than the page's keys. */
function lastOf(page: KeyPage, some: readonly RecordKey[]): LoadProgress["last"] {
  return some.length === page.keys.length ? page.last : { key: some.at(-1)?.k };
}

/** What was not found is gone, now that the stream has told of nothing else. */
async function forgetMissing(
  loading: Loading,
  next: LoadingState,
  { keys, done }: Missing,
): Promise<boolean> {
  const { writer, records } = loading;
  if (writer.position.time.lessThan(loading.lookedUp)) return false;
  const { some, read } = await readFitting([...keys.values()], records.readAbsent);
  for (const { c, k } of some) keys.delete(recordText(c, k));
  const progress = keys.size > 0 ? next.load : done;
  if (keys.size === 0) loading.missing = undefined;
  await write(loading, next, { drafted: read, progress, readAt: writer.position.time });
  return true;
}

/** Of a collection the schema no longer has: nothing is looked up. */
async function forgetPage(loading: Loading, next: LoadingState, page: KeyPage): Promise<void> {
  const { some, read } = await readFitting(page.keys, loading.records.readAbsent);
  const progress = { ...next.load, last: lastOf(page, some) };
  await write(loading, next, { drafted: read, progress, readAt: loading.writer.position.time });
}
