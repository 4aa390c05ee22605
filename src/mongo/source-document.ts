// One document of the source by its `_id`: read as of a transaction or by majority, and written in a transaction.
// Nothing is remembered and nothing judged here; a write the database will never take is told as DocumentRefused.
import {
  type Binary,
  BSON,
  type BSONSerializeOptions,
  type ClientSession,
  type Collection,
  type Document,
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

export interface DocumentKey {
  readonly collection: string;
  readonly key: SourceKey;
}

export type DocumentWrite =
  | { readonly kind: "insert"; readonly document: SourceDocument }
  | { readonly kind: "change"; readonly set: SourceDocument; readonly unset: readonly string[] }
  | { readonly kind: "delete" };

/** The database will not take a document, now or when asked again; nothing of its transaction is kept. */
export class DocumentRefused extends Error {
  override readonly name = "DocumentRefused";
  readonly refusal: Refusal;

  constructor(refusal: Refusal, cause: unknown) {
    super(`the database refused a document (${refusal.kind})`, { cause });
    this.refusal = refusal;
  }
}

export type Refusal =
  /** Keys of the unique index that has these values already. */
  | { readonly kind: "taken"; readonly keys: readonly string[] }
  | { readonly kind: "too-large" }
  /** A validator of the collection, or an index that can't hold the value. */
  | { readonly kind: "unfit" };

/**
 * The document as the session's transaction sees it, or, without a session, as a majority has it.
 * "unreadable": there is one, but the driver can't decode it (a regular expression with flags BSON doesn't know).
 */
export async function readDocument(
  source: Source,
  { collection, key }: DocumentKey,
  session?: Session,
): Promise<SourceDocument | "unreadable" | undefined> {
  const options = session ? { session } : ({ readConcern: "majority" } as const);
  const raw: unknown = await documents(source, collection).findOne({ _id: key }, { ...options, raw: true });
  if (!(raw instanceof Uint8Array)) return undefined;
  try {
    const { enableUtf8Validation: utf8 = true, ...decoding } = source.readOptions;
    return BSON.deserialize(raw, { ...decoding, validation: { utf8 } });
  } catch {
    return "unreadable";
  }
}

/**
 * Writes the document in the session's transaction, which has read it before.
 * @throws DocumentRefused; the transaction is then over.
 */
export async function writeDocument(
  source: Source,
  { collection, key }: DocumentKey,
  write: DocumentWrite,
  session: Session,
): Promise<void> {
  try {
    await perform(documents(source, collection), key, write, session);
  } catch (error) {
    const refusal = refusalOf(error);
    throw refusal ? new DocumentRefused(refusal, error) : error;
  }
}

async function perform(
  collection: Collection<{ _id: SourceKey }>,
  key: SourceKey,
  write: DocumentWrite,
  session: Session,
): Promise<void> {
  if (write.kind === "insert") {
    await collection.insertOne({ ...write.document, _id: key }, { session });
    return;
  }
  if (write.kind === "delete") {
    const { deletedCount } = await collection.deleteOne({ _id: key }, { session });
    invariant(deletedCount === 1, "the document deleted was read in the same transaction");
    return;
  }
  const { set, unset } = write;
  const update: UpdateFilter<Document> = {
    ...(Object.keys(set).length > 0 && { $set: set }),
    ...(unset.length > 0 && { $unset: Object.fromEntries(unset.map((path) => [path, ""])) }),
  };
  const { matchedCount } = await collection.updateOne({ _id: key }, update, { session });
  invariant(matchedCount === 1, "the document changed was read in the same transaction");
}

function documents(source: Source, collection: string): Collection<{ _id: SourceKey }> {
  return source.client.db(source.databaseName).collection(collection, { ...source.readOptions });
}

function refusalOf(error: unknown): Refusal | undefined {
  if (!(error instanceof MongoServerError)) return undefined;
  switch (classOf(error)) {
    case "duplicate-key":
      return { kind: "taken", keys: Object.keys(error["keyPattern"] ?? {}) };
    case "document-refused":
      return { kind: isTooLarge(error) ? "too-large" : "unfit" };
    default:
      return undefined;
  }
}
