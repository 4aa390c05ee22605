// Batches: encoded changes joined into frames of about a size, in order; large records become parts in between.
import { create } from "@bufbuild/protobuf";
import { PartSchema } from "#gen/tidemark/v1/frame_pb.js";
import type { Seq } from "../model/seq.ts";
import type { ChangeKey, EncodedChange } from "./change.ts";
import { ENVELOPE_HEAD_BYTES, writeEnvelopeHead } from "./envelope.ts";
import { type Frame, frameOf } from "./frame.ts";
import { fieldSize, varintSize, varintTag, writeFieldStart, writeVarint } from "./wire.ts";

/** A change that fits a frame of some kind. */
export type Sendable = Exclude<EncodedChange, { kind: "too-large" }>;

/** Changes waiting to fill a batch. Holds at most `bytesMax` of them, or one change. */
export class BatchCutter {
  readonly #bytesMax: number;
  #changes: Uint8Array[] = [];
  #bytes = 0;
  #position: Seq;

  /** @param position where the client stands before the first change. */
  constructor(bytesMax: number, position: Seq) {
    this.#bytesMax = bytesMax;
    this.#position = position;
  }

  /** Takes a change, after which the client stands at `position`; gives the frames it completes, mostly none. */
  add(change: Sendable, position: Seq): Iterable<Frame> {
    const size = change.kind === "inline" ? change.bytes.length : Number.POSITIVE_INFINITY;
    const isFull = this.#changes.length > 0 && this.#bytes + size > this.#bytesMax;
    if (change.kind === "parts") return this.#addParts(change, position);
    const full = isFull ? [this.#cut()] : NO_FRAMES;
    this.#changes.push(change.bytes);
    this.#bytes += size;
    this.#position = position;
    return this.#bytes >= this.#bytesMax ? [...full, this.#cut()] : full;
  }

  /** The last batch, if there is anything in it. */
  flush(): Iterable<Frame> {
    return this.#changes.length > 0 ? [this.#cut()] : NO_FRAMES;
  }

  /** Lazily: each part is a copy. */
  *#addParts(parts: PartsSource, position: Seq): Generator<Frame, void, undefined> {
    yield* this.flush();
    yield* partFrames(parts, partBytesOf(this.#bytesMax));
    this.#position = position;
    yield this.#cut();
  }

  #cut(): Frame {
    const frame = batchFrame(this.#changes, this.#position);
    this.#changes = [];
    this.#bytes = 0;
    return frame;
  }
}

/** The very same wherever there are none. */
export const NO_FRAMES: readonly Frame[] = [];

/** @param changes each as EncodedChange.bytes. */
export function batchFrame(changes: readonly Uint8Array[], position: Seq): Frame {
  const positionSize = position > 0 ? 1 + varintSize(position) : 0;
  const size = changes.reduce((sum, { length }) => sum + length, positionSize);
  const enveloped = Buffer.allocUnsafe(ENVELOPE_HEAD_BYTES + fieldSize(size));
  writeEnvelopeHead(enveloped, fieldSize(size));
  const bytes = enveloped.subarray(ENVELOPE_HEAD_BYTES);
  let at = writeFieldStart(bytes, 0, { field: BATCH_FIELD, bytes: size });
  for (const change of changes) {
    bytes.set(change, at);
    at += change.length;
  }
  if (position > 0) {
    bytes[at] = varintTag(2);
    writeVarint(bytes, at + 1, position);
  }
  return { kind: "batch", bytes, enveloped, isPersonal: false, position };
}

/** PullChangesResponse.batch */
const BATCH_FIELD = 2;

const PART_BYTES_MIN = 65_536;
const PART_BYTES_MAX = 1_048_576;

function partBytesOf(batchBytesMax: number): number {
  return Math.min(PART_BYTES_MAX, Math.max(PART_BYTES_MIN, batchBytesMax));
}

interface PartsSource {
  readonly key: ChangeKey;
  readonly data: Uint8Array;
  readonly changed: readonly number[];
}

function* partFrames(
  { key, data, changed }: PartsSource,
  partBytes: number,
): Generator<Frame, void, undefined> {
  const { collection, recordId } = key;
  const whole = { collection, recordId, version: BigInt(key.version), totalBytes: BigInt(data.length) };
  for (let offset = 0; offset < data.length; offset += partBytes) {
    const piece = data.subarray(offset, offset + partBytes);
    const part = { ...whole, data: piece, offset: BigInt(offset), changed: [...changed] };
    yield frameOf({ case: "part", value: create(PartSchema, part) });
  }
}
