// Graves: what pushes deleted, of collections where an edit wins over a delete, so that an edit arriving later can bring
// the record back. The whole document, as BSON, undeclared fields and all; kept as long as receipts are.
import { Binary, BSON, type BSONSerializeOptions, type ClientSession, type Collection } from "mongodb";

export interface GraveDocument {
  /** Names the record: collection and record id. */
  _id: string;
  at: Date;
  document: Binary;
}

/** Where graves are kept, as a part of the ledger. */
export interface Graves {
  readonly graves: Collection<GraveDocument>;
}

export interface GraveChange {
  readonly ref: string;
  /** "none": there is to be no grave. */
  readonly grave: Record<string, unknown> | "none";
}

export interface GravesAsked {
  readonly refs: readonly string[];
  readonly readOptions: BSONSerializeOptions;
}

/** The documents that lie in these graves, as the session's transaction sees them. */
export async function readGraves(
  { graves }: Graves,
  { refs, readOptions }: GravesAsked,
  session: ClientSession,
): Promise<Map<string, Record<string, unknown>>> {
  const found = await graves.find({ _id: { $in: [...refs] } }, { session }).toArray();
  return new Map(
    found.map(({ _id, document }) => [
      _id,
      BSON.deserialize(document.buffer, withoutValidation(readOptions)),
    ]),
  );
}

/** @param atMs when, in ms since 1970. */
export async function writeGraves(
  { graves }: Graves,
  { changes, atMs }: { readonly changes: readonly GraveChange[]; readonly atMs: number },
  session: ClientSession,
): Promise<void> {
  if (changes.length === 0) return;
  const at = new Date(atMs);
  const operations = changes.map(({ ref, grave }) =>
    grave === "none"
      ? { deleteOne: { filter: { _id: ref } } }
      : { replaceOne: { filter: { _id: ref }, replacement: graveOf(at, grave), upsert: true } },
  );
  await graves.bulkWrite(operations, { session });
}

function graveOf(at: Date, document: Record<string, unknown>): Omit<GraveDocument, "_id"> {
  return { at, document: new Binary(BSON.serialize(document)) };
}

/** Written from a decoded document: its text is well-formed. */
function withoutValidation({ enableUtf8Validation: _, ...decoding }: BSONSerializeOptions) {
  return { ...decoding, validation: { utf8: false } };
}
