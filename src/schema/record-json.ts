// Records in protobuf's JSON form, by proto JSON names: what clients get that ask for it.
import { fromBinary, type JsonObject, toJson } from "@bufbuild/protobuf";
import { invariant } from "../model/invariant.ts";
import { setKey } from "./bson-value.ts";
import type { Collection } from "./collection.ts";

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
