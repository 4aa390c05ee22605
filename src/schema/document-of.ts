// The way back: a record's message to the document it stands for. What has implicit presence is always written, zeros
// and empty lists too, so that other programs can query for them; what has explicit presence only when it is set.
import { type Message, toJson } from "@bufbuild/protobuf";
import { isReflectMessage, type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import type { Document } from "bson";
import { invariant } from "../model/invariant.ts";
import type { JsonValue } from "../model/record-form.ts";
import { setKey } from "./bson-value.ts";
import type { Collection } from "./collection.ts";
import { fieldDesc } from "./field-desc.ts";
import type { FieldShape, ValueShape } from "./shape.ts";
import { LONE_SURROGATE } from "./text-leaf.ts";
import { UnfitDocument } from "./unfit-document.ts";

/**
 * The whole document of a new record, without `_id`.
 * @param message of `collection.message`.
 * @throws UnfitDocument where a value has no place in a document; never for a message `readPushed` gave.
 */
export function documentOf(collection: Collection, message: Message): Document {
  const fields = collection.shape.fields.filter((field) => field !== collection.idShape);
  return documentOfFields(fields, reflect(collection.message, message));
}

function documentOfFields(fields: readonly FieldShape[], message: ReflectMessage): Document {
  const document: Document = {};
  for (const field of fields) {
    const value = field.hidden ? undefined : bsonOfField(field, message);
    if (value !== undefined) setKey(document, field.key, value);
  }
  return document;
}

/** A field's value in a document; undefined: absence. @throws UnfitDocument, its path in proto names. */
export function bsonOfField(field: FieldShape, message: ReflectMessage): unknown {
  const desc = fieldDesc(message.desc, field.number);
  try {
    if (desc.fieldKind === "list") {
      return Array.from(message.get(desc), (element, index) =>
        inStep(`[${index}]`, () => bsonOf(field.value, element)),
      );
    }
    if (desc.fieldKind === "map") {
      const document: Document = {};
      for (const [key, element] of message.get(desc)) {
        const text = documentKey(String(key));
        setKey(
          document,
          text,
          inStep(`[${JSON.stringify(text)}]`, () => bsonOf(field.value, element)),
        );
      }
      return document;
    }
    if (!isThere(field, message.isSet(desc))) return undefined;
    // Null is absence everywhere but inside free-form values.
    return bsonOf(field.value, message.get(desc)) ?? undefined;
  } catch (error) {
    throw error instanceof UnfitDocument ? error.under(field.name) : error;
  }
}

function isThere({ cardinality, value }: FieldShape, isSet: boolean): boolean {
  if (isSet || cardinality === "explicit") return isSet;
  return "leaf" in value && !value.leaf.zeroIsAbsence;
}

function inStep<T>(step: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw error instanceof UnfitDocument ? error.under(step) : error;
  }
}

/** @param value as reflection gives it: a scalar, an enum's number, or a message. */
function bsonOf(shape: ValueShape, value: unknown): unknown {
  if ("leaf" in shape) return shape.leaf.toBson(value);
  invariant(isReflectMessage(value), "reflection wraps messages");
  if (shape.kind === "wrapper") return shape.inner.leaf.toBson(onlyField(value));
  if (shape.kind === "timestamp") return dateOf(value);
  return shape.kind === "free" ? freeFormOf(value) : documentOfFields(shape.shape.fields, value);
}

function onlyField(message: ReflectMessage): unknown {
  return message.get(fieldDesc(message.desc, 1));
}

const SECONDS_MIN = -62_135_596_800n;
const SECONDS_MAX = 253_402_300_799n;

/** Finer than milliseconds is cut off: the database keeps no more. */
function dateOf(message: ReflectMessage): Date {
  const { seconds, nanos } = message.message as Message & {
    readonly seconds: bigint;
    readonly nanos: number;
  };
  if (seconds < SECONDS_MIN || seconds > SECONDS_MAX || nanos < 0 || nanos > 999_999_999) {
    throw new UnfitDocument("the Timestamp is not between the years 1 and 9999");
  }
  return new Date(Number(seconds) * 1000 + Math.floor(nanos / 1_000_000));
}

function freeFormOf({ desc, message }: ReflectMessage): unknown {
  return bsonOfJson(jsonOf(() => toJson(desc, message)));
}

/** A Value that is NaN, infinite or without a kind has no JSON. */
function jsonOf(convert: () => JsonValue): JsonValue {
  try {
    return convert();
  } catch (error) {
    throw new UnfitDocument(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

function bsonOfJson(json: JsonValue): unknown {
  if (typeof json === "string") return wellFormed(json);
  if (typeof json === "number") return json + 0;
  if (Array.isArray(json)) return json.map(bsonOfJson);
  if (typeof json !== "object" || json === null) return json;
  const document: Document = {};
  for (const [key, value] of Object.entries(json)) setKey(document, documentKey(key), bsonOfJson(value));
  return document;
}

/** Keys of maps and free-form values; drivers take `_bsontype` for something else. */
function documentKey(key: string): string {
  if (key === "_bsontype" || key.includes("\0")) {
    throw new UnfitDocument("a key must not be `_bsontype`, nor hold NUL");
  }
  return wellFormed(key);
}

function wellFormed(text: string): string {
  if (!text.isWellFormed()) throw new UnfitDocument(LONE_SURROGATE);
  return text;
}
