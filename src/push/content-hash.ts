// The hash by which a mutation sent again is told from another one under the same id: SHA-256 of what it asks for, read
// by the schema and written down canonically. When the client says it was made doesn't count, nor in which form or
// order its fields were written, nor values it sent along without naming them as changed.
import { hash } from "node:crypto";
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
  const { madeAfter, expectedVersion } = mutation;
  const head = [collection.name, recordId, intent.kind, String(madeAfter), String(expectedVersion)];
  const parts: Uint8Array[] = head.map((text) => Buffer.from(text));
  const addFields = (fields: readonly Field[], document: SourceDocument) => {
    for (const field of fields) {
      parts.push(Buffer.from(String(field.number)), encodeField(collection, field, document));
    }
  };
  if (intent.kind !== "delete") addFields(intent.fields, intent.document);
  if (intent.kind !== "create" && intent.base !== undefined) {
    parts.push(Buffer.from("base"));
    addFields(intent.kind === "update" ? intent.fields : fieldsIn(collection, intent.base), intent.base);
  }
  return hash("sha256", joined(parts), "buffer");
}

/** Each part with its length before it, so that no two lists of parts read alike. One buffer: hashing in steps is slow. */
function joined(parts: readonly Uint8Array[]): Buffer {
  const whole = Buffer.allocUnsafe(parts.reduce((sum, { length }) => sum + LENGTH_BYTES + length, 0));
  let at = 0;
  for (const part of parts) {
    at = whole.writeUInt32LE(part.length, at);
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const LENGTH_BYTES = 4;

/** The fields a document has: without those at their default, so that a field added to the schema changes no hash. */
export function fieldsIn(collection: Collection, document: SourceDocument): Field[] {
  return collection.fields.filter((field) => encodeField(collection, field, document).length > 0);
}
