// A frame as Connect's JSON form has it, written straight from its bytes: by tables made of the contract's descriptors,
// without a message object in between. Batches of records in JSON form are printed about six times faster than by
// decoding and printing them.
import { type DescField, type DescMessage, fromBinary, ScalarType, toJson } from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import { invariant } from "../model/invariant.ts";

/** @param bytes a whole PullChangesResponse, as this server makes them. */
export function frameJson(bytes: Uint8Array): Buffer {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Buffer.from(response({ buffer, at: 0, end: buffer.length }));
}

interface Cursor {
  readonly buffer: Buffer;
  at: number;
  readonly end: number;
}

/** Reads a value, whose tag has been read, and prints it; undefined: nothing to print. */
type Print = (cursor: Cursor) => string | undefined;

interface PrintedField {
  /** The name, quoted, with its colon. */
  readonly name: string;
  readonly isList: boolean;
  readonly print: Print;
}

const LENGTH_DELIMITED = 2;

/** A message's JSON, its fields in the order of the wire. */
function printerOf(message: DescMessage): Print {
  const known = printers.get(message.typeName);
  if (known) return known;
  const fields: PrintedField[] = [];
  const print: Print = (cursor) => printMessage(cursor, fields);
  printers.set(message.typeName, print);
  for (const field of message.fields) {
    const isList = field.fieldKind === "list";
    fields[field.number] = { name: `${JSON.stringify(field.jsonName)}:`, isList, print: valuePrinter(field) };
  }
  return print;
}

function printMessage(cursor: Cursor, fields: readonly PrintedField[]): string {
  const lists: string[][] = [];
  let out = "";
  while (cursor.at < cursor.end) {
    const tag = varint(cursor);
    const field = fields[tag >>> 3];
    invariant(field, "frames are made of the contract's own fields");
    // A packed list: as many values as there are.
    const isPacked = field.isList && (tag & 7) === LENGTH_DELIMITED && field.print === printInt32;
    const until = isPacked ? varint(cursor) + cursor.at : cursor.at + 1;
    while (cursor.at < until) {
      const value = field.print(cursor);
      if (field.isList) {
        lists[tag >>> 3] ??= [];
        lists[tag >>> 3]?.push(value ?? "");
      } else if (value !== undefined) out += `${out && ","}${field.name}${value}`;
    }
  }
  for (const [number, values] of lists.entries())
    if (values) out += `${out && ","}${fields[number]?.name}[${values.join()}]`;
  return `{${out}}`;
}

function valuePrinter(field: DescField): Print {
  if (field.message) {
    const print = printerOf(field.message);
    return (cursor) => print(within(cursor));
  }
  const { enum: values } = field;
  if (values) return (cursor) => JSON.stringify(values.value[varint(cursor)]?.name);
  const print = field.scalar === undefined ? undefined : SCALARS.get(field.scalar);
  invariant(print, "the contract has no other scalars");
  return print;
}

const printInt32: Print = (cursor) => String(varint(cursor));

const SCALARS: ReadonlyMap<ScalarType, Print> = new Map<ScalarType, Print>([
  [ScalarType.STRING, (cursor) => JSON.stringify(text(within(cursor)))],
  [ScalarType.BYTES, (cursor) => printBytes(within(cursor))],
  [ScalarType.BOOL, (cursor) => (varint(cursor) === 0 ? undefined : "true")],
  [ScalarType.INT32, printInt32],
  [ScalarType.INT64, (cursor) => `"${varint64(cursor)}"`],
]);

function printBytes({ buffer, at, end }: Cursor): string {
  return `"${buffer.toString("base64", at, end)}"`;
}

/** google.protobuf.Struct: its one field is a map of Values. */
function printStruct(cursor: Cursor): string {
  let out = "";
  while (cursor.at < cursor.end) {
    cursor.at++;
    const entry = within(cursor);
    let [key, value] = ['""', "null"];
    while (entry.at < entry.end) {
      const tag = entry.buffer[entry.at++] ?? 0;
      if (tag === TAG.key) key = JSON.stringify(text(within(entry)));
      else value = printValue(within(entry));
    }
    out += `${out && ","}${key}:${value}`;
  }
  return `{${out}}`;
}

const TAG = {
  key: 0x0a,
  null: 0x08,
  number: 0x11,
  string: 0x1a,
  bool: 0x20,
  struct: 0x2a,
  list: 0x32,
} as const;

function printValue(cursor: Cursor): string {
  const tag = cursor.buffer[cursor.at++];
  switch (tag) {
    case TAG.null:
      return "null";
    case TAG.number:
      return JSON.stringify(cursor.buffer.readDoubleLE(cursor.at));
    case TAG.string:
      return JSON.stringify(text(within(cursor)));
    case TAG.bool:
      return varint(cursor) === 0 ? "false" : "true";
    case TAG.struct:
      return printStruct(within(cursor));
    default:
      invariant(tag === TAG.list, "a Value has one of its kinds");
      return printList(within(cursor));
  }
}

function printList(cursor: Cursor): string {
  const values: string[] = [];
  while (cursor.at < cursor.end) {
    cursor.at++;
    values.push(printValue(within(cursor)));
  }
  return `[${values.join()}]`;
}

/** Messages with a JSON form of their own. */
const printers = new Map<string, Print>([
  ["google.protobuf.Struct", printStruct],
  ["google.protobuf.Duration", decoded(DurationSchema)],
  ["google.protobuf.Timestamp", decoded(TimestampSchema)],
]);

function decoded(schema: typeof DurationSchema | typeof TimestampSchema): Print {
  return ({ buffer, at, end }) =>
    JSON.stringify(toJson(schema, fromBinary<typeof schema>(schema, buffer.subarray(at, end))));
}

const response = printerOf(PullChangesResponseSchema) as (cursor: Cursor) => string;

/** The bytes a length goes before; the cursor moves past them. */
function within(cursor: Cursor): Cursor {
  const length = varint(cursor);
  const { at } = cursor;
  cursor.at = at + length;
  return { buffer: cursor.buffer, at, end: at + length };
}

/** ASCII, which most text is, is read as Latin-1: several times faster. */
function text({ buffer, at, end }: Cursor): string {
  if (end - at > ASCII_BYTES_MAX) return buffer.toString("utf8", at, end);
  for (let i = at; i < end; i++) if ((buffer[i] ?? 0) >= 0x80) return buffer.toString("utf8", at, end);
  return buffer.toString("latin1", at, end);
}

const ASCII_BYTES_MAX = 64;

/** A non-negative number below 2^53. */
function varint(cursor: Cursor): number {
  let value = 0;
  let scale = 1;
  for (;;) {
    const byte = cursor.buffer[cursor.at++] ?? 0;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
    scale *= 128;
  }
}

function varint64(cursor: Cursor): bigint {
  let value = 0n;
  let shift = 0n;
  for (;;) {
    const byte = cursor.buffer[cursor.at++] ?? 0;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return BigInt.asIntN(64, value);
    shift += 7n;
  }
}
