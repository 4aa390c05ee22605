// Records in protobuf's JSON form, by proto JSON names: what clients get that ask for it.
import { fromBinary, fromJson, type JsonObject, toBinary, toJson } from "@bufbuild/protobuf";
import { StructSchema } from "@bufbuild/protobuf/wkt";
import { invariant } from "../model/invariant.ts";
import { setKey } from "./bson-value.ts";
import type { Collection } from "./collection.ts";

/** The contract's limit for a record in JSON form. */
const JSON_BYTES_MAX = 3_145_728;

/** JSON text is at most 8 times its Struct: control characters take 6 bytes each. */
const SURELY_SMALL_STRUCT_BYTES = JSON_BYTES_MAX / 8;

/** No schema spells out protobuf to more than 48 times its size; from here on it is measured. */
const SURELY_SMALL_RECORD_BYTES = JSON_BYTES_MAX / 48;

/** A google.protobuf.Struct in binary form; undefined: larger than the contract lets JSON be. */
export function structBytes(json: JsonObject): Uint8Array | undefined {
  const bytes = toBinary(StructSchema, fromJson(StructSchema, json));
  if (bytes.length <= SURELY_SMALL_STRUCT_BYTES) return bytes;
  return Buffer.byteLength(JSON.stringify(json)) <= JSON_BYTES_MAX && bytes.length <= JSON_BYTES_MAX
    ? bytes
    : undefined;
}

/** Whether clients of the JSON form can't be sent this record. */
export function isTooLargeForJson(collection: Collection, record: Uint8Array): boolean {
  if (record.length <= SURELY_SMALL_RECORD_BYTES) return false;
  return structBytes(recordToJson(collection, record)) === undefined;
}

/** A whole record; fields at their default are left out. */
export function recordToJson(collection: Collection, record: Uint8Array): JsonObject {
  const { message, registry } = collection;
  const json = toJson(message, fromBinary(message, record), { registry });
  invariant(typeof json === "object" && json !== null && !Array.isArray(json), "a record is a JSON object");
  return json;
}

/**
 * The changed fields alone; one at its default is null, which clears it. Numbers the schema doesn't have are left out.
 * @param record the whole record, or a delta that has at least these fields.
 */
export function deltaToJson(
  collection: Collection,
  record: Uint8Array,
  changed: readonly number[],
): JsonObject {
  const whole = recordToJson(collection, record);
  const names = new Map(collection.message.fields.map(({ number, jsonName }) => [number, jsonName]));
  const delta: JsonObject = {};
  for (const number of changed) {
    const name = names.get(number);
    // jsonName can be anything that [json_name = ...] can hold, `__proto__` included.
    if (name !== undefined) setKey(delta, name, Object.hasOwn(whole, name) ? (whole[name] ?? null) : null);
  }
  return delta;
}
