// Entries read from their BSON bytes: records stay views of what MongoDB sent, names of collections and feeds are made
// once for as long as they repeat, and most keys are their record's id. A first sync decodes entries in a third of the
// time of the driver's decoder. What isn't as this node would have written it is left to that decoder.
import { BSON } from "mongodb";
import type { Seq } from "../model/seq.ts";
import { type Entry, type EntryDocument, entryOf, NO_MARKS } from "./entry.ts";

/** @param raw one document of `entries`; the entry's record is a view of it. */
export function rawEntryOf(raw: Uint8Array): Entry {
  const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  return mainEntryOf(bytes) ?? entryOf(BSON.deserialize(bytes) as EntryDocument);
}

const TYPE = { double: 1, string: 2, document: 3, array: 4, binary: 5, int32: 16, int64: 18 } as const;

/** Undefined: it is a leaver, or not as expected. */
function mainEntryOf(bytes: Buffer): Entry | undefined {
  let id: Span | undefined;
  let recordId: Span | undefined;
  let feeds: readonly string[] | undefined;
  let record: Uint8Array | undefined;
  let marks: ReadonlyMap<number, Seq> = NO_MARKS;
  let [seq, since, schema, load] = [-1, -1, -1, 0];
  for (let at = 4; bytes[at] !== 0; ) {
    const type = bytes[at] ?? 0;
    const nameAt = at + 1;
    const valueAt = afterName(bytes, nameAt);
    const size = sizeOf(bytes, type, valueAt);
    if (size === undefined) return undefined;
    const span = { type, at: valueAt, end: valueAt + size };
    switch (nameIn(bytes, nameAt, valueAt - 1)) {
      case NAME._id:
        id = span;
        break;
      case NAME.id:
        recordId = span;
        break;
      case NAME.feeds:
        feeds = feedsOf(bytes, span);
        break;
      case NAME.seq:
        seq = numberOf(bytes, span);
        break;
      case NAME.since:
        since = numberOf(bytes, span);
        break;
      case NAME.record:
        record = type === TYPE.binary ? bytes.subarray(valueAt + BINARY_HEAD_BYTES, span.end) : undefined;
        break;
      case NAME.marks:
        marks = marksOf(bytes, span);
        break;
      case NAME.schema:
        schema = numberOf(bytes, span);
        break;
      case NAME.load:
        load = numberOf(bytes, span);
        break;
      default:
        return undefined;
    }
    at = span.end;
  }
  if (!id || !recordId || recordId.type !== TYPE.string || !feeds || !record) return undefined;
  if (seq < 0 || since < 0 || schema < 0) return undefined;
  const idText = textOf(bytes, recordId);
  const key = keyOf(bytes, id, { span: recordId, text: idText });
  return key && { kind: "main", key, recordId: idText, feeds, seq, since, record, marks, schema, load };
}

/** Names as numbers: their length, their first and their third byte tell them apart, and make no strings. */
function nameNumber(length: number, first: number, third: number): number {
  return (length << 16) | (first << 8) | third;
}

function nameIn(bytes: Buffer, at: number, end: number): number {
  return nameNumber(end - at, bytes[at] ?? 0, bytes[at + 2] ?? 0);
}

const NAME = {
  _id: nameOf("_id"),
  id: nameOf("id"),
  feeds: nameOf("feeds"),
  seq: nameOf("seq"),
  since: nameOf("since"),
  record: nameOf("record"),
  marks: nameOf("marks"),
  schema: nameOf("schema"),
  load: nameOf("load"),
} as const;

function nameOf(name: string): number {
  return nameIn(Buffer.from(`${name}\0`), 0, name.length);
}

function afterName(bytes: Buffer, at: number): number {
  let end = at;
  while (bytes[end] !== 0) end++;
  return end + 1;
}

interface Span {
  readonly type: number;
  readonly at: number;
  readonly end: number;
}

/** Length and subtype. */
const BINARY_HEAD_BYTES = 5;

function sizeOf(bytes: Buffer, type: number, at: number): number | undefined {
  switch (type) {
    case TYPE.string:
      return 4 + bytes.readInt32LE(at);
    case TYPE.document:
    case TYPE.array:
      return bytes.readInt32LE(at);
    case TYPE.binary:
      return BINARY_HEAD_BYTES + bytes.readInt32LE(at);
    case TYPE.int32:
      return 4;
    case TYPE.int64:
    case TYPE.double:
      return 8;
    default:
      return undefined;
  }
}

/** -1: it is no number. */
function numberOf(bytes: Buffer, { type, at }: Span): number {
  if (type === TYPE.int64) return bytes.readInt32LE(at + 4) * 2 ** 32 + bytes.readUInt32LE(at);
  if (type === TYPE.int32) return bytes.readInt32LE(at);
  return type === TYPE.double ? bytes.readDoubleLE(at) : -1;
}

function textOf(bytes: Buffer, { at, end }: Span): string {
  return bytes.toString("utf8", at + 4, end - 1);
}

/** `{c, k}`; undefined: a leaver's, which has an `f`. */
function keyOf(bytes: Buffer, id: Span, recordId: { span: Span; text: string }) {
  if (id.type !== TYPE.document) return undefined;
  const typeAt = id.at + 4;
  if (bytes[typeAt] !== TYPE.string || bytes.toString("latin1", typeAt + 1, typeAt + 3) !== "c\0")
    return undefined;
  const c = { type: TYPE.string, at: typeAt + 3, end: typeAt + 7 + bytes.readInt32LE(typeAt + 3) };
  const type = bytes[c.end] ?? 0;
  if (bytes.toString("latin1", c.end + 1, c.end + 3) !== "k\0") return undefined;
  const at = c.end + 3;
  const { span, text } = recordId;
  const isId = type === TYPE.string && sameText(bytes, at, span);
  if (isId && at + span.end - span.at === id.end - 1) return { c: repeated(bytes, c, COLLECTION), k: text };
  const document = BSON.deserialize(bytes.subarray(id.at, id.end));
  return "f" in document ? undefined : { c: String(document["c"]), k: document["k"] as unknown };
}

function sameText(bytes: Buffer, at: number, { at: otherAt, end: otherEnd }: Span): boolean {
  return bytes.compare(bytes, otherAt, otherEnd, at, at + otherEnd - otherAt) === 0;
}

function feedsOf(bytes: Buffer, { type, at, end }: Span): readonly string[] | undefined {
  if (type !== TYPE.array) return undefined;
  const feeds: string[] = [];
  for (let next = at + 4; next < end - 1; ) {
    const valueAt = afterName(bytes, next + 1);
    if (bytes[next] !== TYPE.string) return undefined;
    const span = { type: TYPE.string, at: valueAt, end: valueAt + 4 + bytes.readInt32LE(valueAt) };
    feeds.push(repeated(bytes, span, FEED));
    next = span.end;
  }
  return feeds;
}

function marksOf(bytes: Buffer, { at, end }: Span): ReadonlyMap<number, Seq> {
  if (end - at <= EMPTY_DOCUMENT_BYTES) return NO_MARKS;
  const marks = new Map<number, Seq>();
  for (let next = at + 4; next < end - 1; ) {
    const type = bytes[next] ?? 0;
    const valueAt = afterName(bytes, next + 1);
    const size = sizeOf(bytes, type, valueAt) ?? 0;
    const seq = numberOf(bytes, { type, at: valueAt, end: valueAt + size });
    marks.set(Number(bytes.toString("latin1", next + 1, valueAt - 1)), seq);
    next = valueAt + size;
  }
  return marks;
}

const EMPTY_DOCUMENT_BYTES = 5;

/** Texts that repeat from entry to entry: the last one of a kind is kept with its bytes. */
interface Repeated {
  bytes: Buffer;
  text: string;
}

const COLLECTION: Repeated = { bytes: Buffer.alloc(0), text: "" };
const FEED: Repeated = { bytes: Buffer.alloc(0), text: "" };

function repeated(bytes: Buffer, span: Span, last: Repeated): string {
  const [start, end] = [span.at + 4, span.end - 1];
  const { length } = last.bytes;
  if (length === end - start && last.bytes.compare(bytes, start, end) === 0) return last.text;
  last.bytes = Buffer.from(bytes.subarray(start, end));
  last.text = bytes.toString("utf8", start, end);
  return last.text;
}
