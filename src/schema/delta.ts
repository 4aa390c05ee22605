// Deltas: which top-level fields differ between two canonical records, and their bytes, by slicing alone.
import type { Collection } from "./collection.ts";
import { type FieldSpan, fieldSpans } from "./wire-fields.ts";

/**
 * Top-level numbers whose values differ, ascending; never `id`. If a member of a oneof differs, all visible members
 * are listed. Numbers the schema no longer has (or hides now) are listed where `before` had them.
 */
export function changedFields(collection: Collection, before: Uint8Array, after: Uint8Array): number[] {
  const old = new Map(fieldSpans(before).map((span) => [span.number, span]));
  const changed = new Set<number>();
  for (const span of fieldSpans(after)) {
    const was = old.get(span.number);
    old.delete(span.number);
    if (was === undefined || !sameBytes(slice(before, was), slice(after, span))) changed.add(span.number);
  }
  for (const number of old.keys()) changed.add(number);
  changed.delete(collection.idShape.number);
  for (const number of [...changed]) for (const member of oneofOf(collection, number)) changed.add(member);
  return [...changed].sort((a, b) => a - b);
}

/** The bytes of these fields, in number order: a record of its own. */
export function pickFields(record: Uint8Array, numbers: readonly number[]): Uint8Array {
  const wanted = new Set(numbers);
  const spans = fieldSpans(record).filter(({ number }) => wanted.has(number));
  const picked = new Uint8Array(spans.reduce((sum, { start, end }) => sum + end - start, 0));
  let at = 0;
  for (const span of spans) {
    picked.set(slice(record, span), at);
    at += span.end - span.start;
  }
  return picked;
}

function oneofOf({ fields, fieldsByNumber }: Collection, number: number): number[] {
  const oneof = fieldsByNumber.get(number)?.oneof;
  if (oneof === undefined) return [];
  return fields
    .filter((field) => field.oneof === oneof && field.access !== "HIDDEN")
    .map((field) => field.number);
}

function slice(bytes: Uint8Array, { start, end }: FieldSpan): Uint8Array {
  return bytes.subarray(start, end);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
