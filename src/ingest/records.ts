// Records as the loop handles them: what is wanted, read side by side from the source (at one time) and from the log,
// matched by exact key, encoded. A document that can't be encoded is a state like any other: ingest never stops for it.
import type { Timestamp } from "mongodb";
import type { RecordKey } from "../log/entry.ts";
import { readGrantsOf } from "../log/grants.ts";
import type { Log } from "../log/log.ts";
import { readQuarantined } from "../log/quarantine.ts";
import { readMainEntriesAtOnce } from "../log/read.ts";
import type { LogState } from "../log/state.ts";
import { invariant } from "../model/invariant.ts";
import type { Logger } from "../model/logger.ts";
import type { Collection } from "../schema/collection.ts";
import { encodeDocument } from "../schema/encode-document.ts";
import { UnfitDocument } from "../schema/unfit-document.ts";
import { later } from "./cluster-time.ts";
import type { DraftedRecord } from "./draft.ts";
import { isOddKey, ODD_KEY_FAULT, type SourceDocument } from "./raw-document.ts";
import type { LoggedRecord, RecordState } from "./record-change.ts";
import { keyText } from "./record-key.ts";
import type { SourceReader } from "./source-reader.ts";

export interface RecordReader {
  /** What the source and the log have of these records, those of odd keys taken to be there; undefined: too much for one reply, ask for fewer. */
  read(keys: readonly RecordKey[], at: Timestamp): Promise<ReadRecords | undefined>;
  /** The same for documents already read. */
  readLogged(
    collection: Collection,
    documents: readonly SourceDocument[],
  ): Promise<DraftedRecord[] | undefined>;
  /** The same for records known to be absent. */
  readAbsent(keys: readonly RecordKey[]): Promise<DraftedRecord[] | undefined>;
}

export interface ReadRecords {
  /** In the order of the keys. */
  readonly records: readonly DraftedRecord[];
  /** The latest time any of them was read at. */
  readonly at: Timestamp;
}

export interface RecordReaderOptions {
  readonly log: Log;
  readonly source: SourceReader;
  readonly collections: ReadonlyMap<string, Collection>;
  readonly logger: Logger;
  /** Whether any record may be in quarantine: spares a look-up in every cycle. */
  readonly mayBeQuarantined: () => boolean;
  readonly state: () => LogState;
  /** What an append on its way makes of a record. */
  readonly written: (text: string) => LoggedRecord | undefined;
}

export function createRecordReader(options: RecordReaderOptions): RecordReader {
  return {
    async read(keys, at) {
      const [found, logged] = await Promise.all([findAll(options, keys, at), readLog(options, keys)]);
      if (!found || !logged) return undefined;
      return { records: drafted(keys, found.states, logged), at: found.at };
    },
    async readLogged(collection, documents) {
      const states = new Map<string, RecordState>();
      const keys = documents.map(({ key }) => ({ c: collection.name, k: key }));
      for (const document of documents) {
        states.set(recordText(collection.name, document.key), stateOf(options, collection, document));
      }
      const logged = await readLog(options, keys);
      return logged && drafted(keys, states, logged);
    },
    async readAbsent(keys) {
      const logged = await readLog(options, keys);
      return logged && drafted(keys, new Map(), logged);
    },
  };
}

/** Reads the first of these with `read`: all, or, as long as they are too much for one reply, half of them. */
export async function readFitting<K, T>(
  keys: readonly K[],
  read: (some: readonly K[]) => Promise<T | undefined>,
): Promise<{ some: readonly K[]; read: T }> {
  for (let some = keys; ; some = some.slice(0, some.length >> 1)) {
    const result = await read(some);
    if (result) return { some, read: result };
    invariant(some.length > 1, "one record fits into one reply");
  }
}

/** Equal text exactly where `_id`s of the log are equal. */
export function recordText(collection: string, key: unknown): string {
  return `${collection}/${keyText(key)}`;
}

export const ABSENT: RecordState = { kind: "absent" };
const ODD: RecordState = { kind: "unfit", reason: ODD_KEY_FAULT };
const NOT_LOGGED: LoggedRecord = { main: undefined, grant: undefined, quarantined: false };

type States = ReadonlyMap<string, RecordState>;
type LoggedRecords = (text: string) => LoggedRecord;

function drafted(keys: readonly RecordKey[], states: States, logged: LoggedRecords): DraftedRecord[] {
  return keys.map((key) => {
    const text = recordText(key.c, key.k);
    return { key, text, state: states.get(text) ?? ABSENT, logged: logged(text) };
  });
}

async function findAll(
  options: RecordReaderOptions,
  keys: readonly RecordKey[],
  at: Timestamp,
): Promise<{ states: States; at: Timestamp } | undefined> {
  const byCollection = Map.groupBy(keys, ({ c }) => c);
  const finds = [...byCollection].map(async ([name, some]) => {
    const read = await options.source.byKeys(
      name,
      some.map(({ k }) => k),
      at,
    );
    return { name, read };
  });
  const odd = keys.filter(({ k }) => isOddKey(k));
  const states = new Map(odd.map(({ c, k }): [string, RecordState] => [recordText(c, k), ODD]));
  let latest = at;
  for (const { name, read } of await Promise.all(finds)) {
    if (!read.whole) return undefined;
    latest = later(read.at, latest);
    const collection = options.collections.get(name);
    if (!collection) continue;
    for (const document of read.documents) {
      states.set(recordText(name, document.key), stateOf(options, collection, document));
    }
  }
  return { states, at: latest };
}

function stateOf(
  { logger }: RecordReaderOptions,
  collection: Collection,
  source: SourceDocument,
): RecordState {
  if (isOddKey(source.key)) return ODD;
  if ("fault" in source) return { kind: "unfit", reason: source.fault };
  try {
    return { kind: "record", encoded: encodeDocument(collection, source.document) };
  } catch (error) {
    if (error instanceof UnfitDocument) return { kind: "unfit", reason: error.reason };
    logger.error({ err: error, collection: collection.name }, "the codec failed on a document");
    return { kind: "unfit", reason: "the codec failed on it; the server's log says how" };
  }
}

async function readLog(
  { log, collections, mayBeQuarantined, state, written }: RecordReaderOptions,
  keys: readonly RecordKey[],
): Promise<LoggedRecords | undefined> {
  // While a collection loads, grants of a rule that it no longer has may be left.
  const loading = new Set(
    state()
      .collections.filter(({ load }) => load)
      .map(({ name }) => name),
  );
  const grantKeys = keys.filter(({ c }) => loading.has(c) || collections.get(c)?.grant);
  const [mains, grants, quarantined] = await Promise.all([
    readMainEntriesAtOnce(log, keys),
    grantKeys.length ? readGrantsOf(log, grantKeys) : [],
    mayBeQuarantined() ? readQuarantined(log, keys) : [],
  ]);
  if (!mains) return undefined;
  const logged = new Map<string, LoggedRecord>();
  const add = ({ c, k }: RecordKey, part: Partial<LoggedRecord>) => {
    const text = recordText(c, k);
    logged.set(text, { ...NOT_LOGGED, ...logged.get(text), ...part });
  };
  for (const main of mains) add(main.key, { main });
  for (const grant of grants) add(grant.key, { grant });
  for (const key of quarantined) add(key, { quarantined: true });
  return (text) => written(text) ?? logged.get(text) ?? NOT_LOGGED;
}
