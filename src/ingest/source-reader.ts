// Reads the source's records at a cluster time: some by key, or a page of a collection in `_id` order; as bytes, so
// that one that can't be decoded keeps no other from being read. An instant the server no longer has (or never had, for
// a younger collection) is replaced by now, and told.
import type { Db, Document, Timestamp } from "mongodb";
import { classOf } from "../mongo/error-class.ts";
import { findInOneReply, rawBatches } from "../mongo/one-reply.ts";
import { later } from "./cluster-time.ts";
import { isOddKey, type SourceDocument, sourceDocumentOf } from "./raw-document.ts";
import { keyText } from "./record-key.ts";

export interface SourceRead {
  readonly documents: readonly SourceDocument[];
  /** False: there are more than fit into one reply; ask for fewer, or go on after the last. */
  readonly whole: boolean;
  /** When they were read: the time asked for, or later. */
  readonly at: Timestamp;
}

export interface SourcePageRead extends SourceRead {
  /** Documents met between those, under keys after which no page can begin; more than a page of them in a row aren't told. */
  readonly odd: readonly SourceDocument[];
}

export interface SourceReader {
  /** Those of these documents that exist, of odd keys none. With a collation the database may find others: match them by exact key. */
  byKeys(collection: string, keys: readonly unknown[], at: Timestamp): Promise<SourceRead>;
  /** The documents after a key in `_id` order, whatever BSON types the keys have. */
  page(collection: string, page: SourcePage): Promise<SourcePageRead>;
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
      const find = { filter: { _id: { $in: keys.filter((key) => !isOddKey(key)) } } };
      return readAt(db, { collection, find, documentsMax: keys.length }, at);
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
): Promise<SourcePageRead> {
  // A `$gt` would see only keys of one BSON type.
  const find = { hint: { _id: 1 }, ...(after && { min: { _id: after.key } }) };
  const odd: SourceDocument[] = [];
  let readAtTime = at;
  for (let skip = 0; ; ) {
    const read = await readAt(db, { collection, find: { ...find, skip }, documentsMax }, readAtTime);
    // What is skipped was counted at one time.
    const recounts = skip > 0 && !read.at.equals(readAtTime);
    readAtTime = read.at;
    if (recounts) {
      odd.length = 0;
      skip = 0;
      continue;
    }
    const [first] = read.documents;
    const isPast = skip === 0 && after !== undefined && first && keyText(first.key) === keyText(after.key);
    const met = isPast ? read.documents.slice(1) : read.documents;
    odd.push(...met.filter(({ key }) => isOddKey(key)).slice(0, documentsMax - odd.length));
    const documents = met.filter(({ key }) => !isOddKey(key));
    if (documents.length > 0 || read.whole) return { ...read, documents, odd };
    // Odd ones alone, or a document before that was so large that no other fitted beside it.
    skip += read.documents.length;
  }
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

async function read(db: Db, { find, ...query }: Query, at: Timestamp): Promise<Omit<SourceRead, "at">> {
  const readConcern = { level: "snapshot", atClusterTime: at };
  const command = { ...query, find: { ...find, readConcern }, decode: rawBatches };
  const { documents, whole } = await findInOneReply<Uint8Array>(db, command);
  return { documents: documents.map(sourceDocumentOf), whole };
}
