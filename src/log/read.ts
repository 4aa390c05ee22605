// Reading the log: entries of some feeds after a position, in seq order, in the session's snapshot.
// Feeds are read in groups of at most 200 and merged: beyond that MongoDB's plan turns into a blocking sort. The feeds
// that are all of a collection are no entry's own: they are read along the log.
import type { ClientSession, Document, Filter, FindCursor } from "mongodb";
import { collectionOfFeed, type Feed, isWholeFeed } from "../model/feed.ts";
import type { Seq } from "../model/seq.ts";
import { findInOneReply } from "../mongo/one-reply.ts";
import { closeSnapshotCursor } from "../mongo/snapshot.ts";
import { type Entry, type EntryDocument, entryOf, type MainEntry, type RecordKey } from "./entry.ts";
import { type Log, readIn } from "./log.ts";
import { blockOf, blocksOf, type Pack, type PackBlock } from "./packs.ts";
import { rawEntryOf } from "./raw-entry.ts";

/** Feeds to read, all from the same seq on. */
export interface FeedRange {
  readonly feeds: readonly Feed[];
  /** Entries with a higher seq are read. */
  readonly after: Seq;
}

export interface ReadOptions {
  /** A snapshot session: state, grants and entries read in it belong together. */
  readonly session: ClientSession;
  /** Entries per round trip. */
  readonly batchSize?: number;
}

const FEEDS_PER_QUERY_MAX = 200;

/** Batches of entries in ascending seq, each entry once. Returning early closes the cursors. */
export async function* readEntries(
  log: Log,
  ranges: readonly FeedRange[],
  options: ReadOptions,
): AsyncGenerator<Entry[], void, undefined> {
  const cursors = ranges.flatMap(queriesOf).map((query) => entryCursor(log, query, options));
  try {
    const [only] = cursors;
    if (only && cursors.length === 1) yield* batchesOf(only);
    else if (cursors.length > 1) yield* mergeBySeq(cursors.map(batchesOf), options.batchSize ?? BATCH_SIZE);
  } finally {
    await Promise.all(cursors.map((cursor) => closeSnapshotCursor(log.client, cursor)));
  }
}

/** Every entry in (after, head] whatever its feed, in ascending seq: what the live hub follows. */
export async function* readAllEntries(
  log: Log,
  after: Seq,
  options: ReadOptions,
): AsyncGenerator<Entry[], void, undefined> {
  const cursor = log.entries
    .find({ seq: { $gt: after } }, { session: options.session, hint: { seq: 1 }, ...readOptions(options) })
    .sort({ seq: 1 });
  try {
    yield* batchesOf(cursor);
  } finally {
    await closeSnapshotCursor(log.client, cursor);
  }
}

/** The main entries that exist among these records, in no order. */
export async function readMainEntries(
  log: Log,
  keys: readonly RecordKey[],
  session?: ClientSession,
): Promise<MainEntry[]> {
  const documents = await log.entries
    .find(
      { _id: { $in: keys.map(({ c, k }) => ({ c, k })) } },
      { ...readIn(session), batchSize: keys.length + 1 },
    )
    .toArray();
  return documents.map(entryOf).filter((entry) => entry.kind === "main");
}

/** The same by majority in one reply; undefined if they don't fit into one: ask for fewer. */
export async function readMainEntriesAtOnce(
  log: Log,
  keys: readonly RecordKey[],
): Promise<MainEntry[] | undefined> {
  const find = { filter: { _id: { $in: keys } }, readConcern: { level: "majority" } };
  const query = { collection: log.entries.collectionName, find, documentsMax: keys.length };
  const { documents, whole } = await findInOneReply<EntryDocument>(log.db, query);
  return whole ? documents.map(entryOf).filter((entry) => entry.kind === "main") : undefined;
}

/** Ids of the records that have changed in a feed, or left it, after a seq; undefined: they are more than `max`. */
export async function readChangedIds(
  log: Log,
  { feed, after }: { readonly feed: Feed; readonly after: Seq },
  { session, max }: { readonly session: ClientSession; readonly max: number },
): Promise<Set<string> | undefined> {
  const rows = await log.entries
    .find(
      { feeds: feed, seq: { $gt: after } },
      { session, hint: { feeds: 1, seq: 1 }, projection: { _id: 0, id: 1 } },
    )
    .limit(max + 1)
    .toArray();
  return rows.length > max ? undefined : new Set(rows.map(({ id }) => id));
}

/** A pack's blocks, in order, from the one on that has records after a seq. Returning early closes the cursor. */
export async function* readPackBlocks(
  log: Log,
  { pack, after }: { readonly pack: Pack; readonly after: Seq },
  session: ClientSession,
): AsyncGenerator<PackBlock, void, undefined> {
  const cursor = log.packBlocks
    .find(blocksOf(pack, after), { session, batchSize: BLOCKS_PER_READ })
    .sort({ _id: 1 });
  try {
    for await (const document of cursor) yield blockOf(document);
  } finally {
    await closeSnapshotCursor(log.client, cursor);
  }
}

const BLOCKS_PER_READ = 8;

/** How many entries of these ranges there are, counting no further than `max`. */
export async function countEntries(
  log: Log,
  ranges: readonly FeedRange[],
  options: { readonly session: ClientSession; readonly max: number },
): Promise<number> {
  let count = 0;
  for (const { filter, hint } of ranges.flatMap(queriesOf)) {
    if (count >= options.max) return options.max;
    const stages = [{ $match: filter }, { $limit: options.max - count }, { $count: "n" }];
    const { session } = options;
    const [row] = await log.entries.aggregate<{ n: number }>(stages, { session, hint }).toArray();
    count += row?.n ?? 0;
  }
  return count;
}

const BATCH_SIZE = 2000;

function readOptions({ batchSize }: ReadOptions) {
  return { batchSize: batchSize ?? BATCH_SIZE, projection: { load: 0 }, raw: true } as const;
}

interface Query {
  readonly filter: Filter<EntryDocument>;
  readonly hint: Document;
}

function queriesOf({ feeds, after }: FeedRange): Query[] {
  const seq = { $gt: after };
  const whole = feeds.filter(isWholeFeed).map(collectionOfFeed);
  const groups = inGroups(
    feeds.filter((feed) => !isWholeFeed(feed)),
    FEEDS_PER_QUERY_MAX,
  );
  const queries: Query[] = groups.map((group) => ({
    filter: { feeds: { $in: group }, seq },
    hint: { feeds: 1, seq: 1 },
  }));
  if (whole.length > 0) queries.push({ filter: { seq, "_id.c": { $in: whole } }, hint: { seq: 1 } });
  return queries;
}

function entryCursor(log: Log, { filter, hint }: Query, options: ReadOptions): FindCursor<EntryDocument> {
  return log.entries
    .find(filter, { session: options.session, hint, ...readOptions(options) })
    .sort({ seq: 1 });
}

async function* batchesOf(cursor: FindCursor<EntryDocument>): AsyncGenerator<Entry[], void, undefined> {
  while (await cursor.hasNext())
    yield (cursor.readBufferedDocuments() as unknown[] as Uint8Array[]).map(rawEntryOf);
}

async function* mergeBySeq(
  sources: ReadonlyArray<AsyncGenerator<Entry[], void, undefined>>,
  batchSize: number,
): AsyncGenerator<Entry[], void, undefined> {
  const heads: Array<{ batch: Entry[]; index: number; source: AsyncGenerator<Entry[], void, undefined> }> =
    [];
  for (const source of sources) {
    const { value } = await source.next();
    if (value) heads.push({ batch: value, index: 0, source });
  }
  let out: Entry[] = [];
  let lastSeq = -1;
  while (heads.length) {
    let least = 0;
    for (let i = 1; i < heads.length; i++) if (seqAt(heads[i]) < seqAt(heads[least])) least = i;
    const head = heads[least];
    const entry = head?.batch[head.index++];
    // A record in feeds of two groups is met once in each.
    if (entry && entry.seq !== lastSeq) out.push(entry);
    lastSeq = entry?.seq ?? lastSeq;
    if (head && head.index === head.batch.length) {
      const { value } = await head.source.next();
      if (value) Object.assign(head, { batch: value, index: 0 });
      else heads.splice(least, 1);
    }
    if (out.length >= batchSize) {
      yield out;
      out = [];
    }
  }
  if (out.length) yield out;
}

function seqAt(head: { batch: Entry[]; index: number } | undefined): Seq {
  return head?.batch[head.index]?.seq ?? Number.POSITIVE_INFINITY;
}

function inGroups<T>(items: readonly T[], size: number): T[][] {
  const groups: T[][] = [];
  for (let i = 0; i < items.length; i += size) groups.push(items.slice(i, i + size));
  return groups;
}
