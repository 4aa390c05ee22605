// What the change log holds: one main entry per record, and one leaver per (record, feed it left).
// No two entries share a seq. In memory seqs are numbers; in MongoDB int64.
import { Binary, Long } from "mongodb";
import type { Feed } from "../model/feed.ts";
import { invariant } from "../model/invariant.ts";
import type { Seq } from "../model/seq.ts";

/** Collection and source `_id` (any BSON value) of a record. */
export interface RecordKey {
  readonly c: string;
  readonly k: unknown;
}

export interface LeaverKey extends RecordKey {
  readonly f: Feed;
}

/** The latest state of a record. */
export interface MainEntry {
  readonly kind: "main";
  readonly key: RecordKey;
  /** The record's id on the wire. */
  readonly recordId: string;
  readonly feeds: readonly Feed[];
  readonly seq: Seq;
  /** Seq at which the record was created, entered a feed, healed from quarantine or shrank to what JSON form carries. */
  readonly since: Seq;
  /** Canonical protobuf of the record. */
  readonly record: Uint8Array;
  /** Top-level field number → seq of its last change; a field without a mark hasn't changed since `since`. */
  readonly marks: ReadonlyMap<number, Seq>;
  /** The collection's schema generation it was encoded by. */
  readonly schema: number;
  /** The load that last saw the record; 0: none. */
  readonly load: number;
}

export type LeaveReason = "DELETED" | "LEFT_SCOPE";

/** A record left a feed. */
export interface LeaverEntry {
  readonly kind: "leaver";
  readonly key: LeaverKey;
  readonly recordId: string;
  readonly seq: Seq;
  readonly reason: LeaveReason;
  /** When, in ms since 1970 by the commit clock; decides how long it is kept. */
  readonly atMs: number;
  /** The collection's schema generation at that time. */
  readonly schema: number;
}

export type Entry = MainEntry | LeaverEntry;

/** An entry as stored in `entries`. */
export interface EntryDocument {
  _id: RecordKey | LeaverKey;
  id: string;
  feeds: Feed[];
  seq: Long | number;
  since?: Long | number;
  record?: Binary;
  marks?: Record<string, Long | number>;
  schema: number;
  load?: number;
  reason?: LeaveReason;
  at?: Date;
}

export function entryDocument(entry: Entry): EntryDocument {
  if (entry.kind === "leaver") {
    return {
      _id: entry.key,
      id: entry.recordId,
      feeds: [entry.key.f],
      seq: Long.fromNumber(entry.seq),
      schema: entry.schema,
      reason: entry.reason,
      at: new Date(entry.atMs),
    };
  }
  const marks: Record<string, Long> = {};
  for (const [field, seq] of entry.marks) marks[field] = Long.fromNumber(seq);
  return {
    _id: entry.key,
    id: entry.recordId,
    feeds: [...entry.feeds],
    seq: Long.fromNumber(entry.seq),
    since: Long.fromNumber(entry.since),
    record: new Binary(entry.record),
    marks,
    schema: entry.schema,
    load: entry.load,
  };
}

/** Reads what `entryDocument` wrote, as the driver's default options decode it. */
export function entryOf(document: EntryDocument): Entry {
  const { _id: key, id: recordId, schema } = document;
  const seq = Number(document.seq);
  if ("f" in key) {
    invariant(document.reason && document.at, "a leaver has a reason and a time");
    return {
      kind: "leaver",
      key,
      recordId,
      seq,
      reason: document.reason,
      atMs: document.at.getTime(),
      schema,
    };
  }
  invariant(document.record, "a main entry has a record");
  return {
    kind: "main",
    key,
    recordId,
    feeds: document.feeds,
    seq,
    since: Number(document.since),
    record: bytesOf(document.record),
    marks: marksOf(document.marks ?? {}),
    schema,
    load: document.load ?? 0,
  };
}

function bytesOf(binary: Binary): Uint8Array {
  return binary.buffer.length === binary.position
    ? binary.buffer
    : binary.buffer.subarray(0, binary.position);
}

/** Most records never changed: they share one map. */
export const NO_MARKS: ReadonlyMap<number, Seq> = new Map();

function marksOf(stored: Record<string, Long | number>): ReadonlyMap<number, Seq> {
  const fields = Object.entries(stored);
  return fields.length > 0
    ? new Map(fields.map(([field, seq]): [number, Seq] => [Number(field), Number(seq)]))
    : NO_MARKS;
}
