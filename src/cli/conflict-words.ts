// What happened to one field both sides had changed, in a sentence: which values met, and which rule decided.
import { create, type JsonValue, ScalarType, toJson } from "@bufbuild/protobuf";
import type { LedgerConflict, LedgerEntry } from "../model/ledger-entry.ts";
import type { RecordForm } from "../model/record-form.ts";
import type { Collection, Field } from "../schema/collection.ts";

const VALUE_LENGTH_MAX = 80;

/** @param conflict of the entry, with values in JSON form. */
export function conflictLine(
  collection: Collection,
  { kind, receipt }: Pick<LedgerEntry, "kind" | "receipt">,
  conflict: LedgerConflict,
): string {
  const { name } = conflict;
  const field = collection.fieldsByNumber.get(conflict.field);
  if (field === undefined) return name;
  const [base, current, proposed] = [conflict.base, conflict.current, conflict.proposed].map((side) =>
    valueIn(collection, field, side),
  );
  const [had, there, wanted] = [base, current, proposed].map((value) => shown(field, value));
  if (kind === "delete") return `${name}: was ${there}; the client had seen ${had}`;
  if (kind === "create") return `${name}: is ${there}; the client wanted ${wanted}`;
  if (receipt.outcome === "CONFLICT") {
    const refused = field.merge === "REJECT" ? ", which its rule REJECT refuses" : "";
    return `${name}: had become ${there}; the client had seen ${had} and wanted ${wanted}${refused}`;
  }
  if (isMessage(field) && hasFields(current) && hasFields(proposed)) {
    return `${name}: had become ${there}, the client wanted ${wanted}; merged field by field`;
  }
  switch (field.merge) {
    case "LAST_WRITER":
      return `${name}: ${wanted} replaced ${there}, which the client had not seen`;
    case "SERVER_WINS":
      return `${name}: ${there} stayed, for the server's value wins; ${wanted} was not written`;
    case "REJECT":
      return `${name}: had become ${there}; the client wanted ${wanted}`;
    case "COUNTER":
      return `${name}: counted ${had} → ${wanted} onto ${there}`;
    case "MAX":
      return `${name}: the larger holds, of ${there} there and ${wanted} asked`;
    case "MIN":
      return `${name}: the smaller holds, of ${there} there and ${wanted} asked`;
    case "SET":
      return `${name}: ${setEdit(base, proposed)} ${there}`;
  }
}

/** Undefined: unknown; null: none. */
type Value = JsonValue | undefined;

function valueIn({ message, registry }: Collection, { number }: Field, side: RecordForm | undefined): Value {
  const name = message.fields.find((field) => field.number === number)?.jsonName;
  if (side?.form !== "JSON" || name === undefined) return undefined;
  if (Object.hasOwn(side.json, name)) return side.json[name];
  const defaults = toJson(message, create(message), { registry, alwaysEmitImplicit: true });
  return typeof defaults === "object" && defaults !== null && !Array.isArray(defaults)
    ? (defaults[name] ?? null)
    : null;
}

function shown(field: Field, value: Value): string {
  if (value === undefined) return "a value that is not known any more";
  if (value === null) return "nothing";
  // JSON form writes 64-bit numbers, enums and times as text.
  return cut(typeof value === "string" && !isText(field) ? value : JSON.stringify(value));
}

function isText({ shape: { value } }: Field): boolean {
  return value.kind === "free" || (value.kind === "scalar" && value.scalar === ScalarType.STRING);
}

function isMessage({ shape }: Field): boolean {
  return shape.value.kind === "message" && shape.cardinality === "explicit";
}

function hasFields(value: Value): boolean {
  return typeof value === "object" && value !== null;
}

/** What the client added and took away, up to a preposition that what was there follows. */
function setEdit(base: Value, proposed: Value): string {
  if (!Array.isArray(base) || !Array.isArray(proposed))
    return "what the client added and took away, on top of";
  const texts = (list: readonly JsonValue[]) => [...new Set(list.map((each) => JSON.stringify(each)))];
  const [before, after] = [texts(base), texts(proposed)];
  const added = cut(after.filter((each) => !before.includes(each)).join(", "));
  const taken = cut(before.filter((each) => !after.includes(each)).join(", "));
  const edits = [added && `added ${added}`, taken && `took away ${taken}`].filter((edit) => edit !== "");
  return `${edits.join(" and ")}, on top of`;
}

function cut(text: string): string {
  return text.length > VALUE_LENGTH_MAX ? `${text.slice(0, VALUE_LENGTH_MAX)}…` : text;
}
