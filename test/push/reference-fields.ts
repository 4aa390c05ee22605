// The fields of merge.proto once more, as plain data, and records as plain JSON values: what the reference decides by.
// A value has one form however it came: an absent one is null where the field has presence, else its zero; Timestamps
// are milliseconds, int64 digits, enums names without prefix, and a oneof is one field, of the member that is set.
import type { JsonObject, JsonValue } from "../../src/model/record-form.ts";

export type Rule = "LAST_WRITER" | "SERVER_WINS" | "REJECT" | "COUNTER" | "MAX" | "MIN" | "SET";
export type Deletes = "DELETE_WINS" | "EDIT_WINS" | "REJECT";

export interface RefField {
  readonly name: string;
  /** In merge.proto; of a oneof: none. */
  readonly number: number;
  readonly kind: "string" | "int32" | "int64" | "double" | "time" | "enum" | "message" | "oneof";
  readonly many: "one" | "optional" | "list" | "map";
  readonly rule: Rule | undefined;
  /** Of a message or oneof. */
  readonly fields: readonly RefField[];
  readonly stamp: "made" | "written" | undefined;
}

export interface RefCollection {
  readonly name: string;
  readonly rule: Rule;
  readonly deletes: Deletes;
}

/** Field by field, all of them. */
export type Values = { readonly [name: string]: JsonValue };

export const COLLECTIONS: readonly RefCollection[] = [
  { name: "loose", rule: "LAST_WRITER", deletes: "DELETE_WINS" },
  { name: "lasting", rule: "SERVER_WINS", deletes: "EDIT_WINS" },
  { name: "strict", rule: "REJECT", deletes: "REJECT" },
];

/** `string.max_len` of the field `last`. */
export const LAST_LENGTH_MAX = 24;
const ENUM_PREFIX = "KIND_";

type More = Partial<RefField>;

/** A singular field with implicit presence, unless `more` says otherwise. */
function field(number: number, name: string, kind: RefField["kind"], more: Rule | More = {}): RefField {
  const given = typeof more === "string" ? { rule: more } : more;
  return { number, name, kind, rule: undefined, many: "one", fields: [], stamp: undefined, ...given };
}

const INNER = [
  field(1, "a", "string"),
  field(2, "b", "int32", "MAX"),
  field(3, "c", "string", { many: "optional" }),
];
const PLACE = [
  field(1, "name", "string"),
  field(2, "visits", "int32", "COUNTER"),
  field(3, "names", "string", { rule: "SET", many: "list" }),
  field(4, "inner", "message", { fields: INNER }),
  field(5, "sealed", "message", { rule: "REJECT", fields: INNER }),
];
const PLAIN = [field(1, "what", "string"), field(2, "size", "int32")];
const STEP = [field(1, "what", "string"), field(2, "hits", "int64", "COUNTER")];
const DUE = [
  field(21, "at", "time"),
  field(22, "someday", "string", { many: "optional" }),
  field(23, "step", "message", { fields: STEP }),
];
const WAY = [
  field(24, "road", "string", { many: "optional" }),
  field(25, "rail", "int32", { many: "optional" }),
];

export const FIELDS: readonly RefField[] = [
  field(2, "ownerId", "string"),
  field(3, "text", "string"),
  field(4, "last", "string", "LAST_WRITER"),
  field(5, "kept", "string", "SERVER_WINS"),
  field(6, "strict", "string", "REJECT"),
  field(7, "count", "int32", "COUNTER"),
  field(8, "total", "int64", "COUNTER"),
  field(9, "sum", "double", "COUNTER"),
  field(10, "votes", "int32", { rule: "COUNTER", many: "optional" }),
  field(11, "high", "int32", "MAX"),
  field(12, "low", "double", { rule: "MIN", many: "optional" }),
  field(13, "latest", "time", "MAX"),
  field(14, "earliest", "time", "MIN"),
  field(15, "tags", "string", { rule: "SET", many: "list" }),
  field(16, "kinds", "enum", { rule: "SET", many: "list" }),
  field(17, "nick", "string", { rule: "LAST_WRITER", many: "optional" }),
  field(18, "place", "message", { rule: "LAST_WRITER", fields: PLACE }),
  field(19, "spot", "message", { rule: "SERVER_WINS", fields: PLACE }),
  field(20, "plain", "message", { fields: PLAIN }),
  field(0, "due", "oneof", { rule: "LAST_WRITER", fields: DUE }),
  field(0, "way", "oneof", { rule: "REJECT", fields: WAY }),
  field(26, "labels", "string", { rule: "LAST_WRITER", many: "map" }),
  field(27, "steps", "message", { rule: "SERVER_WINS", many: "list", fields: PLAIN }),
  field(28, "code", "string", { rule: "LAST_WRITER", many: "optional" }),
  field(29, "made", "time", { stamp: "made" }),
  field(30, "written", "time", { stamp: "written" }),
  field(31, "wrote", "int64", { stamp: "written" }),
];

export function fieldNamed(name: string): RefField {
  const found = FIELDS.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no field ${name}`);
  return found;
}

/** The field a number belongs to: for a member, its oneof. */
export function fieldNumbered(number: number): RefField {
  const found = FIELDS.find((each) => membersOf(each).some((member) => member.number === number));
  if (found === undefined) throw new Error(`no field ${number}`);
  return found;
}

function membersOf(each: RefField): readonly RefField[] {
  return each.kind === "oneof" ? each.fields : [each];
}

export function absentOf({ many, kind }: RefField): JsonValue {
  if (many === "list") return [];
  if (many === "map") return {};
  if (many === "optional") return null;
  if (kind === "string") return "";
  if (kind === "int64") return "0";
  return kind === "int32" || kind === "double" ? 0 : null;
}

/** All fields at their default. */
export function empty(fields: readonly RefField[] = FIELDS): Values {
  return Object.fromEntries(fields.map((each) => [each.name, absentOf(each)]));
}

export function isEqual(a: JsonValue | undefined, b: JsonValue | undefined): boolean {
  return stable(a) === stable(b);
}

function stable(value: JsonValue | undefined): string {
  if (value === null || value === undefined || typeof value !== "object")
    return JSON.stringify(value ?? null);
  if (Array.isArray(value)) return `[${value.map(stable).join()}]`;
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${stable(value[key])}`).join()}}`;
}

/** What a document or a record in JSON form holds, read by the fields; what isn't declared is left out. */
export function valuesIn(
  record: Readonly<Record<string, unknown>>,
  form: "BSON" | "JSON",
  fields: readonly RefField[] = FIELDS,
): Values {
  return Object.fromEntries(fields.map((each) => [each.name, valueIn(record, form, each)]));
}

function valueIn(record: Readonly<Record<string, unknown>>, form: "BSON" | "JSON", of: RefField): JsonValue {
  if (of.kind === "oneof") {
    const set = of.fields.find(({ name }) => (record[name] ?? null) !== null);
    return set ? { [set.name]: oneValue(record[set.name], form, set) } : null;
  }
  const value = record[of.name] ?? null;
  if (value === null) return absentOf(of);
  if (of.many === "list") return (value as unknown[]).map((each) => oneValue(each, form, of));
  if (of.many === "map") {
    return Object.fromEntries(
      Object.entries(value as object).map(([key, each]) => [key, oneValue(each, form, of)]),
    );
  }
  return oneValue(value, form, of);
}

function oneValue(value: unknown, form: "BSON" | "JSON", { kind, fields }: RefField): JsonValue {
  switch (kind) {
    case "message":
      return valuesIn(value as Record<string, unknown>, form, fields) as JsonObject;
    case "time":
      return new Date(value as string | Date).getTime();
    case "int64":
      return String(value);
    case "int32":
      return Number(value);
    case "double":
      return Number.isNaN(Number(value)) ? "NaN" : Number(value);
    case "enum":
      return String(value).replace(ENUM_PREFIX, "");
    default:
      return String(value);
  }
}

/** These fields as keys of a record in JSON form; one that is absent is null, so that it counts as named. */
export function jsonOf(values: Values, fields: readonly RefField[] = FIELDS): JsonObject {
  const json: JsonObject = {};
  for (const each of fields) {
    const value = values[each.name];
    if (value === undefined) continue;
    if (each.kind !== "oneof") json[each.name] = jsonValue(value, each);
    else {
      for (const member of each.fields) {
        const set = (value as JsonObject | null)?.[member.name] ?? null;
        json[member.name] = set === null ? null : jsonValue(set, member);
      }
    }
  }
  return json;
}

function jsonValue(value: JsonValue, of: RefField): JsonValue {
  if (value === null) return null;
  if (of.many === "list") return (value as JsonValue[]).map((each) => jsonOne(each, of));
  return of.many === "map" ? value : jsonOne(value, of);
}

function jsonOne(value: JsonValue, { kind, fields }: RefField): JsonValue {
  if (kind === "time") return new Date(value as number).toISOString();
  if (kind === "enum") return `${ENUM_PREFIX}${value}`;
  if (kind !== "message") return value;
  const json = jsonOf(value as Values, fields);
  for (const key of Object.keys(json)) if (json[key] === null) delete json[key];
  return json;
}

/** The keys of a document nobody declared, by path: at the top, and in messages the record holds singly. */
export function undeclaredIn(
  document: Readonly<Record<string, unknown>>,
  fields: readonly RefField[] = FIELDS,
  prefix = "",
): Record<string, string> {
  const found: Record<string, string> = {};
  const declared = new Map(fields.flatMap(membersOf).map((each) => [each.name, each]));
  for (const [key, value] of Object.entries(document)) {
    const own = declared.get(key);
    const path = `${prefix}${key}`;
    if (own === undefined) {
      if (path !== "_id") found[path] = JSON.stringify(value);
    } else if (own.kind === "message" && own.many === "one" && typeof value === "object" && value !== null) {
      Object.assign(found, undeclaredIn(value as Record<string, unknown>, own.fields, `${path}.`));
    }
  }
  return found;
}
