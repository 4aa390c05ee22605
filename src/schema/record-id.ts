// Record ids: `_id` in the database, a string on the wire. Canonical both ways: one record has one id.
import type { Binary, ObjectId } from "bson";
import { invariant } from "../model/invariant.ts";
import type { Collection } from "./collection.ts";
import { UnfitDocument } from "./unfit-document.ts";

/** An `_id` of one of the types an id can be declared as. */
export type IdKey = string | bigint | ObjectId | Binary;

/** Mutation.record_id takes no longer ids. */
const ID_BYTES_MAX = 1024;

/** The wire id of a document's `_id`; undefined if it doesn't fit the declared type, is empty or over 1,024 bytes. */
export function recordIdOf(collection: Collection, key: unknown): string | undefined {
  const id = unlessUnfit(() => leafOf(collection).read(key));
  return typeof id === "string" && isUsable(id) ? id : undefined;
}

/** The `_id` of a wire id, in whatever case it was written; undefined if no document can have it. */
export function keyOf(collection: Collection, recordId: string): IdKey | undefined {
  if (!isUsable(recordId) || !recordId.isWellFormed()) return undefined;
  return unlessUnfit(() => leafOf(collection).toBson(recordId) as IdKey);
}

function leafOf({ idShape: { value } }: Collection) {
  invariant("leaf" in value, "an id is a string field");
  return value.leaf;
}

function isUsable(id: string): boolean {
  return id !== "" && (id.length <= ID_BYTES_MAX / 3 || Buffer.byteLength(id) <= ID_BYTES_MAX);
}

function unlessUnfit<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof UnfitDocument) return undefined;
    throw error;
  }
}
