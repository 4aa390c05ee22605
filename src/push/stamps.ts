// Times the server sets on what pushes write, by the clock of the node: clients can't.
import { invariant } from "../model/invariant.ts";
import type { SourceDocument } from "../mongo/source-document.ts";
import type { Collection, Field, Stamp } from "../schema/collection.ts";

/** Keys and values for a document being made. */
export function createStamps(collection: Collection, nowMs: number): SourceDocument {
  return stamps(collection, ["CREATED_AT", "WRITTEN_AT"], nowMs);
}

/** Keys and values for a document being changed. */
export function writeStamps(collection: Collection, nowMs: number): SourceDocument {
  return stamps(collection, ["WRITTEN_AT"], nowMs);
}

function stamps({ fields }: Collection, kinds: readonly Stamp[], nowMs: number): SourceDocument {
  const stamped: SourceDocument = {};
  for (const field of fields) {
    if (field.stamp !== undefined && kinds.includes(field.stamp)) stamped[field.key] = timeFor(field, nowMs);
  }
  return stamped;
}

function timeFor({ shape: { value } }: Field, nowMs: number): unknown {
  if (value.kind === "timestamp") return new Date(nowMs);
  invariant(value.kind === "scalar", "a stamp is a Timestamp or a number of milliseconds");
  return value.leaf.toBson(BigInt(nowMs));
}
