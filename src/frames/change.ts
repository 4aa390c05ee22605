// One change as bytes: a `changes` field of Batch with its tag, so that batches are made by concatenation and stored
// records are copied, never decoded (PROTO form). Too large for that: parts (PROTO), or told as too large (JSON).
import { RemoveReason } from "#gen/tidemark/v1/change_pb.js";
import type { Seq } from "../model/seq.ts";
import type { Collection } from "../schema/collection.ts";
import { pickFields } from "../schema/delta.ts";
import { isBeyondJson, structBytes } from "../schema/json-limits.ts";
import { deltaToJson, recordToJson } from "../schema/record-json.ts";
import { fieldSize, varintSize, varintTag, writeFieldStart, writeVarint } from "./wire.ts";

export interface ChangeKey {
  readonly collection: string;
  readonly recordId: string;
  readonly version: Seq;
}

export interface PutSource extends ChangeKey {
  /** Canonical protobuf of the whole record. */
  readonly record: Uint8Array;
  /** Top-level numbers to send; empty: the whole record. */
  readonly changed: readonly number[];
}

export type RemoveCause = "DELETED" | "LEFT_SCOPE" | "REVOKED";

export interface InlineChange {
  readonly kind: "inline";
  readonly bytes: Uint8Array;
}

export type EncodedChange =
  | InlineChange
  | {
      readonly kind: "parts";
      readonly key: ChangeKey;
      readonly data: Uint8Array;
      readonly changed: readonly number[];
    }
  | { readonly kind: "too-large"; readonly key: ChangeKey };

/** Data above this goes in parts: with a batch before it, a frame stays well below the usual 4 MiB of clients. */
export const PARTS_ABOVE_BYTES = 1_048_576;

/** A put in PROTO form. */
export function encodePut(source: PutSource): EncodedChange {
  const { record, changed } = source;
  const data = changed.length === 0 ? record : pickFields(record, changed);
  if (data.length > PARTS_ABOVE_BYTES) return { kind: "parts", key: source, data, changed };
  return { kind: "inline", bytes: putBytes(source, PROTO_FIELD, data) };
}

/**
 * A put in JSON form. A record too large as a whole isn't sent as a delta either: the client doesn't hold it.
 */
export function encodePutJson(collection: Collection, source: PutSource): EncodedChange {
  const { record, changed } = source;
  const isDelta = changed.length > 0;
  if (isDelta && isBeyondJson(collection, record)) return { kind: "too-large", key: source };
  const data = structBytes(
    isDelta ? deltaToJson(collection, record, changed) : recordToJson(collection, record),
  );
  if (data === undefined) return { kind: "too-large", key: source };
  return { kind: "inline", bytes: putBytes(source, JSON_FIELD, data) };
}

export function encodeRemove(key: ChangeKey, cause: RemoveCause): InlineChange {
  const head = changeHead(key);
  // Remove {reason}: a tag and a one-byte enum.
  const size = head.size + fieldSize(2);
  const bytes = Buffer.allocUnsafe(fieldSize(size));
  let at = writeChangeHead(bytes, key, { ...head, changeBytes: size });
  at = writeFieldStart(bytes, at, { field: REMOVE_FIELD, bytes: 2 });
  bytes[at] = varintTag(1);
  bytes[at + 1] = RemoveReason[cause];
  return { kind: "inline", bytes };
}

// Field numbers of tidemark.v1: Batch.changes, Change.put, Change.remove, Record.proto, Record.json.
const CHANGES_FIELD = 1;
const PUT_FIELD = 4;
const REMOVE_FIELD = 5;
const PROTO_FIELD = 1;
const JSON_FIELD = 2;

function putBytes(
  source: PutSource,
  form: typeof PROTO_FIELD | typeof JSON_FIELD,
  data: Uint8Array,
): Uint8Array {
  const head = changeHead(source);
  const packed = source.changed.reduce((sum, number) => sum + varintSize(number), 0);
  const recordSize = fieldSize(data.length);
  const putSize = fieldSize(recordSize) + (packed > 0 ? fieldSize(packed) : 0);
  const size = head.size + fieldSize(putSize);
  const bytes = Buffer.allocUnsafe(fieldSize(size));
  let at = writeChangeHead(bytes, source, { ...head, changeBytes: size });
  at = writeFieldStart(bytes, at, { field: PUT_FIELD, bytes: putSize });
  at = writeFieldStart(bytes, at, { field: 1, bytes: recordSize });
  at = writeFieldStart(bytes, at, { field: form, bytes: data.length });
  bytes.set(data, at);
  at += data.length;
  if (packed > 0) at = writeFieldStart(bytes, at, { field: 2, bytes: packed });
  for (const number of source.changed) at = writeVarint(bytes, at, number);
  return bytes;
}

interface ChangeHead {
  readonly collectionBytes: number;
  readonly idBytes: number;
  /** Of collection, record id and version. */
  readonly size: number;
}

function changeHead({ collection, recordId, version }: ChangeKey): ChangeHead {
  const collectionBytes = Buffer.byteLength(collection);
  const idBytes = Buffer.byteLength(recordId);
  return {
    collectionBytes,
    idBytes,
    size: fieldSize(collectionBytes) + fieldSize(idBytes) + 1 + varintSize(version),
  };
}

function writeChangeHead(into: Buffer, key: ChangeKey, head: ChangeHead & { changeBytes: number }): number {
  let at = writeFieldStart(into, 0, { field: CHANGES_FIELD, bytes: head.changeBytes });
  at = writeFieldStart(into, at, { field: 1, bytes: head.collectionBytes });
  at += into.write(key.collection, at);
  at = writeFieldStart(into, at, { field: 2, bytes: head.idBytes });
  at += into.write(key.recordId, at);
  into[at] = varintTag(3);
  return writeVarint(into, at + 1, key.version);
}
