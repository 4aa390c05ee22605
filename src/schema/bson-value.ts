// Tells the kinds of BSON values apart, as the driver gives them with `sourceReadOptions` or as anyone builds them:
// classes are told by `_bsontype`, so that a second copy of the bson package does no harm.
import type { Document } from "bson";

/**
 * How documents of the source must be read: int64 exact, binary with its subtype. What JavaScript lacks (some regular
 * expressions, bytes that are not UTF-8) doesn't make decoding throw; a regular expression with flags that not even
 * BSON knows still does.
 */
export const sourceReadOptions = {
  useBigInt64: true,
  promoteLongs: true,
  promoteValues: true,
  promoteBuffers: false,
  bsonRegExp: true,
  enableUtf8Validation: false,
} as const;

/** An embedded document: a plain object, not an instance of a BSON class. */
export function isDocument(value: unknown): value is Document {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The class of a BSON value: `ObjectId`, `Binary`, `Decimal128`…; undefined for everything else. */
export function bsonClassOf(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || isDocument(value)) return undefined;
  const name: unknown = "_bsontype" in value ? value._bsontype : undefined;
  return typeof name === "string" ? name : undefined;
}

/** The bytes of a Binary of one of these subtypes, or of a bare Uint8Array where 0 is among them. */
export function binaryOf(value: unknown, subtypes: readonly number[]): Uint8Array | undefined {
  if (value instanceof Uint8Array) return subtypes.includes(0) ? value : undefined;
  if (bsonClassOf(value) !== "Binary") return undefined;
  const { buffer, position, sub_type } = value as { buffer: Uint8Array; position: number; sub_type: number };
  return subtypes.includes(sub_type) ? buffer.subarray(0, position) : undefined;
}

/** Reads a key of a document; inherited properties don't count. Compiled once per key. */
export function readerOf(key: string): (document: Document) => unknown {
  if (key in Object.prototype)
    return (document) => (Object.hasOwn(document, key) ? document[key] : undefined);
  return (document) => document[key];
}

/** Sets a key of a document, whatever its name. */
export function setKey(document: Document, key: string, value: unknown): void {
  if (key === "__proto__") {
    Object.defineProperty(document, key, { value, writable: true, enumerable: true, configurable: true });
  } else document[key] = value;
}

/** The kind of a value, for reasons: `a string`, `an array`, `an ObjectId`. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return "an array";
  if (isDocument(value)) return "a document";
  if (value instanceof Date) return "a date";
  if (value instanceof Uint8Array) return "binary data";
  const name = bsonClassOf(value) ?? typeof value;
  if (name === "bigint" || name === "Long") return "a 64-bit integer";
  if (name === "Binary") return `binary data of subtype ${(value as { sub_type: number }).sub_type}`;
  return `${/^[AEIOUaeiou]/.test(name) ? "an" : "a"} ${name}`;
}
