// Value codecs: BSON values straight to protobuf bytes, without message objects between: ingest's hot path.
// Compiled once per shape into closures (a warm core encodes several hundred thousand small documents a second).
import { type BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { Document } from "bson";
import { isDocument, kindOf } from "./bson-value.ts";
import { deeper } from "./depth.ts";
import { freeFormCodec } from "./free-form.ts";
import type { AnyLeafCodec } from "./leaf-codec.ts";
import type { MessageShape, ValueShape } from "./shape.ts";
import { UnfitDocument } from "./unfit-document.ts";

export interface ValueCodec {
  readonly wireType: WireType;
  /** Null is a value here, not absence. */
  readonly takesNull: boolean;
  /** Writes a value that is there, without its tag. @throws UnfitDocument */
  write(writer: BinaryWriter, value: unknown, depth: number): void;
}

/** Writes a message's body; `depth` counts it. @throws UnfitDocument */
export type WriteBody = (writer: BinaryWriter, document: Document, depth: number) => void;

/** @param bodyOf gives the writer of a nested message; called once, while compiling. */
export function valueCodec(value: ValueShape, bodyOf: (shape: MessageShape) => WriteBody): ValueCodec {
  switch (value.kind) {
    case "scalar":
    case "enum":
      return leafCodec(value.leaf);
    case "wrapper":
      return wrapperCodec(value.inner.leaf);
    case "timestamp":
      return messageCodec(writeTimestamp);
    case "free":
      return messageCodec(freeFormCodec(value.form), value.form === "value");
    case "message": {
      const write = bodyOf(value.shape);
      return messageCodec((writer, document, depth) => {
        if (!isDocument(document)) throw new UnfitDocument(`${kindOf(document)} doesn't fit a message`);
        write(writer, document, depth);
      });
    }
  }
}

function leafCodec(leaf: AnyLeafCodec): ValueCodec {
  return {
    wireType: leaf.wireType,
    takesNull: false,
    write: (writer, value) => leaf.put(writer, leaf.read(value)),
  };
}

type WriteMessage = (writer: BinaryWriter, value: unknown, depth: number) => void;

function messageCodec(writeBody: WriteMessage, takesNull = false): ValueCodec {
  return {
    wireType: WireType.LengthDelimited,
    takesNull,
    write(writer, value, depth) {
      const inner = deeper(depth);
      writer.fork();
      writeBody(writer, value, inner);
      writer.join();
    },
  };
}

/** Writes tag and value; nothing if it is zero. Compiled once per field. */
export function unlessZero(leaf: AnyLeafCodec, tag: number): (writer: BinaryWriter, value: unknown) => void {
  return (writer, value) => {
    const canonical = leaf.read(value);
    if (!leaf.isZero(canonical)) leaf.put(writer.uint32(tag), canonical);
  };
}

/** A wrapper's only field is number 1. */
function wrapperCodec(leaf: AnyLeafCodec): ValueCodec {
  return messageCodec(unlessZero(leaf, (1 << 3) | leaf.wireType));
}

/** 0001-01-01 and the end of 9999: all that google.protobuf.Timestamp holds. */
const TIMESTAMP_MS_MIN = -62_135_596_800_000;
const TIMESTAMP_MS_MAX = 253_402_300_799_999;

const SECONDS_TAG = (1 << 3) | WireType.Varint;
const NANOS_TAG = (2 << 3) | WireType.Varint;

function writeTimestamp(writer: BinaryWriter, value: unknown): void {
  const ms = value instanceof Date ? value.getTime() : undefined;
  if (ms === undefined) throw new UnfitDocument(`${kindOf(value)} doesn't fit a Timestamp`);
  // A BSON date beyond JavaScript's range is NaN.
  if (!(ms >= TIMESTAMP_MS_MIN && ms <= TIMESTAMP_MS_MAX)) {
    throw new UnfitDocument("the date is not between the years 1 and 9999, as a Timestamp must be");
  }
  const seconds = Math.floor(ms / 1000);
  const nanos = (ms - seconds * 1000) * 1_000_000;
  if (seconds !== 0) writer.uint32(SECONDS_TAG).int64(seconds);
  if (nanos !== 0) writer.uint32(NANOS_TAG).int32(nanos);
}
