// Reads the source's records at a cluster time: some by key, or a page of a collection in `_id` order.
// An instant the server no longer has (or never had, for a younger collection) is replaced by now, and told.
import type { Db, Document, Timestamp } from "mongodb";
import { classOf } from "../mongo/error-class.ts";
import { findInOneReply, type OneReply } from "../mongo/one-reply.ts";
import { sourceReadOptions } from "../schema/bson-value.ts";
import { later } from "./cluster-time.ts";
import { keyText } from "./record-key.ts";

export interface SourceRead {
  readonly documents: readonly Document[];
  /** False: there are more than fit into one reply; ask for fewer, or go on after the last. */
  readonly whole: boolean;
  /** When they were read: the time asked for, or later. */
  readonly at: Timestamp;
}

export interface SourceReader {
  /** Those of these documents that exist. With a collation the database may find others: match them by exact key. */
  byKeys(collection: string, keys: readonly unknown[], at: Timestamp): Promise<SourceRead>;
  /** The documents after a key in `_id` order, whatever BSON types the keys have. */
  page(collection: string, page: SourcePage): Promise<SourceRead>;
  /** A cluster time not before anything read so far. */
  now(): Promise<Timestamp>;
  /** About how many documents there are. */
  estimate(collection: string): Promise<number>;
}

export interface SourcePage {
  /** Undefined: from the first. */
  readonly after: { readonly key: unknown } | undefined;
  readonly documentsMax: number;
  readonly at: Timestamp;
}

export function createSourceReader(db: Db): SourceReader {
  return {
    byKeys(collection, keys, at) {
      return readAt(
        db,
        { collection, find: { filter: { _id: { $in: keys } } }, documentsMax: keys.length },
        at,
      );
    },
    page: (collection, page) => readPage(db, collection, page),
    now: () => readNow(db),
    estimate: (collection) => db.collection(collection).estimatedDocumentCount(),
  };
}

async function readPage(
  db: Db,
  collection: string,
  { after, documentsMax, at }: SourcePage,
): Promise<SourceRead> {
  // A `$gt` would see only keys of one BSON type.
  const find = { hint: { _id: 1 }, ...(after && { min: { _id: after.key } }) };
  const read = await readAt(db, { collection, find, documentsMax }, at);
  const [first] = read.documents;
  if (!after || !first || keyText(first["_id"]) !== keyText(after.key)) return read;
  const documents = read.documents.slice(1);
  if (documents.length > 0 || read.whole) return { ...read, documents };
  // The document before was so large that no other fitted beside it.
  return readAt(db, { collection, find: { ...find, skip: 1 }, documentsMax }, read.at);
}

interface Query {
  readonly collection: string;
  readonly find: Document;
  readonly documentsMax: number;
}

async function readAt(db: Db, query: Query, at: Timestamp): Promise<SourceRead> {
  try {
    return { ...(await read(db, query, at)), at };
  } catch (error) {
    if (classOf(error) !== "snapshot-lost") throw error;
    // Named, so that the read waits for a majority to have a collection just made.
    const now = later(await readNow(db), at);
    return { ...(await read(db, query, now)), at: now };
  }
}

async function readNow(db: Db): Promise<Timestamp> {
  const { operationTime } = await db.command({ ping: 1 });
  return operationTime;
}

function read(db: Db, { find, ...query }: Query, at: Timestamp): Promise<OneReply<Document>> {
  const readConcern = { level: "snapshot", atClusterTime: at };
  return findInOneReply<Document>(db, {
    ...query,
    find: { ...find, readConcern },
    decode: sourceReadOptions,
  });
}
