// What a string field can stand for in a document: a string, or by bson_type an ObjectId, a UUID, a decimal or an
// int64. Their texts are canonical (lower case, no leading zeros), so equal values have equal texts.
import { type BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Decimal128, ObjectId, UUID } from "bson";
import { int64Of } from "./bson-number.ts";
import type { BsonType } from "./bson-type.ts";
import { binaryOf, bsonClassOf, kindOf } from "./bson-value.ts";
import { UnfitDocument } from "./unfit-document.ts";

const UUID_SUBTYPE = 4;

export const LONE_SURROGATE = "the text has a lone surrogate, which UTF-8 can't hold";

/** One way for text to be in a document. */
interface TextForm {
  /** What it is, for reasons. */
  readonly name: string;
  /** What is wrong with text that isn't of this kind. */
  readonly refusal: string;
  /** Undefined: the value is of another kind. */
  toText(value: unknown): string | undefined;
  /** Undefined: the text isn't of this kind. */
  toBson(text: string): unknown;
}

const string: TextForm = {
  name: "a string",
  refusal: LONE_SURROGATE,
  toText: (value) => (typeof value === "string" ? value : undefined),
  toBson: (text) => (text.isWellFormed() ? text : undefined),
};

const objectId: TextForm = {
  name: "an ObjectId",
  refusal: "the text is not an ObjectId: 24 hexadecimal digits",
  toText: (value) =>
    bsonClassOf(value) === "ObjectId" ? (value as { toHexString(): string }).toHexString() : undefined,
  toBson: (text) => (/^[0-9a-fA-F]{24}$/.test(text) ? new ObjectId(text.toLowerCase()) : undefined),
};

const uuid: TextForm = {
  name: "a UUID",
  refusal: "the text is not a UUID: 32 hexadecimal digits with hyphens",
  toText: uuidText,
  toBson: (text) => (uuidPattern.test(text) ? new UUID(text.toLowerCase()) : undefined),
};

const uuidPattern = /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;

const decimal: TextForm = {
  name: "a decimal",
  refusal: "the text is not a decimal of up to 34 digits",
  toText: decimalText,
  toBson: decimalOf,
};

const integer: TextForm = {
  name: "an int64",
  refusal: "the text is not a 64-bit integer in its shortest form",
  toText: (value) => int64Of(value)?.toString(),
  toBson: (text) => (/^(0|-?[1-9]\d{0,18})$/.test(text) ? int64Of(BigInt(text)) : undefined),
};

function formOf(type: BsonType): TextForm {
  switch (type) {
    case "OBJECT_ID":
      return objectId;
    case "UUID":
      return uuid;
    case "DECIMAL128":
      return decimal;
    case "INT64":
      return integer;
    default:
      return string;
  }
}

/** A leaf codec (leaf-codec.ts) for string fields. */
export function textLeaf(type: BsonType) {
  const form = formOf(type);
  return {
    wireType: WireType.LengthDelimited,
    zeroIsAbsence: form !== string,
    read(value: unknown): string {
      const text = form.toText(value);
      if (text === undefined)
        throw new UnfitDocument(`${kindOf(value)} doesn't fit ${form.name}${advice(value)}`);
      return text;
    },
    isZero: (value: string) => value === "",
    // No text of a database has lone surrogates; elsewhere TextEncoder makes U+FFFD of them, as the driver would.
    put: (writer: BinaryWriter, value: string) => writer.string(value),
    toBson(text: string): unknown {
      const value = form.toBson(text);
      if (value === undefined) throw new UnfitDocument(form.refusal);
      return value;
    },
  };
}

function advice(value: unknown): string {
  const name = bsonClassOf(value);
  if (name === "ObjectId") return "; if it always is one, declare bson_type: BSON_TYPE_OBJECT_ID";
  if (name === "Decimal128") return "; if it always is one, declare bson_type: BSON_TYPE_DECIMAL128";
  if (binaryOf(value, [UUID_SUBTYPE])?.length === 16)
    return "; if it always is one, declare bson_type: BSON_TYPE_UUID";
  return "";
}

export function uuidText(value: unknown): string | undefined {
  const bytes = binaryOf(value, [UUID_SUBTYPE]);
  if (bytes?.length !== 16) return undefined;
  return Buffer.from(bytes)
    .toString("hex")
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** As MongoDB prints it, trailing zeros kept; negative zero is zero. */
export function decimalText(value: unknown): string | undefined {
  if (bsonClassOf(value) !== "Decimal128") return undefined;
  const text = String(value);
  return /^-0(\.0*)?(E.*)?$/.test(text) ? text.slice(1) : text;
}

function decimalOf(text: string): Decimal128 | undefined {
  if (!/^(-?\d+(\.\d+)?([eE][+-]?\d{1,5})?|NaN|-?Infinity)$/.test(text) || text.length > 64) return undefined;
  try {
    return Decimal128.fromString(text);
  } catch {
    return undefined; // more digits than a decimal holds
  }
}
