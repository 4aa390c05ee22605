// Deltas: which top-level fields differ between two canonical records, and their bytes, by slicing alone.
import type { Collection } from "./collection.ts";
import { type FieldSpan, fieldSpans } from "./wire-fields.ts";

/**
 * Top-level numbers whose values differ, ascending; never `id`. If a member of a oneof differs, all visible members
 * are listed. Numbers the schema no longer has (or hides now) are listed where `before` had them.
 */
export function changedFields(collection: Collection, before: Uint8Array, after: Uint8Array): number[] {
  const differing = differingFields(before, after).filter((number) => number !== collection.idShape.number);
  const members = differing.flatMap((number) => oneofOf(collection, number));
  if (members.length === 0) return differing;
  return [...new Set([...differing, ...members])].sort((a, b) => a - b);
}

/** Both ascend: one walk along the two, since ingest compares every record that is written. */
function differingFields(before: Uint8Array, after: Uint8Array): number[] {
  const olds = fieldSpans(before);
  const news = fieldSpans(after);
  const differing: number[] = [];
  for (let i = 0, k = 0; i < olds.length || k < news.length; ) {
    const was = olds[i];
    const is = news[k];
    const number = Math.min(was?.number ?? Number.POSITIVE_INFINITY, is?.number ?? Number.POSITIVE_INFINITY);
    const isInBoth = was?.number === is?.number;
    if (!isInBoth || (was && is && !isSame(before, was, after, is))) differing.push(number);
    if (was?.number === number) i++;
    if (is?.number === number) k++;
  }
  return differing;
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

function isSame(before: Uint8Array, was: FieldSpan, after: Uint8Array, is: FieldSpan): boolean {
  const length = was.end - was.start;
  if (is.end - is.start !== length) return false;
  for (let at = 0; at < length; at++) if (before[was.start + at] !== after[is.start + at]) return false;
  return true;
}
