// Leaf codecs: one scalar or enum value between BSON, the wire and a scope's text. Reading is strict (what would lose
// anything is unfit) and canonical (equal values read as equal). Messages are message-codec.ts's.
import { ScalarType } from "@bufbuild/protobuf";
import { type BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Binary, Decimal128, Double, Int32 } from "bson";
import { doubleOf, int32Of, int64Of, uint64Of } from "./bson-number.ts";
import type { BsonType } from "./bson-type.ts";
import { binaryOf, kindOf } from "./bson-value.ts";
import { textLeaf } from "./text-leaf.ts";
import { UnfitDocument } from "./unfit-document.ts";

/** `T` is the value as protobuf-es holds it, in canonical form. */
export interface LeafCodec<T> {
  readonly wireType: WireType;
  /** @throws UnfitDocument */
  read(value: unknown): T;
  isZero(value: T): boolean;
  /** Writes the value without its tag. */
  put(writer: BinaryWriter, value: T): void;
  /** Under implicit presence a zero is absence in a document, because no value of its type there is a zero. */
  readonly zeroIsAbsence: boolean;
  /** The value in a document. @throws UnfitDocument */
  toBson(value: T): unknown;
}

/** A codec whose `T` only it knows: what `read` gave, or protobuf-es holds for its type, goes into the rest. */
export type AnyLeafCodec = LeafCodec<unknown>;

/** Hides a codec's type. */
export function anyLeaf<T>(codec: LeafCodec<T>): AnyLeafCodec {
  return codec as AnyLeafCodec;
}

/** @param type a type that `bsonTypesOfScalar` gives for the scalar. */
export function scalarLeaf(scalar: ScalarType, type: BsonType): AnyLeafCodec {
  switch (scalar) {
    case ScalarType.STRING:
      return anyLeaf(textLeaf(type));
    case ScalarType.BYTES:
      return anyLeaf(bytesLeaf);
    case ScalarType.BOOL:
      return anyLeaf(boolLeaf);
    case ScalarType.DOUBLE:
      return anyLeaf(doubleLeaf);
    case ScalarType.FLOAT:
      return anyLeaf(floatLeaf);
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return anyLeaf(narrowLeaf(scalar, type));
    default:
      return anyLeaf(wideLeaf(scalar, type));
  }
}

const bytesLeaf: LeafCodec<Uint8Array> = {
  wireType: WireType.LengthDelimited,
  zeroIsAbsence: false,
  // Subtype 2 is the old form of 0.
  read: (value) => binaryOf(value, [0, 2]) ?? misfit(value, "bytes"),
  isZero: (value) => value.length === 0,
  put: (writer, value) => writer.bytes(value),
  toBson: (value) => new Binary(value, 0),
};

const boolLeaf: LeafCodec<boolean> = {
  wireType: WireType.Varint,
  zeroIsAbsence: false,
  read: (value) => (typeof value === "boolean" ? value : misfit(value, "a bool")),
  isZero: (value) => !value,
  put: (writer, value) => writer.bool(value),
  toBson: (value) => value,
};

const doubleLeaf: LeafCodec<number> = {
  wireType: WireType.Bit64,
  zeroIsAbsence: false,
  read: (value) => doubleOf(value) ?? misfit(value, "a double"),
  isZero: (value) => value === 0,
  put: (writer, value) => writer.double(value),
  toBson: (value) => new Double(value + 0),
};

const floatLeaf: LeafCodec<number> = {
  wireType: WireType.Bit32,
  zeroIsAbsence: false,
  read: (value) => {
    const wide = doubleOf(value) ?? misfit(value, "a float");
    const narrow = Math.fround(wide) + 0;
    return Number.isFinite(wide) && !Number.isFinite(narrow)
      ? misfit(value, "a float, being too large")
      : narrow;
  },
  isZero: (value) => value === 0,
  put: (writer, value) => writer.float(value),
  // What comes from JSON isn't rounded yet.
  toBson: (value) => new Double(Math.fround(value) + 0),
};

type Narrow =
  | ScalarType.INT32
  | ScalarType.SINT32
  | ScalarType.SFIXED32
  | ScalarType.UINT32
  | ScalarType.FIXED32;

const narrowPut: Record<Narrow, LeafCodec<number>["put"]> = {
  [ScalarType.INT32]: (writer, value) => writer.int32(value),
  [ScalarType.SINT32]: (writer, value) => writer.sint32(value),
  [ScalarType.SFIXED32]: (writer, value) => writer.sfixed32(value),
  [ScalarType.UINT32]: (writer, value) => writer.uint32(value),
  [ScalarType.FIXED32]: (writer, value) => writer.fixed32(value),
};

function narrowLeaf(scalar: Narrow, type: BsonType): LeafCodec<number> {
  const unsigned = scalar === ScalarType.UINT32 || scalar === ScalarType.FIXED32;
  const fixed = scalar === ScalarType.SFIXED32 || scalar === ScalarType.FIXED32;
  const [min, max, name] = unsigned ? [0, 2 ** 32 - 1, "a uint32"] : [-(2 ** 31), 2 ** 31 - 1, "an int32"];
  return {
    wireType: fixed ? WireType.Bit32 : WireType.Varint,
    zeroIsAbsence: false,
    read: (value) => int32Of(value, min, max) ?? misfit(value, name),
    isZero: (value) => value === 0,
    put: narrowPut[scalar],
    toBson: narrowToBson(type, unsigned),
  };
}

function narrowToBson(type: BsonType, unsigned: boolean): (value: number) => unknown {
  if (type === "DOUBLE") return (value) => new Double(value);
  return type === "INT64" || unsigned ? (value) => BigInt(value) : (value) => new Int32(value);
}

type Wide =
  | ScalarType.INT64
  | ScalarType.SINT64
  | ScalarType.SFIXED64
  | ScalarType.UINT64
  | ScalarType.FIXED64;

const widePut: Record<Wide, LeafCodec<bigint>["put"]> = {
  [ScalarType.INT64]: (writer, value) => writer.int64(value),
  [ScalarType.SINT64]: (writer, value) => writer.sint64(value),
  [ScalarType.SFIXED64]: (writer, value) => writer.sfixed64(value),
  [ScalarType.UINT64]: (writer, value) => writer.uint64(value),
  [ScalarType.FIXED64]: (writer, value) => writer.fixed64(value),
};

function wideLeaf(scalar: Wide, type: BsonType): LeafCodec<bigint> {
  const unsigned = scalar === ScalarType.UINT64 || scalar === ScalarType.FIXED64;
  const fixed = scalar === ScalarType.SFIXED64 || scalar === ScalarType.FIXED64;
  const common = {
    wireType: fixed ? WireType.Bit64 : WireType.Varint,
    zeroIsAbsence: false,
    isZero: (value: bigint) => value === 0n,
    put: widePut[scalar],
  };
  if (type === "DATE") return { ...common, read: millisOf, toBson: dateOf };
  if (unsigned) {
    const read = (value: unknown) => uint64Of(value) ?? misfit(value, "a uint64");
    return { ...common, read, toBson: unsignedToBson };
  }
  return {
    ...common,
    read: (value) => int64Of(value) ?? misfit(value, "an int64"),
    toBson: (value) => value,
  };
}

/** BSON has no unsigned integers: what an int64 can't hold becomes a decimal, which reads back the same. */
function unsignedToBson(value: bigint): unknown {
  return BigInt.asIntN(64, value) === value ? value : Decimal128.fromString(value.toString());
}

function millisOf(value: unknown): bigint {
  const ms = value instanceof Date ? value.getTime() : Number.NaN;
  return Number.isNaN(ms) ? misfit(value, "a date") : BigInt(ms);
}

/** The range of JavaScript's dates, ±8.64e15 ms, is narrower than BSON's; no calendar needs the rest. */
function dateOf(value: bigint): Date {
  const date = new Date(Number(value));
  if (Number.isNaN(date.getTime())) throw new UnfitDocument("the date is out of range");
  return date;
}

function misfit(value: unknown, wanted: string): never {
  throw new UnfitDocument(`${kindOf(value)} doesn't fit ${wanted}`);
}
