// A record's story, for `tidemark why`: what the log has of it, what its document is, and the mutations that made it so.
// Read from the database as a service would be told it; hidden fields are not in it. Nothing is written.
import type { MongoClient } from "mongodb";
import type { Config } from "../config.ts";
import { ledgerIn } from "../ledger/ledger.ts";
import { countReceipts } from "../ledger/read-receipts.ts";
import { type Log, logIn } from "../log/log.ts";
import { type RecordTrace, readRecordTrace } from "../log/record-trace.ts";
import { commitClockMs, commitClockOf } from "../model/commit-clock.ts";
import { feedOf } from "../model/feed.ts";
import type { LedgerEntry } from "../model/ledger-entry.ts";
import type { Principal } from "../model/principal.ts";
import type { Seq } from "../model/seq.ts";
import { snapshotSession } from "../mongo/snapshot.ts";
import { type Found, readDocuments, type Source, type SourceKey } from "../mongo/source-document.ts";
import { createPastReceipts } from "../push/past-receipts.ts";
import { sourceReadOptions } from "../schema/bson-value.ts";
import type { Collection } from "../schema/collection.ts";
import { encodeDocument } from "../schema/encode-document.ts";
import { keyOf, recordIdOf } from "../schema/record-id.ts";
import type { Schema } from "../schema/schema.ts";
import { UnfitDocument } from "../schema/unfit-document.ts";

export interface LoggedNow {
  readonly version: Seq;
  readonly since: Seq;
  readonly feeds: readonly string[];
  /** Fields changed since then, and the version that last did, the latest first. */
  readonly marks: readonly { readonly field: string; readonly version: Seq }[];
}

export interface Left {
  readonly feed: string;
  readonly reason: "DELETED" | "LEFT_SCOPE";
  readonly version: Seq;
  readonly atMs: number;
}

/** In which way a document is there; `reason`: why it is no record. */
export type DocumentNow = "absent" | "record" | { readonly reason: string };

export interface RecordStory {
  readonly collection: Collection;
  /** Canonical. */
  readonly recordId: string;
  /** Undefined: the log has no such record. */
  readonly logged: LoggedNow | undefined;
  readonly left: readonly Left[];
  readonly quarantined: { readonly reason: string; readonly atMs: number } | undefined;
  readonly document: DocumentNow;
  /** The log has the document as it is. */
  readonly isInStep: boolean;
  /** The log is still reading the collection. */
  readonly isLoading: boolean;
  /** Up to when the log has followed the database, in ms since 1970; undefined: it hasn't begun. */
  readonly logAtMs: number | undefined;
  /** The oldest first. */
  readonly mutations: readonly LedgerEntry[];
  /** Mutations before those; `OLDER_MAX`: so many or more. */
  readonly older: number;
}

export interface StoryOptions {
  readonly client: MongoClient;
  readonly config: Pick<Config, "mongodbDb" | "tidemarkDb">;
  readonly schema: Schema;
  /** Of the schema. */
  readonly collection: Collection;
  readonly recordId: string;
  /** Mutations told, at most. */
  readonly limit: number;
  /** Obeyed between reads. */
  readonly signal: AbortSignal;
}

export const OLDER_MAX = 100_000;

/** The principal as whom past receipts are read: no token names it. */
const READER: Principal = {
  id: "tidemark why",
  claimGrants: new Map(),
  device: "",
  isService: true,
  expiresAtMs: undefined,
};
const PAGE_SIZE = 500;

/** @throws Error in one sentence where the id can't be one, or no server has ever run on these databases. */
export async function readRecordStory(options: StoryOptions): Promise<RecordStory> {
  const { client, config, collection } = options;
  const log = logIn(client, config.tidemarkDb);
  await refuseForeignLog(log, config);
  const key = keyOf(collection, options.recordId);
  const recordId = key === undefined ? undefined : recordIdOf(collection, key);
  if (key === undefined || recordId === undefined) {
    throw new Error(`no record of ${collection.name} can have the id "${options.recordId}"`);
  }
  const now = await readNow(options, log, { key: key as SourceKey, recordId });
  return { collection, recordId, ...now, ...(await readMutations(options, log, recordId)) };
}

async function refuseForeignLog({ states }: Log, { mongodbDb, tidemarkDb }: StoryOptions["config"]) {
  const state = await states.findOne({ _id: "log" }, { readConcern: "majority", projection: { source: 1 } });
  if (state === null) {
    throw new Error(
      `the database ${tidemarkDb} (TIDEMARK_DB) holds no change log: has a server run with these settings?`,
    );
  }
  if (state.source !== "" && state.source !== mongodbDb) {
    throw new Error(
      `the change log in ${tidemarkDb} (TIDEMARK_DB) is of the database ${state.source}, not of ${mongodbDb}`,
    );
  }
}

interface RecordKeys {
  readonly key: SourceKey;
  readonly recordId: string;
}

/** Log and document at one instant, so that one isn't blamed for what the other did meanwhile. */
async function readNow({ client, config, collection }: StoryOptions, log: Log, keys: RecordKeys) {
  const { key, recordId } = keys;
  const source: Source = { client, databaseName: config.mongodbDb, readOptions: sourceReadOptions };
  const session = snapshotSession(client);
  try {
    const trace = await readRecordTrace(log, { c: collection.name, k: key }, session);
    const idOf = (id: unknown) => recordIdOf(collection, id);
    const wanted = new Map([[recordId, key]]);
    const found = await readDocuments(source, { collection: collection.name, wanted, idOf }, session);
    const { document, isInStep } = compare(collection, trace, found.get(recordId));
    const { clock, collections } = trace.state;
    return {
      logged: trace.main && loggedNow(collection, trace.main),
      left: trace.leavers.map(({ key: { f: feed }, reason, seq: version, atMs }) => ({
        feed,
        reason,
        version,
        atMs,
      })),
      quarantined: trace.quarantined,
      document,
      isInStep,
      isLoading: collections.some(({ name, load }) => name === collection.name && load !== undefined),
      logAtMs: clock && commitClockMs(commitClockOf({ t: clock.t, i: clock.i })),
    };
  } finally {
    await session.endSession();
  }
}

function loggedNow(
  { fieldsByNumber }: Collection,
  { seq, since, feeds, marks }: NonNullable<RecordTrace["main"]>,
): LoggedNow {
  const known = [...marks].flatMap(([number, version]) => {
    const field = fieldsByNumber.get(number);
    return field && field.access !== "HIDDEN" ? [{ field: field.name, version }] : [];
  });
  return { version: seq, since, feeds, marks: known.sort((a, b) => b.version - a.version) };
}

function compare(
  collection: Collection,
  { main, quarantined }: RecordTrace,
  found: Found,
): { document: DocumentNow; isInStep: boolean } {
  if (found === undefined) return { document: "absent", isInStep: !main && !quarantined };
  const unfit = (reason: string) => ({ document: { reason }, isInStep: quarantined !== undefined });
  if (found === "unreadable") return unfit("it can't be decoded");
  try {
    const { bytes, scopes } = encodeDocument(collection, found);
    const feeds = scopes.map((scope) => feedOf(collection.name, scope));
    const isInStep =
      main !== undefined &&
      Buffer.compare(main.record, bytes) === 0 &&
      main.feeds.length === feeds.length &&
      feeds.every((feed) => main.feeds.includes(feed));
    return { document: "record", isInStep };
  } catch (error) {
    if (error instanceof UnfitDocument) return unfit(error.reason);
    throw error;
  }
}

async function readMutations(
  { client, config, schema, collection, limit, signal }: StoryOptions,
  log: Log,
  recordId: string,
): Promise<Pick<RecordStory, "mutations" | "older">> {
  const ledger = ledgerIn(client, config.tidemarkDb);
  const past = createPastReceipts({ client, sourceDb: config.mongodbDb, log, ledger, schema });
  const record = { collection: collection.name, recordId };
  const request = { principal: "", device: "", record, outcomes: [], recordForm: "JSON" } as const;
  const latestFirst: LedgerEntry[] = [];
  let pageToken = "";
  do {
    const pageSize = Math.min(PAGE_SIZE, limit - latestFirst.length);
    const page = await past.listReceipts(READER, { ...request, pageSize, pageToken }, signal);
    signal.throwIfAborted();
    latestFirst.push(...page.entries);
    pageToken = page.nextPageToken;
  } while (pageToken !== "" && latestFirst.length < limit);
  const older = pageToken === "" ? 0 : (await countReceipts(ledger, record, OLDER_MAX)) - latestFirst.length;
  return { mutations: latestFirst.reverse(), older: Math.max(0, older) };
}
