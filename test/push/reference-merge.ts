// The declared three-way merge of one field, worked out on plain values and by the words of tidemark/v1/schema.proto
// alone. It is the random test's reference: it shares nothing with the server's own merge.
import type { JsonObject, JsonValue } from "../../src/model/record-form.ts";
import { absentOf, empty, isEqual, type RefField, type Rule } from "./reference-fields.ts";

export interface Three {
  readonly base: JsonValue;
  readonly current: JsonValue;
  readonly proposed: JsonValue;
}

export interface FieldMerge {
  readonly value: JsonValue;
  /** A rule had to decide. */
  readonly met: boolean;
  /** That rule was REJECT. */
  readonly refused: boolean;
}

/** A counter's sum is more than its field holds. */
export class OutOfRange extends Error {
  override readonly name = "OutOfRange";
}

/** @param outer the rule of what holds the field. */
export function mergeField(field: RefField, outer: Rule, three: Three): FieldMerge {
  const { base, current, proposed } = three;
  const rule = field.rule ?? outer;
  if (isEqual(proposed, base)) return settled(current);
  if (isEqual(current, base)) return settled(proposed);
  if (field.kind === "message" && field.many === "one" && current !== null && proposed !== null)
    return mergeMessage(field.fields, rule, three);
  const member = field.kind === "oneof" ? sharedMember(field, current, proposed) : undefined;
  if (member) {
    const merged = mergeMessage(member.fields, rule, {
      base: memberOf(base, member),
      current: memberOf(current, member),
      proposed: memberOf(proposed, member),
    });
    return { ...merged, value: { [member.name]: merged.value } };
  }
  // Only counting goes on when both sides have come to the same.
  if (isEqual(current, proposed) && rule !== "COUNTER") return settled(current);
  return { value: ruled(field, rule, three), met: true, refused: rule === "REJECT" };
}

function settled(value: JsonValue): FieldMerge {
  return { value, met: false, refused: false };
}

function mergeMessage(
  fields: readonly RefField[],
  rule: Rule,
  { base, current, proposed }: Three,
): FieldMerge {
  const sides = [base ?? empty(fields), current, proposed] as JsonObject[];
  const merges = fields.map((field) => {
    const [from, now, to] = sides.map((side) => side[field.name] ?? absentOf(field));
    return mergeField(field, rule, { base: from ?? null, current: now ?? null, proposed: to ?? null });
  });
  return {
    value: Object.fromEntries(fields.map(({ name }, index) => [name, merges[index]?.value ?? null])),
    met: merges.some(({ met }) => met),
    refused: merges.some(({ refused }) => refused),
  };
}

/** The message both sides hold in a oneof. */
function sharedMember(field: RefField, current: JsonValue, proposed: JsonValue): RefField | undefined {
  return field.fields.find(
    (member) =>
      member.kind === "message" && memberOf(current, member) !== null && memberOf(proposed, member) !== null,
  );
}

function memberOf(value: JsonValue, { name }: RefField): JsonValue {
  return (value as JsonObject | null)?.[name] ?? null;
}

function ruled(field: RefField, rule: Rule, { base, current, proposed }: Three): JsonValue {
  switch (rule) {
    case "LAST_WRITER":
      return proposed;
    case "SERVER_WINS":
    case "REJECT":
      return current;
    case "COUNTER":
      return field.kind === "double"
        ? number(current) + (number(proposed) - number(base))
        : whole(field, { base, current, proposed });
    case "MAX":
    case "MIN":
      return extreme(rule, current, proposed);
    case "SET":
      return united(base as JsonValue[], current as JsonValue[], proposed as JsonValue[]);
  }
}

function number(value: JsonValue): number {
  return Number(value ?? 0);
}

function whole({ kind }: RefField, { base, current, proposed }: Three): JsonValue {
  const [from, now, to] = [base, current, proposed].map((value) => BigInt((value ?? 0) as string | number));
  const sum = (now ?? 0n) + (to ?? 0n) - (from ?? 0n);
  if (BigInt.asIntN(kind === "int32" ? 32 : 64, sum) !== sum) throw new OutOfRange(String(sum));
  return kind === "int32" ? Number(sum) : String(sum);
}

function extreme(rule: "MAX" | "MIN", current: JsonValue, proposed: JsonValue): JsonValue {
  const loses = (value: JsonValue) => value === null || value === "NaN";
  if (loses(proposed)) return current;
  if (loses(current)) return proposed;
  const [now, wanted] = [Number(current), Number(proposed)];
  return (rule === "MAX" ? wanted > now : wanted < now) ? proposed : current;
}

function united(
  base: readonly JsonValue[],
  current: readonly JsonValue[],
  proposed: readonly JsonValue[],
): JsonValue {
  const removed = base.filter((element) => !proposed.includes(element));
  const added = proposed.filter((element) => !base.includes(element));
  return [...new Set([...current.filter((element) => !removed.includes(element)), ...added])];
}
