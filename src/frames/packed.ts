// Packed changes: the `changes` fields of a batch one after another, as `encodePut` makes them, stored so. To be sent
// they are only cut, between changes; of each, id and version are read where they stand.
import { varintSize } from "./wire.ts";

/** Changes in one piece of memory, in ascending version. */
export interface PackedChanges {
  readonly bytes: Buffer;
  /** Of each change. */
  readonly versions: readonly number[];
  /** Where each change ends. */
  readonly ends: readonly number[];
}

/** Neighbours among packed changes, `from` up to but without `to`. */
export interface PackedRun {
  readonly of: PackedChanges;
  readonly from: number;
  readonly to: number;
}

/** @throws RangeError They are not as `encodePut` makes them. */
export function readPacked(changes: Uint8Array): PackedChanges {
  const bytes = Buffer.from(changes.buffer, changes.byteOffset, changes.byteLength);
  const versions: number[] = [];
  const ends: number[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = varintAt(bytes, expectTag(bytes, at, TAG.change));
    const start = at + 1 + varintSize(size);
    const id = expectTag(bytes, afterField(bytes, expectTag(bytes, start, TAG.collection)), TAG.id);
    versions.push(varintAt(bytes, expectTag(bytes, afterField(bytes, id), TAG.version)));
    at = start + size;
    ends.push(at);
  }
  if ((ends.at(-1) ?? 0) !== bytes.length) throw broken();
  return { bytes, versions, ends };
}

export function recordIdAt(packed: PackedChanges, index: number): string {
  const { bytes } = packed;
  const start = startOf(packed, index);
  const inner = start + 1 + varintSize(varintAt(bytes, start + 1));
  const id = afterField(bytes, inner + 1) + 1;
  const size = varintAt(bytes, id);
  return bytes.toString("utf8", id + varintSize(size), id + varintSize(size) + size);
}

/** The bytes of the changes from `from` up to but without `to`. */
export function bytesOfRun({ of, from, to }: PackedRun): Buffer {
  return of.bytes.subarray(startOf(of, from), startOf(of, to));
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

export function lastVersionOf({ of, to }: PackedRun): number {
  return of.versions[to - 1] ?? 0;
}

// Tags of Batch.changes, and of Change's collection, record_id and version.
const TAG = { change: 0x0a, collection: 0x0a, id: 0x12, version: 0x18 } as const;

function startOf({ ends }: PackedChanges, index: number): number {
  return ends[index - 1] ?? 0;
}

/** Where what the tag announces begins. */
function expectTag(bytes: Buffer, at: number, tag: number): number {
  if (bytes[at] !== tag) throw broken();
  return at + 1;
}

/** @param at where a length stands; gives where its content ends. */
function afterField(bytes: Buffer, at: number): number {
  const size = varintAt(bytes, at);
  return at + varintSize(size) + size;
}

function varintAt(bytes: Buffer, at: number): number {
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
