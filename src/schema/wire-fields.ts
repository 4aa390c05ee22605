// Cuts a protobuf message into its top-level fields without decoding them: what deltas are made of.
import { invariant } from "../model/invariant.ts";

/** All records of one field number that lie together, tags included. */
export interface FieldSpan {
  readonly number: number;
  readonly start: number;
  readonly end: number;
}

/** The fields of a message this server encoded: ascending, each number once. */
export function fieldSpans(bytes: Uint8Array): FieldSpan[] {
  const spans: FieldSpan[] = [];
  let number = 0;
  let start = 0;
  let at = 0;
  while (at < bytes.length) {
    const tag = varintAt(bytes, at);
    const next = tag.value >>> 3;
    if (next !== number) {
      if (at > start) spans.push({ number, start, end: at });
      invariant(next > number, "fields of a canonical record ascend");
      number = next;
      start = at;
    }
    at = endOfValue(bytes, tag.end, tag.value & 7);
  }
  if (at > start) spans.push({ number, start, end: at });
  return spans;
}

function endOfValue(bytes: Uint8Array, at: number, wireType: number): number {
  switch (wireType) {
    case 0:
      return varintAt(bytes, at).end;
    case 1:
      return at + 8;
    case 5:
      return at + 4;
    default: {
      invariant(wireType === 2, "a canonical record has no groups");
      const length = varintAt(bytes, at);
      return length.end + length.value;
    }
  }
}

/** Exact up to 32 bits, as tags and lengths are; of longer ones only the end is. */
function varintAt(bytes: Uint8Array, start: number): { value: number; end: number } {
  let value = 0;
  for (let at = start; at < start + 10; at++) {
    const byte = bytes[at];
    invariant(byte !== undefined, "a canonical record isn't cut short");
    const shift = 7 * (at - start);
    if (shift < 32) value = (value | ((byte & 0x7f) << shift)) >>> 0;
    if (byte < 0x80) return { value, end: at + 1 };
  }
  throw new Error("broken invariant: a varint has at most ten bytes");
}
