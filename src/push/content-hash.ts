// The hash by which a mutation sent again is told from another one under the same id: SHA-256 of what it asks for, read
// by the schema and written down canonically. When the client says it was made doesn't count, nor in which form or
// order its fields were written, nor values it sent along without naming them as changed.
import { createHash } from "node:crypto";
import type { Mutation } from "../model/mutation.ts";
import type { SourceDocument } from "../mongo/source-document.ts";
import type { Collection, Field } from "../schema/collection.ts";
import { encodeField } from "../schema/encode-document.ts";
import type { Intent } from "./intent.ts";

export function contentHash(
  mutation: Mutation,
  collection: Collection,
  recordId: string,
  intent: Intent,
): Uint8Array {
  const hash = createHash("sha256");
  const add = (part: string | Uint8Array) => {
    const bytes = typeof part === "string" ? Buffer.from(part) : part;
    hash.update(`${bytes.length}:`).update(bytes);
  };
  const addFields = (fields: readonly Field[], document: SourceDocument) => {
    for (const field of fields) {
      add(String(field.number));
      add(encodeField(collection, field, document));
    }
  };
  for (const part of [collection.name, recordId, intent.kind]) add(part);
  for (const part of [mutation.madeAfter, mutation.expectedVersion]) add(String(part));
  if (intent.kind !== "delete") addFields(intent.fields, intent.document);
  if (intent.kind !== "create" && intent.base !== undefined) {
    add("base");
    addFields(intent.kind === "update" ? intent.fields : fieldsIn(collection, intent.base), intent.base);
  }
  return hash.digest();
}

/** The fields a document has: without those at their default, so that a field added to the schema changes no hash. */
export function fieldsIn(collection: Collection, document: SourceDocument): Field[] {
  return collection.fields.filter((field) => encodeField(collection, field, document).length > 0);
}
