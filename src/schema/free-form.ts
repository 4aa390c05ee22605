// google.protobuf.Struct, Value and ListValue from whatever a document holds. Documents, arrays, strings, bools, null
// and numbers are themselves; what JSON lacks becomes text: dates ISO 8601, ObjectIds and UUIDs their canonical text,
// binary base64, decimals their digits, 64-bit integers beyond 2^53 their digits, NaN and the infinities their names.
// Regular expressions, code, MinKey and the like are unfit.
import { type BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { binaryOf, bsonClassOf, isDocument, kindOf } from "./bson-value.ts";
import { deeper } from "./depth.ts";
import type { FreeForm } from "./shape.ts";
import { decimalText, uuidText } from "./text-leaf.ts";
import { UnfitDocument } from "./unfit-document.ts";

type Write = (writer: BinaryWriter, value: unknown, depth: number) => void;

/** Writes the body of a message of this form. */
export function freeFormCodec(form: FreeForm): Write {
  switch (form) {
    case "struct":
      return writeStruct;
    case "list":
      return writeList;
    case "value":
      return writeValue;
  }
}

const tag = (number: number, type: WireType) => (number << 3) | type;

const FIELDS = tag(1, WireType.LengthDelimited);
const KEY = tag(1, WireType.LengthDelimited);
const VALUE = tag(2, WireType.LengthDelimited);
const VALUES = tag(1, WireType.LengthDelimited);
const NULL_VALUE = tag(1, WireType.Varint);
const NUMBER_VALUE = tag(2, WireType.Bit64);
const STRING_VALUE = tag(3, WireType.LengthDelimited);
const BOOL_VALUE = tag(4, WireType.Varint);
const STRUCT_VALUE = tag(5, WireType.LengthDelimited);
const LIST_VALUE = tag(6, WireType.LengthDelimited);

function writeStruct(writer: BinaryWriter, value: unknown, depth: number): void {
  const document = isDocument(value) ? value : referenceOf(value);
  if (document === undefined) throw new UnfitDocument(`${kindOf(value)} doesn't fit a Struct`);
  const inner = deeper(depth);
  for (const key of Object.keys(document).sort()) {
    try {
      writer.uint32(FIELDS).fork().uint32(KEY).string(key).uint32(VALUE);
      writeNested(writer, document[key], { write: writeValue, depth: inner });
      writer.join();
    } catch (error) {
      throw error instanceof UnfitDocument ? error.under(`[${JSON.stringify(key)}]`) : error;
    }
  }
}

function writeList(writer: BinaryWriter, value: unknown, depth: number): void {
  if (!Array.isArray(value)) throw new UnfitDocument(`${kindOf(value)} doesn't fit a ListValue`);
  for (const [index, element] of value.entries()) {
    try {
      writeNested(writer.uint32(VALUES), element, { write: writeValue, depth });
    } catch (error) {
      throw error instanceof UnfitDocument ? error.under(`[${index}]`) : error;
    }
  }
}

function writeNested(
  writer: BinaryWriter,
  value: unknown,
  { write, depth }: { write: Write; depth: number },
): void {
  const inner = deeper(depth);
  writer.fork();
  write(writer, value, inner);
  writer.join();
}

function writeValue(writer: BinaryWriter, value: unknown, depth: number): void {
  if (isDocument(value)) writeNested(writer.uint32(STRUCT_VALUE), value, { write: writeStruct, depth });
  else if (Array.isArray(value)) writeNested(writer.uint32(LIST_VALUE), value, { write: writeList, depth });
  else {
    const plain = plainOf(value);
    if (plain === null) writer.uint32(NULL_VALUE).int32(0);
    else if (typeof plain === "number") writer.uint32(NUMBER_VALUE).double(plain);
    else if (typeof plain === "boolean") writer.uint32(BOOL_VALUE).bool(plain);
    else if (typeof plain === "string") writer.uint32(STRING_VALUE).string(plain);
    else writeNested(writer.uint32(STRUCT_VALUE), plain, { write: writeStruct, depth });
  }
}

type Plain = null | number | boolean | string | Readonly<Record<string, unknown>>;

/** What a value other than a document or array becomes. */
function plainOf(value: unknown): Plain {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return numberOrText(value);
    case "bigint":
      return integerOrText(value);
    case "undefined":
      return null;
    default:
      return value === null ? null : plainOfClass(value);
  }
}

function plainOfClass(value: unknown): Plain {
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString();
  const binary = binaryOf(value, [0, 2]);
  if (binary !== undefined) return Buffer.from(binary).toString("base64");
  switch (bsonClassOf(value)) {
    case "Int32":
    case "Double":
      return numberOrText(Number(value));
    case "Long":
      return integerOrText(BigInt(String(value)));
    case "ObjectId":
      return (value as { toHexString(): string }).toHexString();
    case "DBRef":
      return referenceOf(value) ?? null;
    default: {
      const text = decimalText(value) ?? uuidText(value);
      if (text !== undefined) return text;
      throw new UnfitDocument(`${kindOf(value)} has no place in a google.protobuf.Value`);
    }
  }
}

/** JSON has no NaN and no infinities; negative zero is zero. */
function numberOrText(value: number): number | string {
  return Number.isFinite(value) ? value + 0 : String(value);
}

function integerOrText(value: bigint): number | string {
  return BigInt.asIntN(54, value) === value && value !== -(2n ** 53n) ? Number(value) : value.toString();
}

/** The driver makes a DBRef of every document with `$ref` and `$id`; here it is a document again. */
function referenceOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (bsonClassOf(value) !== "DBRef") return undefined;
  const { collection, oid, db, fields } = value as {
    collection: string;
    oid: unknown;
    db?: string;
    fields?: Record<string, unknown>;
  };
  return { $ref: collection, $id: oid, ...(db === undefined ? {} : { $db: db }), ...fields };
}
