// The hash by which a mutation sent again is told from another one under the same id: SHA-256 of what it asks for, read
// by the schema and written down canonically. When the client says it was made doesn't count, nor in which form or
// order its fields were written, nor values it sent along without naming them as changed.
import { hash } from "node:crypto";
import type { Mutation } from "../model/mutation.ts";
import type { Collection } from "../schema/collection.ts";
import type { FieldBytes } from "../schema/pushed-record.ts";
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
  const addFields = (numbers: readonly number[], values: FieldBytes) => {
    for (const number of numbers) parts.push(Buffer.from(String(number)), values.get(number) ?? NOTHING);
  };
  const named = intent.fields.map(({ number }) => number);
  if (intent.kind !== "delete") addFields(named, intent.values);
  if (intent.kind !== "create" && intent.base !== undefined) {
    parts.push(Buffer.from("base"));
    addFields(intent.kind === "update" ? named : numbersIn(intent.base), intent.base);
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

const NOTHING = new Uint8Array();

/** Without fields at their default, so that a field added to the schema changes no hash. */
function numbersIn(values: FieldBytes): number[] {
  return [...values].filter(([, bytes]) => bytes.length > 0).map(([number]) => number);
}
