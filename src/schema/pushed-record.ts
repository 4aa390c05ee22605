// Records as clients push them: read from either form, and refused with every violation where they don't fit.
// What they may not set (hidden fields) is unknown here, exactly as a field nobody ever declared.
import { create, fromBinary, type JsonObject, type Message, mergeFromJson } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import type { RecordForm } from "../model/record-form.ts";
import type { Violation } from "../model/sync-error.ts";
import type { Collection } from "./collection.ts";
import { bsonOfField } from "./document-of.ts";
import { encodeShape } from "./encode-document.ts";
import { fieldDesc } from "./field-desc.ts";
import type { FieldShape } from "./shape.ts";
import { UnfitDocument } from "./unfit-document.ts";
import { unknownFields } from "./unknown-fields.ts";

export interface PushedRecord {
  /** Of `collection.message`. */
  readonly message: Message;
  /** Field numbers, ascending, `id` among them. JSON: the keys present, null included; PROTO: the fields set. */
  readonly keys: readonly number[];
  readonly fields: FieldBytes;
}

/** By number: canonical bytes of the fields that are set, `id` apart; what is absent has none. */
export type FieldBytes = ReadonlyMap<number, Uint8Array>;

/** A pushed record doesn't fit its message. */
export class MisfitRecord extends Error {
  override readonly name = "MisfitRecord";
  readonly violations: readonly Violation[];

  constructor(violations: readonly Violation[], options?: ErrorOptions) {
    super(violations.map(({ path, message }) => `${path}: ${message}`).join("\n"), options);
    this.violations = violations.slice(0, VIOLATIONS_MAX);
  }
}

/** More help nobody. */
const VIOLATIONS_MAX = 100;

/** @throws MisfitRecord: not of the message, fields nobody declared, or values a document can't hold. */
export function readPushed(collection: Collection, record: RecordForm): PushedRecord {
  const pushed =
    record.form === "PROTO" ? readBytes(collection, record.bytes) : readJson(collection, record.json);
  const message = reflect(collection.message, pushed.message);
  const fields = new Map<number, Uint8Array>();
  const violations = [...unknownFields(message), ...readFields(collection, message, fields)];
  if (violations.length > 0) throw new MisfitRecord(violations);
  return { ...pushed, fields };
}

type Decoded = Omit<PushedRecord, "fields">;

function readBytes({ message: desc }: Collection, bytes: Uint8Array): Decoded {
  const message = decode(() => fromBinary(desc, bytes), desc.typeName);
  const set = reflect(desc, message);
  return {
    message,
    keys: ascending(desc.fields.filter((field) => set.isSet(field)).map(({ number }) => number)),
  };
}

function decode(read: () => Message, typeName: string): Message {
  try {
    return read();
  } catch (cause) {
    const violation = { path: "", ruleId: "malformed", message: `these bytes are no ${typeName}` };
    throw new MisfitRecord([violation], { cause });
  }
}

/** Field by field, so that each fault is told with its field. */
function readJson({ message: desc, registry }: Collection, json: JsonObject): Decoded {
  const message = create(desc);
  const byName = new Map(
    desc.fields.flatMap((field) => [field.name, field.jsonName].map((name) => [name, field])),
  );
  const keys = new Set<number>();
  const oneofs = new Set<string>();
  const violations: Violation[] = [];
  for (const [key, value] of Object.entries(json)) {
    const field = byName.get(key);
    if (field === undefined) {
      violations.push({ path: key, ruleId: "unknown_field", message: "no such field: leave it out" });
      continue;
    }
    const fault = (ruleId: string, text: string) =>
      violations.push({ path: field.name, ruleId, message: text });
    if (keys.has(field.number)) fault("duplicate_field", "the field is there twice, by both its names");
    keys.add(field.number);
    if (value === null) continue;
    if (field.oneof !== undefined && oneofs.has(field.oneof.name)) {
      fault("oneof", `another member of ${field.oneof.name} is there already`);
    }
    if (field.oneof !== undefined) oneofs.add(field.oneof.name);
    const problem = errorOf(() => mergeFromJson(desc, message, { [key]: value }, { registry }));
    if (problem !== undefined) fault("type", problem);
  }
  if (violations.length > 0) throw new MisfitRecord(violations);
  return { message, keys: ascending([...keys]) };
}

function errorOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function ascending(numbers: number[]): number[] {
  return numbers.sort((a, b) => a - b);
}

/** What ingest would quarantine, push must not write: each value is tried. What isn't set has nothing to try. */
function readFields(
  { shape, idShape }: Collection,
  message: ReflectMessage,
  into: Map<number, Uint8Array>,
): Violation[] {
  const violations: Violation[] = [];
  for (const field of shape.fields) {
    if (field === idShape || field.hidden || !message.isSet(fieldDesc(message.desc, field.number))) continue;
    try {
      into.set(field.number, bytesOf(field, message));
    } catch (error) {
      if (!(error instanceof UnfitDocument)) throw error;
      violations.push({ path: error.path, ruleId: "unfit", message: error.problem });
    }
  }
  return violations;
}

function bytesOf(field: FieldShape, message: ReflectMessage): Uint8Array {
  const value = bsonOfField(field, message);
  try {
    return encodeShape(field, { [field.key]: value });
  } catch (error) {
    // The path inside is the document's.
    throw error instanceof UnfitDocument ? new UnfitDocument(error.problem).under(field.name) : error;
  }
}
