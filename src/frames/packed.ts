// Packed changes: a batch of whole puts as it goes over the wire, stored so. Sent whole it is not even copied; else it is
// cut, between changes. Of each change, id and version are read where they stand.
import type { Seq } from "../model/seq.ts";
import { batchFrame } from "./batch.ts";
import { ENVELOPE_HEAD_BYTES } from "./envelope.ts";
import type { Frame } from "./frame.ts";
import { varintSize } from "./wire.ts";

/** Changes in one piece of memory, in ascending version. */
export interface PackedChanges {
  /** The frame of all of them. */
  readonly frame: Frame;
  readonly bytes: Uint8Array;
  /** Where the first change begins. */
  readonly start: number;
  /** Where each change ends. */
  readonly ends: readonly number[];
  /** Of each change. */
  readonly versions: readonly Seq[];
}

/** Neighbours among packed changes, `from` up to but without `to`. */
export interface PackedRun {
  readonly of: PackedChanges;
  readonly from: number;
  readonly to: number;
}

/** @param changes each as `encodePut` makes it. @param last the version of the last. */
export function pack(changes: readonly Uint8Array[], last: Seq): Uint8Array {
  const { bytes, enveloped } = batchFrame(changes, last);
  return enveloped ?? bytes;
}

/** @throws RangeError It is not as `pack` makes it. */
export function readPacked(packed: Uint8Array): PackedChanges {
  const enveloped = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  const bytes = enveloped.subarray(ENVELOPE_HEAD_BYTES);
  const size = varintAt(bytes, expectTag(bytes, 0, TAG.batch));
  const start = 1 + varintSize(size);
  if (start + size !== bytes.length) throw broken();
  const versions: number[] = [];
  const ends: number[] = [];
  let at = start;
  while (bytes[at] === TAG.change) {
    const changeBytes = varintAt(bytes, at + 1);
    const inner = at + 1 + varintSize(changeBytes);
    const id = expectTag(bytes, afterField(bytes, expectTag(bytes, inner, TAG.collection)), TAG.id);
    versions.push(varintAt(bytes, expectTag(bytes, afterField(bytes, id), TAG.version)));
    at = inner + changeBytes;
    ends.push(at);
  }
  const position = varintAt(bytes, expectTag(bytes, at, TAG.position));
  if (at + 1 + varintSize(position) !== bytes.length || position !== versions.at(-1)) throw broken();
  const frame: Frame = { kind: "batch", bytes, enveloped, isPersonal: false, position };
  return { frame, bytes, start, ends, versions };
}

export function recordIdAt(packed: PackedChanges, index: number): string {
  const { bytes } = packed;
  const start = startOf(packed, index);
  const inner = start + 1 + varintSize(varintAt(bytes, start + 1));
  const id = afterField(bytes, inner + 1) + 1;
  const size = varintAt(bytes, id);
  const text = bytes.subarray(id + varintSize(size), id + varintSize(size) + size);
  return Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString();
}

/** The bytes of the changes from `from` up to but without `to`. */
export function bytesOfRun({ of, from, to }: PackedRun): Uint8Array {
  return of.bytes.subarray(startOf(of, from), startOf(of, to));
}

/** Whether it is all that was packed together. */
export function isWhole({ of, from, to }: PackedRun): boolean {
  return from === 0 && to === of.ends.length;
}

/** Cuts a run into pieces of at most so many bytes, or one change. */
export function* piecesOf({ of, from, to }: PackedRun, bytesMax: number): Generator<PackedRun> {
  for (let start = from; start < to; ) {
    const limit = startOf(of, start) + bytesMax;
    let end = start + 1;
    while (end < to && (of.ends[end] ?? 0) <= limit) end++;
    yield { of, from: start, to: end };
    start = end;
  }
}

export function lastVersionOf({ of, to }: PackedRun): Seq {
  return of.versions[to - 1] ?? 0;
}

// Tags of PullChangesResponse.batch; Batch.changes and position; Change's collection, record_id and version.
const TAG = { batch: 0x12, change: 0x0a, position: 0x10, collection: 0x0a, id: 0x12, version: 0x18 } as const;

function startOf({ ends, start }: PackedChanges, index: number): number {
  return ends[index - 1] ?? start;
}

/** Where what the tag announces begins. */
function expectTag(bytes: Uint8Array, at: number, tag: number): number {
  if (bytes[at] !== tag) throw broken();
  return at + 1;
}

/** @param at where a length stands; gives where its content ends. */
function afterField(bytes: Uint8Array, at: number): number {
  const size = varintAt(bytes, at);
  return at + varintSize(size) + size;
}

function varintAt(bytes: Uint8Array, at: number): number {
  let value = 0;
  let unit = 1;
  for (let end = at; ; end++) {
    const byte = bytes[end];
    if (byte === undefined || unit > Number.MAX_SAFE_INTEGER) throw broken();
    value += (byte & 0x7f) * unit;
    if (byte < 0x80) return value;
    unit *= 0x80;
  }
}

function broken(): RangeError {
  return new RangeError("packed changes are broken");
}
