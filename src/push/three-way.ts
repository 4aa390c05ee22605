// The three-way merge of messages, field by field and by value: base as the client saw it, current as the source has it,
// proposed as the client wants it. A nested message merges by its own fields' rules as long as both sides have one;
// members of a oneof are one value, lists and maps too, but for SET. All three come from canonical bytes.
import { clone, type DescField, toBinary } from "@bufbuild/protobuf";
import { isReflectMessage, type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { invariant } from "../model/invariant.ts";
import type { Merge } from "../schema/collection.ts";
import { fieldDesc } from "../schema/field-desc.ts";
import type { FieldShape, MessageShape } from "../schema/shape.ts";
import { counted, extreme, united } from "./merge-values.ts";

export interface Sides {
  readonly base: ReflectMessage;
  readonly current: ReflectMessage;
  readonly proposed: ReflectMessage;
}

/** Fields that merge as one: a field, or the members of a oneof. */
export interface Unit {
  readonly fields: readonly FieldShape[];
  /** What decides where both sides changed it. */
  readonly rule: Merge;
}

export interface UnitMerge {
  /** Current, with the unit as it should be. */
  readonly merged: ReflectMessage;
  /** Both sides had changed something of it, differently: a rule decided. */
  readonly isConflict: boolean;
  /** The rule was REJECT. */
  readonly isRejected: boolean;
}

/** @throws Refused where a sum is more than its field holds. */
export function mergeUnit(unit: Unit, sides: Sides): UnitMerge {
  const { desc, message } = sides.current;
  const merging: Merging = {
    merged: reflect(desc, clone(desc, message)),
    isConflict: false,
    isRejected: false,
  };
  merge(unit, sides, merging);
  return merging;
}

interface Merging {
  readonly merged: ReflectMessage;
  isConflict: boolean;
  isRejected: boolean;
}

function merge(unit: Unit, sides: Sides, into: Merging): void {
  const { base, current, proposed } = sides;
  if (same(unit, base, proposed)) return;
  if (same(unit, base, current)) {
    take(unit, proposed, into.merged);
    return;
  }
  const nested = sharedMessage(unit, sides);
  if (nested) mergeNested(nested, unit.rule, sides, into);
  else decide(unit, sides, into);
}

/** The nested message both sides have. */
function sharedMessage({ fields }: Unit, { current, proposed }: Sides): FieldShape | undefined {
  return fields.find(
    (field) =>
      field.value.kind === "message" &&
      field.cardinality === "explicit" &&
      current.isSet(descOf(current, field)) &&
      proposed.isSet(descOf(proposed, field)),
  );
}

function mergeNested(field: FieldShape, rule: Merge, sides: Sides, into: Merging): void {
  invariant(field.value.kind === "message", "only messages are merged within");
  const inner = {
    base: nestedOf(sides.base, field),
    current: nestedOf(sides.current, field),
    proposed: nestedOf(sides.proposed, field),
  };
  const result: Merging = { merged: nestedOf(into.merged, field), isConflict: false, isRejected: false };
  for (const unit of unitsOf(field.value.shape, rule)) merge(unit, inner, result);
  into.merged.set(descOf(into.merged, field), result.merged);
  into.isConflict ||= result.isConflict;
  into.isRejected ||= result.isRejected;
}

function unitsOf({ fields }: MessageShape, inherited: Merge): Unit[] {
  const visible = fields.filter(({ hidden }) => !hidden);
  const units = Map.groupBy(visible, (field) => field.oneof ?? field);
  return [...units.values()].map((members) => ({ fields: members, rule: members[0]?.merge ?? inherited }));
}

function decide(unit: Unit, sides: Sides, into: Merging): void {
  const { current, proposed } = sides;
  const [field] = unit.fields;
  invariant(field, "a unit has a field");
  const isSame = same(unit, current, proposed);
  // Two who counted the same still counted twice.
  into.isConflict ||= !isSame || unit.rule === "COUNTER";
  switch (unit.rule) {
    case "COUNTER":
      into.merged.set(descOf(current, field), counted(field, valuesOf(field, sides)));
      return;
    case "SET":
      setList(field, sides, into.merged);
      return;
    case "MAX":
    case "MIN":
      if (extreme(unit.rule, valuesOf(field, sides)) === "proposed") take(unit, proposed, into.merged);
      return;
    case "LAST_WRITER":
      take(unit, proposed, into.merged);
      return;
    case "SERVER_WINS":
      return;
    case "REJECT":
      into.isRejected ||= !isSame;
      return;
  }
}

function valuesOf(field: FieldShape, { base, current, proposed }: Sides) {
  return { base: valueIn(base, field), current: valueIn(current, field), proposed: valueIn(proposed, field) };
}

/** Of implicit presence, zero is a value; of explicit presence, absence is undefined. */
function valueIn(message: ReflectMessage, field: FieldShape): unknown {
  const desc = descOf(message, field);
  return field.cardinality === "implicit" || message.isSet(desc) ? message.get(desc) : undefined;
}

function setList(field: FieldShape, { base, current, proposed }: Sides, merged: ReflectMessage): void {
  const elements = united({
    base: listOf(base, field),
    current: listOf(current, field),
    proposed: listOf(proposed, field),
  });
  const list = listOf(merged, field);
  list.clear();
  for (const element of elements) list.add(element);
}

function listOf(message: ReflectMessage, field: FieldShape) {
  const desc = descOf(message, field);
  invariant(desc.fieldKind === "list", "SET is for lists");
  return message.get(desc);
}

function take({ fields }: Unit, from: ReflectMessage, to: ReflectMessage): void {
  for (const field of fields) to.clear(descOf(to, field));
  for (const field of fields) {
    const desc = descOf(from, field);
    if (from.isSet(desc)) to.set(desc, from.get(desc));
  }
}

function same({ fields }: Unit, a: ReflectMessage, b: ReflectMessage): boolean {
  return fields.every((field) => Buffer.compare(bytesOf(a, field), bytesOf(b, field)) === 0);
}

/** Equal for equal values: they were decoded from canonical bytes. */
function bytesOf(message: ReflectMessage, field: FieldShape): Uint8Array {
  const desc = descOf(message, field);
  const alone = reflect(message.desc);
  if (message.isSet(desc)) alone.set(desc, message.get(desc));
  return toBinary(alone.desc, alone.message);
}

/** An absent one reads as empty. */
function nestedOf(message: ReflectMessage, field: FieldShape): ReflectMessage {
  const nested: unknown = message.get(descOf(message, field));
  invariant(isReflectMessage(nested), "a nested message is a message");
  return nested;
}

function descOf(message: ReflectMessage, field: FieldShape): DescField {
  return fieldDesc(message.desc, field.number);
}
