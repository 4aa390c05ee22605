// What JSON form carries: records up to the contract's size, and, being a Struct within a response, nested no deeper than
// every protobuf runtime reads: each JSON object takes three levels there, each array two.
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { Collection } from "./collection.ts";
import { recordToJson } from "./record-json.ts";
import type { FieldShape, MessageShape } from "./shape.ts";
import { structBytesOf } from "./struct-bytes.ts";

/** The contract's limit for a record in JSON form. */
const JSON_BYTES_MAX = 3_145_728;

/** JSON text is at most 8 times its Struct: control characters take 6 bytes each. */
const SURELY_SMALL_STRUCT_BYTES = JSON_BYTES_MAX / 8;

/** No schema spells out protobuf to more than 48 times its size; from here on it is measured. */
const SURELY_SMALL_RECORD_BYTES = JSON_BYTES_MAX / 48;

/** Of the 100 levels clients read by default, six lie around a record: a page's, its frame's, down to the Record. */
const STRUCT_LEVELS_MAX = 94;

/** A google.protobuf.Struct in binary form; undefined: more, or deeper, than JSON form carries. */
export function structBytes(json: JsonObject): Uint8Array | undefined {
  if (levelsOf(json) > STRUCT_LEVELS_MAX) return undefined;
  const bytes = structBytesOf(json);
  if (bytes.length <= SURELY_SMALL_STRUCT_BYTES) return bytes;
  return Buffer.byteLength(JSON.stringify(json)) <= JSON_BYTES_MAX && bytes.length <= JSON_BYTES_MAX
    ? bytes
    : undefined;
}

/** Whether clients of the JSON form can't be sent this record. */
export function isBeyondJson(collection: Collection, record: Uint8Array): boolean {
  if (record.length <= SURELY_SMALL_RECORD_BYTES && !mayBeDeep(collection.shape)) return false;
  return structBytes(recordToJson(collection, record)) === undefined;
}

/** Levels of messages a JSON value takes as a Struct, or within a Value. */
function levelsOf(json: JsonValue): number {
  if (typeof json !== "object" || json === null) return 0;
  const own = Array.isArray(json) ? LIST_LEVELS : OBJECT_LEVELS;
  let deepest = 0;
  for (const value of Object.values(json)) deepest = Math.max(deepest, levelsOf(value));
  return own + deepest;
}

/** Struct, its entry, the Value in it. */
const OBJECT_LEVELS = 3;
/** ListValue and the Value in it. */
const LIST_LEVELS = 2;

const deepShapes = new WeakMap<MessageShape, boolean>();

/** Whether the type allows more levels than JSON form carries: spares most schemas the measuring. */
function mayBeDeep(shape: MessageShape): boolean {
  const known = deepShapes.get(shape) ?? levelsOfShape(shape, []) > STRUCT_LEVELS_MAX;
  deepShapes.set(shape, known);
  return known;
}

function levelsOfShape(shape: MessageShape, around: readonly MessageShape[]): number {
  if (around.includes(shape) || around.length > STRUCT_LEVELS_MAX) return Number.POSITIVE_INFINITY;
  return (
    OBJECT_LEVELS + Math.max(0, ...shape.fields.map((field) => levelsOfField(field, [...around, shape])))
  );
}

function levelsOfField({ value, cardinality }: FieldShape, around: readonly MessageShape[]): number {
  if (value.kind === "free") return Number.POSITIVE_INFINITY;
  const own = cardinality === "list" ? LIST_LEVELS : cardinality === "map" ? OBJECT_LEVELS : 0;
  return own + (value.kind === "message" ? levelsOfShape(value.shape, around) : 0);
}
