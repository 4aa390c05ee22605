// Random values for the fields of merge.proto, from small stocks, so that clients often come to the same; and as BSON,
// for writers past Tidemark.
import { Double, Int32, Long } from "mongodb";
import type { JsonObject, JsonValue } from "../../src/model/record-form.ts";
import type { Random } from "../support/random.ts";
import { absentOf, empty, FIELDS, fieldNamed, type RefField, type Values } from "./reference-fields.ts";

export const OWNER = "ana";
const WORDS = ["a", "b", "c", "d", "e"];
const COLORS = ["RED", "GREEN", "BLUE"];
const START_MS = 1_700_000_000_000;

/** Those clients may set, but for what puts the record in a scope. */
export const EDITABLE = FIELDS.filter(({ name, stamp }) => stamp === undefined && name !== "ownerId");

/** A value an edit may come to, from the one it was made on; most often another. */
export function nextValue(field: RefField, from: JsonValue, random: Random): JsonValue {
  if (field.many === "optional" && random.below(4) === 0) return null;
  if (field.many === "list" && field.kind !== "message") return nextSet(field, from as JsonValue[], random);
  if (field.many === "list") return stock(random.below(3), () => nextOne(field, null, random));
  if (field.many === "map") {
    return Object.fromEntries(stock(random.below(3), () => [random.of(WORDS), random.of(WORDS)] as const));
  }
  if (field.rule === "COUNTER") return counted(field, from, random);
  return nextOne(field, from, random);
}

function stock<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make);
}

function nextSet(field: RefField, from: readonly JsonValue[], random: Random): JsonValue[] {
  const kept = from.filter(() => random.below(4) > 0);
  const added = stock(random.below(3), () => nextOne(field, null, random));
  return [...new Set([...kept, ...added])];
}

function counted({ kind, many }: RefField, from: JsonValue, random: Random): JsonValue {
  const isHuge = random.below(40) === 0;
  if (kind === "double") return Number(from ?? 0) + (random.below(40) - 15) / 4;
  const huge = kind === "int32" ? 2_000_000_000n : 9_000_000_000_000_000_000n;
  const delta = BigInt(random.below(9) - 3);
  const [width, sum] = [
    kind === "int32" ? 32 : 64,
    BigInt((from ?? 0) as string | number) + (isHuge ? huge : delta),
  ] as const;
  const next = BigInt.asIntN(width, sum);
  if (many === "optional" && random.below(8) === 0) return null;
  return kind === "int32" ? Number(next) : String(next);
}

function nextOne(field: RefField, from: JsonValue, random: Random): JsonValue {
  switch (field.kind) {
    case "message":
      return random.below(5) === 0 && field.many === "one" ? null : nextMessage(field.fields, from, random);
    case "oneof":
      return nextMember(field, from as JsonObject | null, random);
    case "time":
      return random.below(6) === 0 && field.many === "one" ? null : START_MS + random.below(9) * 1000;
    case "int32":
      return random.below(10);
    case "int64":
      return String(random.below(10));
    case "double":
      return random.below(8) === 0 ? "NaN" : random.below(20) / 4;
    case "enum":
      return random.of(COLORS);
    case "string":
      return field.name === "last" && random.below(10) === 0 ? "too long ".repeat(4) : random.of(WORDS);
  }
}

function nextMessage(fields: readonly RefField[], from: JsonValue, random: Random): JsonObject {
  const next: JsonObject = { ...((from ?? empty(fields)) as JsonObject) };
  for (let change = 0; change <= random.below(3); change++) {
    const field = random.of(fields);
    next[field.name] = nextValue(field, next[field.name] ?? absentOf(field), random);
  }
  return next;
}

function nextMember({ fields }: RefField, from: JsonObject | null, random: Random): JsonValue {
  if (random.below(5) === 0) return null;
  const member = random.of(fields);
  let value: JsonValue = null;
  while (value === null) value = nextValue(member, from?.[member.name] ?? null, random);
  return { [member.name]: value };
}

/** A whole new record, with a few fields set. */
export function newValues(random: Random): Values {
  const values: Record<string, JsonValue> = { ...empty(), ownerId: OWNER };
  for (let change = 0; change < 2 + random.below(8); change++) {
    const field = random.of(EDITABLE);
    const next = nextValue(field, absentOf(field), random);
    if (field.name !== "last" || String(next).length < 9) values[field.name] = next;
  }
  return values;
}

/** Of one field, key by key; undefined: the key is to go. */
export function bsonOf(name: string, value: JsonValue): Record<string, unknown> {
  const field = fieldNamed(name);
  if (field.kind !== "oneof") return { [name]: bsonValue(field, value) };
  const members = field.fields.map((member) => {
    const set = (value as JsonObject | null)?.[member.name] ?? null;
    return [member.name, bsonValue(member, set)];
  });
  return Object.fromEntries(members);
}

function bsonValue(field: RefField, value: JsonValue): unknown {
  if (value === null) return undefined;
  if (field.many === "list") return (value as JsonValue[]).map((each) => bsonOne(field, each));
  return field.many === "map" ? value : bsonOne(field, value);
}

function bsonOne({ kind, fields }: RefField, value: JsonValue): unknown {
  switch (kind) {
    case "message": {
      const entries = fields.map((field) => [
        field.name,
        bsonValue(field, (value as JsonObject)[field.name] ?? null),
      ]);
      return Object.fromEntries(entries.filter(([, each]) => each !== undefined));
    }
    case "time":
      return new Date(value as number);
    case "int32":
      return new Int32(Number(value));
    case "int64":
      return Long.fromString(String(value));
    case "double":
      return new Double(Number(value));
    default:
      return value;
  }
}
