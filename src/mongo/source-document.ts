// Documents of the source by their `_id`s: read as of a transaction or by majority, and written in a transaction.
// Nothing is remembered and nothing judged here; a write the database will never take is told as DocumentRefused.
import {
  type AnyBulkWriteOperation,
  type Binary,
  BSON,
  type BSONSerializeOptions,
  type ClientSession,
  type Collection,
  type Document,
  MongoBulkWriteError,
  type MongoClient,
  MongoServerError,
  type ObjectId,
  type UpdateFilter,
} from "mongodb";
import { invariant } from "../model/invariant.ts";
import { classOf, isTooLarge } from "./error-class.ts";

/** What ties the reads and writes of one transaction together. */
export type Session = ClientSession;
/** Field by field as in BSON. */
export type SourceDocument = Record<string, unknown>;
/** What the schema makes of a record's id. */
export type SourceKey = string | number | bigint | ObjectId | Binary;

export interface Source {
  readonly client: MongoClient;
  readonly databaseName: string;
  /** How BSON is decoded; the schema's codec relies on it. */
  readonly readOptions: BSONSerializeOptions;
}

/** What is to become of one document. */
export type DocumentWrite =
  | { readonly kind: "insert" | "replace"; readonly document: SourceDocument }
  /** Paths and values for `$set`, paths for `$unset`. */
  | { readonly kind: "change"; readonly set: SourceDocument; readonly unset: readonly string[] }
  | { readonly kind: "delete" };

export interface KeyedWrite {
  readonly key: SourceKey;
  readonly write: DocumentWrite;
}

interface DocumentName {
  readonly collection: string;
  readonly key: SourceKey;
}

/** The database will not take a document, now or when asked again; nothing of its transaction is kept. */
export class DocumentRefused extends Error {
  override readonly name = "DocumentRefused";
  readonly refusal: Refusal;
  /** The document's collection and `_id`. */
  readonly collection: string;
  readonly key: SourceKey;

  constructor(refusal: Refusal, { collection, key }: DocumentName, cause: unknown) {
    super(`the database refused a document (${refusal.kind})`, { cause });
    this.refusal = refusal;
    this.collection = collection;
    this.key = key;
  }
}

export type Refusal =
  /** Keys of the unique index that has these values already; none if written with others. */
  | { readonly kind: "taken"; readonly keys: readonly string[] }
  | { readonly kind: "too-large" }
  /** A validator of the collection, or an index that can't hold the value. */
  | { readonly kind: "unfit" };

/** A document; "unreadable": there is one the driver can't decode (a regular expression with flags BSON doesn't know). */
export type Found = SourceDocument | "unreadable" | undefined;

export interface DocumentsWanted {
  readonly collection: string;
  /** Record id → `_id`. */
  readonly wanted: ReadonlyMap<string, SourceKey>;
  /** The record id of an `_id`; undefined: it is none. */
  readonly idOf: (key: unknown) => string | undefined;
  /** Of all documents together. Default: no bound. */
  readonly bytesMax?: number;
}

/** More bytes of documents were asked for than may be read at once. */
export class TooMuchToRead extends Error {
  override readonly name = "TooMuchToRead";
}

/**
 * The documents under these `_id`s, by record id, as the session's transaction sees them, or, without a session, as a
 * majority has them. What isn't there is left out.
 * @throws TooMuchToRead.
 */
export async function readDocuments(
  source: Source,
  { collection, wanted, idOf, bytesMax = Number.POSITIVE_INFINITY }: DocumentsWanted,
  session?: Session,
): Promise<Map<string, Found>> {
  const filter = { _id: { $in: [...wanted.values()] } };
  const options = { ...readIn(session), raw: true, batchSize: wanted.size + 1 };
  const found = new Map<string, Found>();
  let hasStrangers = false;
  let bytes = 0;
  const cursor = documents(source, collection).find<Document>(filter, options);
  try {
    while (await cursor.hasNext()) {
      for (const raw of cursor.readBufferedDocuments()) {
        invariant(raw instanceof Uint8Array, "a raw document is its bytes");
        bytes += raw.length;
        if (bytes > bytesMax)
          throw new TooMuchToRead(`documents of more than ${bytesMax} bytes were asked for`);
        const document = decoded(source, raw);
        const recordId = isReadable(document) ? idOf(document["_id"]) : undefined;
        if (recordId !== undefined && wanted.has(recordId)) found.set(recordId, document);
        else hasStrangers = true;
      }
    }
  } finally {
    await cursor.close();
  }
  // Unreadable, or found because `_id`s are compared without case: only asked for alone is it known what was meant.
  if (!hasStrangers) return found;
  for (const [recordId, key] of wanted) {
    if (!found.has(recordId)) found.set(recordId, await readAlone(source, { collection, key }, session));
  }
  return found;
}

async function readAlone(
  source: Source,
  { collection, key }: DocumentName,
  session?: Session,
): Promise<Found> {
  const options = { ...readIn(session), raw: true };
  const raw: unknown = await documents(source, collection).findOne({ _id: key }, options);
  return raw instanceof Uint8Array ? decoded(source, raw) : undefined;
}

function readIn(session: Session | undefined) {
  return session ? { session } : ({ readConcern: "majority" } as const);
}

function decoded(source: Source, raw: Uint8Array): Found {
  try {
    const { enableUtf8Validation: utf8 = true, ...decoding } = source.readOptions;
    return BSON.deserialize(raw, { ...decoding, validation: { utf8 } });
  } catch {
    return "unreadable";
  }
}

/** Whether two reads of a document found the same, as BSON. */
export function sameDocument(a: Found, b: Found): boolean {
  if (!isReadable(a) || !isReadable(b)) return a === b;
  return Buffer.compare(BSON.serialize(a), BSON.serialize(b)) === 0;
}

export function isReadable(found: Found): found is SourceDocument {
  return found !== undefined && found !== "unreadable";
}

/**
 * Writes documents of one collection in the session's transaction, which has read them before: each once.
 * Unique values that deletes free are free for changes, and those that changes free, for inserts.
 * @throws DocumentRefused with the first refused; the transaction is then over.
 */
export async function writeDocuments(
  source: Source,
  { collection, writes }: { readonly collection: string; readonly writes: readonly KeyedWrite[] },
  session: Session,
): Promise<void> {
  const ordered = [...writes].sort((a, b) => RANK[a.write.kind] - RANK[b.write.kind]);
  const inserted = ordered.filter(({ write }) => write.kind === "insert").length;
  try {
    const written = await performAll(documents(source, collection), ordered, session);
    invariant(written.deletedCount + written.matchedCount + inserted === writes.length, "all had been read");
  } catch (error) {
    throw refusedOr(error, collection, ordered);
  }
}

interface Written {
  readonly deletedCount: number;
  readonly matchedCount: number;
}

/** One alone isn't sent as a bulk: only then does the driver tell which unique index refused it. */
async function performAll(
  collection: Collection<KeyedDocument>,
  writes: readonly KeyedWrite[],
  session: Session,
): Promise<Written> {
  const [only, ...others] = writes;
  if (only === undefined || others.length > 0)
    return await collection.bulkWrite(writes.map(operationOf), { session });
  const { key, write } = only;
  const none = { deletedCount: 0, matchedCount: 0 };
  switch (write.kind) {
    case "insert":
      await collection.insertOne({ ...write.document, _id: key }, { session });
      return none;
    case "replace":
      return { ...none, ...(await collection.replaceOne({ _id: key }, write.document, { session })) };
    case "change":
      return { ...none, ...(await collection.updateOne({ _id: key }, updateOf(write), { session })) };
    case "delete":
      return { ...none, ...(await collection.deleteOne({ _id: key }, { session })) };
  }
}

const RANK = { delete: 0, change: 1, replace: 1, insert: 2 } as const;

function operationOf({ key, write }: KeyedWrite): AnyBulkWriteOperation<KeyedDocument> {
  const filter = { _id: key };
  switch (write.kind) {
    case "insert":
      return { insertOne: { document: { ...write.document, _id: key } } };
    case "replace":
      return { replaceOne: { filter, replacement: { ...write.document, _id: key } } };
    case "delete":
      return { deleteOne: { filter } };
    case "change":
      return { updateOne: { filter, update: updateOf(write) } };
  }
}

function updateOf({ set, unset }: Extract<DocumentWrite, { kind: "change" }>): UpdateFilter<Document> {
  return {
    ...(Object.keys(set).length > 0 && { $set: set }),
    ...(unset.length > 0 && { $unset: Object.fromEntries(unset.map((path) => [path, ""])) }),
  };
}

/** What a write error amounts to, if it is about a document. */
function refusedOr(error: unknown, collection: string, writes: readonly KeyedWrite[]): unknown {
  if (!(error instanceof MongoServerError)) return error;
  const refusal = refusalOf(error);
  const refused = writes[indexOf(error)];
  return refusal && refused ? new DocumentRefused(refusal, { collection, key: refused.key }, error) : error;
}

/** Of the write an error is about. */
function indexOf(error: MongoServerError): number {
  if (!(error instanceof MongoBulkWriteError)) return 0;
  const [first] = Array.isArray(error.writeErrors) ? error.writeErrors : [error.writeErrors];
  return first?.index ?? -1;
}

function refusalOf(error: MongoServerError): Refusal | undefined {
  switch (classOf(error)) {
    case "duplicate-key":
      return { kind: "taken", keys: Object.keys(error["keyPattern"] ?? {}) };
    case "document-refused":
      return { kind: isTooLarge(error) ? "too-large" : "unfit" };
    default:
      return undefined;
  }
}

interface KeyedDocument {
  _id: SourceKey;
}

/**
 * Documents come as bytes, and are decoded here; what else the database says must not hold BigInts: of an error that
 * names a topology version the driver's monitor would make an exception nobody can catch.
 */
function documents(source: Source, collection: string): Collection<KeyedDocument> {
  const options = { ...source.readOptions, useBigInt64: false };
  return source.client.db(source.databaseName).collection(collection, options);
}
