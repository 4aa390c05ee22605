// Documents of the source as bytes, each decoded by itself: the driver throws on some that MongoDB takes (a regular
// expression with flags BSON doesn't know), and in a whole reply one such document would keep all others from being read.
// Some `_id`s can't be held by JavaScript (text that isn't UTF-8, dates beyond its range): such an odd key can't be
// asked for again and is no record's; the log knows it by its bytes.
import { Binary, BSON, type Document } from "mongodb";
import { bsonClassOf, sourceReadOptions } from "../schema/bson-value.ts";

/** A document, or why it can't be decoded. */
export type SourceDocument = { readonly key: unknown } & (
  | { readonly document: Document }
  | { readonly fault: string }
);

/** Of Binaries that stand for odd keys; a team's own of this subtype is as odd. */
const ODD_SUBTYPE = 0xf7;

/** What a record under an odd key is unfit for. */
export const ODD_KEY_FAULT = "_id: a value that no record id can stand for";

export function sourceDocumentOf(raw: Uint8Array): SourceDocument {
  const document = decoded(raw);
  if (document === undefined) return { key: keyOf(raw), fault: faultOf(raw) };
  const id: unknown = document["_id"];
  return { key: isPlain(id) ? id : keyOf(raw), document };
}

/** An event of the change stream; `documentKey._id` is the key as `sourceDocumentOf` gives it. */
export function eventOf(raw: Uint8Array): Document {
  const whole = decoded(raw);
  if (whole && (whole["documentKey"] === undefined || isPlain(whole["documentKey"]._id))) return whole;
  const event: Document = {};
  for (const { name, value, bytes } of elementsOf(raw)) {
    event[name] = name === "documentKey" ? { _id: keyOf(value) } : BSON.deserialize(bytes, OPTIONS)[NAME];
  }
  return event;
}

export function isOddKey(key: unknown): boolean {
  return bsonClassOf(key) === "Binary" && (key as Binary).sub_type === ODD_SUBTYPE;
}

/** As the driver is told by `sourceReadOptions`. */
const OPTIONS = { ...sourceReadOptions, validation: { utf8: false } };

function decoded(raw: Uint8Array): Document | undefined {
  try {
    return BSON.deserialize(raw, OPTIONS);
  } catch {
    return undefined;
  }
}

const PLAIN_CLASSES: ReadonlySet<unknown> = new Set(["ObjectId", "Binary", "Decimal128", "Long"]);

/** Surely the very same when written again: spares most keys a closer look. */
function isPlain(key: unknown): boolean {
  if (typeof key === "string") return !key.includes("\ufffd");
  if (typeof key !== "object" || key === null) return key !== undefined;
  if (key instanceof Date) return !Number.isNaN(key.getTime());
  return PLAIN_CLASSES.has(bsonClassOf(key)) && !isOddKey(key);
}

function keyOf(raw: Uint8Array): unknown {
  const id = elementsOf(raw).find(({ name }) => name === "_id");
  if (id === undefined) return undefined;
  const key: unknown = isExact(id.bytes) ? BSON.deserialize(id.bytes, OPTIONS)[NAME] : undefined;
  return key === undefined || isOddKey(key) ? new Binary(id.bytes, ODD_SUBTYPE) : key;
}

/** Whether it is the same after being read, however it is read (the log's own reads make RegExps), and written. */
function isExact(bytes: Uint8Array): boolean {
  try {
    const again = BSON.serialize(BSON.deserialize(bytes, { promoteValues: false }));
    return Buffer.compare(again, bytes) === 0;
  } catch {
    return false;
  }
}

function faultOf(raw: Uint8Array): string {
  for (const { name, bytes } of elementsOf(raw)) {
    try {
      BSON.deserialize(bytes, OPTIONS);
    } catch (error) {
      return `${name}: it can't be decoded: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return "it can't be decoded";
}

interface Element {
  readonly name: string;
  /** Its value alone. */
  readonly value: Uint8Array;
  /** A document that has nothing but it, under the name `NAME`. */
  readonly bytes: Uint8Array;
}

const NAME = "v";

function elementsOf(raw: Uint8Array): Element[] {
  const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  return [...BSON.onDemand.parseToElements(bytes)].map(([type, nameAt, nameLength, at, length]) => {
    const value = bytes.subarray(at, at + length);
    return { name: bytes.toString("utf8", nameAt, nameAt + nameLength), value, bytes: alone(type, value) };
  });
}

function alone(type: number, value: Uint8Array): Uint8Array {
  const head = Buffer.from([0, 0, 0, 0, type, NAME.charCodeAt(0), 0]);
  const document = Buffer.concat([head, value, Buffer.alloc(1)]);
  document.writeInt32LE(document.length);
  return document;
}
