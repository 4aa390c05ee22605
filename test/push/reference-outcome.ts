// What the contract says becomes of a mutation, given the record as it stands: its outcome, and the record after it.
// Written from the protos' words, on plain values, as the random test's reference.
import type { JsonValue } from "../../src/model/record-form.ts";
import {
  absentOf,
  empty,
  FIELDS,
  fieldNamed,
  isEqual,
  LAST_LENGTH_MAX,
  type RefCollection,
  type RefField,
  type Values,
} from "./reference-fields.ts";
import { mergeField, OutOfRange } from "./reference-merge.ts";

/** A document: what is declared, and by path what isn't. */
export interface RefDocument {
  readonly values: Values;
  readonly undeclared: Readonly<Record<string, string>>;
}

export interface RefRecord {
  readonly document: RefDocument | undefined;
  /** What a push deleted last, if none has made the record anew since, and it may come back. */
  readonly grave: RefDocument | undefined;
}

/** What a mutation asks for; an update's sides hold the fields it names. */
export type RefIntent =
  | { readonly kind: "create"; readonly values: Values }
  | { readonly kind: "update"; readonly proposed: Values; readonly base: Values | undefined }
  | { readonly kind: "delete"; readonly base: Values | undefined };

export interface RefSituation {
  readonly collection: RefCollection;
  readonly record: RefRecord;
  /** Undefined: no version was expected. */
  readonly isExpected: boolean | undefined;
  /** The time for stamps. */
  readonly atMs: number;
}

export interface Predicted {
  readonly outcome: "APPLIED" | "MERGED" | "CONFLICT" | "REJECTED";
  readonly reason: "INVALID" | undefined;
  readonly absent: boolean;
  /** Names of fields, oneofs as one. */
  readonly conflicts: readonly string[];
  /** To be told. */
  readonly told: Values | undefined;
  readonly after: RefRecord;
}

/** Why it is refused whatever the database holds, and leaves no receipt; undefined: it isn't. */
export function refusedByItself(
  intent: RefIntent,
  expectsVersion: boolean,
): "INVALID" | "FORBIDDEN" | undefined {
  const named = intent.kind === "create" ? differing(intent.values, empty()) : namedIn(intent);
  if (named.some((name) => fieldNamed(name).stamp !== undefined)) return "FORBIDDEN";
  if (intent.kind === "create") return expectsVersion || !isValid(intent.values) ? "INVALID" : undefined;
  if (intent.kind === "delete") return undefined;
  const isBlindlyMerged = intent.base === undefined && named.some((name) => countsWithin(fieldNamed(name)));
  return named.length === 0 || isBlindlyMerged ? "INVALID" : undefined;
}

function namedIn(intent: RefIntent): string[] {
  return intent.kind === "update" ? Object.keys(intent.proposed) : [];
}

/** It, or what it holds singly, merges by the difference made. */
function countsWithin({ rule, many, fields }: RefField): boolean {
  if (rule === "COUNTER" || rule === "SET") return true;
  return many === "one" && fields.some(countsWithin);
}

function isValid({ last }: Values): boolean {
  return String(last).length <= LAST_LENGTH_MAX;
}

export function predict(intent: RefIntent, situation: RefSituation): Predicted {
  const { document } = situation.record;
  switch (intent.kind) {
    case "create":
      return document
        ? createOfExisting(intent.values, document, situation)
        : created(intent.values, situation);
    case "update":
      return document ? updated(intent, document, situation) : updatedAbsent(intent, situation);
    case "delete":
      return document
        ? deleted(intent.base, document, situation)
        : { ...unchanged(situation), outcome: "APPLIED" };
  }
}

function unchanged({ record }: RefSituation): Omit<Predicted, "outcome"> {
  return { reason: undefined, absent: false, conflicts: [], told: undefined, after: record };
}

function conflict({ values }: RefDocument, conflicts: readonly string[], situation: RefSituation): Predicted {
  return { ...unchanged(situation), outcome: "CONFLICT", conflicts, told: values };
}

/** Stamps aside: they are the server's. */
function differing(a: Values, b: Values): string[] {
  return FIELDS.filter(({ name }) => !isEqual(a[name], b[name])).map(({ name }) => name);
}

function differingEdits(a: Values, b: Values): string[] {
  return differing(a, b).filter((name) => fieldNamed(name).stamp === undefined);
}

function stamped(values: Values, atMs: number, kinds: readonly RefField["stamp"][]): Values {
  const stamps = FIELDS.filter(({ stamp }) => stamp !== undefined && kinds.includes(stamp));
  return {
    ...values,
    ...Object.fromEntries(stamps.map(({ name, kind }) => [name, kind === "int64" ? String(atMs) : atMs])),
  };
}

function created(values: Values, situation: RefSituation): Predicted {
  const document = { values: stamped(values, situation.atMs, ["made", "written"]), undeclared: {} };
  return { ...unchanged(situation), outcome: "APPLIED", after: { document, grave: undefined } };
}

function createOfExisting(values: Values, document: RefDocument, situation: RefSituation): Predicted {
  const conflicts = differingEdits(values, document.values);
  return conflicts.length === 0
    ? { ...unchanged(situation), outcome: "APPLIED" }
    : conflict(document, conflicts, situation);
}

type Update = Extract<RefIntent, { kind: "update" }>;

function updated(update: Update, document: RefDocument, situation: RefSituation): Predicted {
  if (situation.isExpected === false) return conflict(document, [], situation);
  const edit = editOf(update, document, situation);
  if (edit === "INVALID") return { ...unchanged(situation), outcome: "REJECTED", reason: "INVALID" };
  const { conflicts } = edit;
  if (edit.refused) return conflict(document, conflicts, situation);
  const outcome = conflicts.length > 0 ? "MERGED" : "APPLIED";
  const after = { ...situation.record, document: edit.document };
  const told = outcome === "MERGED" ? edit.document.values : undefined;
  return {
    ...unchanged(situation),
    outcome,
    conflicts,
    told,
    after: edit.isChange ? after : situation.record,
  };
}

function updatedAbsent(update: Update, situation: RefSituation): Predicted {
  const gone: Predicted = { ...unchanged(situation), outcome: "CONFLICT", absent: true };
  const { grave } = situation.record;
  if (grave === undefined || situation.isExpected !== undefined) return gone;
  const edit = editOf(update, grave, situation);
  if (edit === "INVALID") return { ...unchanged(situation), outcome: "REJECTED", reason: "INVALID" };
  if (edit.refused) return gone;
  const document = { ...edit.document, values: stamped(edit.document.values, situation.atMs, ["written"]) };
  return {
    ...unchanged(situation),
    outcome: "MERGED",
    conflicts: edit.conflicts,
    told: document.values,
    after: { document, grave: undefined },
  };
}

interface Edit {
  readonly document: RefDocument;
  readonly isChange: boolean;
  readonly conflicts: readonly string[];
  readonly refused: boolean;
}

function editOf(
  { proposed, base }: Update,
  on: RefDocument,
  { collection, atMs }: RefSituation,
): Edit | "INVALID" {
  const values: Record<string, JsonValue> = { ...on.values };
  const conflicts: string[] = [];
  let refused = false;
  for (const [name, wanted] of Object.entries(proposed)) {
    const field = fieldNamed(name);
    const current = on.values[name] ?? null;
    if (base === undefined) {
      values[name] = wanted;
      continue;
    }
    try {
      const sides = { base: base[name] ?? absentOf(field), current, proposed: wanted };
      const merge = mergeField(field, collection.rule, sides);
      values[name] = merge.value;
      if (merge.met) conflicts.push(name);
      refused ||= merge.refused;
    } catch (error) {
      if (error instanceof OutOfRange) return "INVALID";
      throw error;
    }
  }
  keepUndeclared(values, on.undeclared);
  const isChange = differing(values, on.values).length > 0;
  if (!refused && isChange && !isValid(values)) return "INVALID";
  const after = isChange ? stamped(values, atMs, ["written"]) : values;
  return { document: { ...on, values: after }, isChange, conflicts, refused };
}

/** A message that holds what nobody declared is emptied, never taken away. */
function keepUndeclared(values: Record<string, JsonValue>, undeclared: RefDocument["undeclared"]): void {
  for (const path of Object.keys(undeclared)) {
    const [name = "", ...rest] = path.split(".");
    if (rest.length > 0 && values[name] === null) values[name] = { ...empty(fieldNamed(name).fields) };
  }
}

function deleted(base: Values | undefined, document: RefDocument, situation: RefSituation): Predicted {
  const { collection } = situation;
  if (situation.isExpected === false) return conflict(document, [], situation);
  const conflicts = base ? differingEdits(base, document.values) : [];
  const grave = collection.deletes === "EDIT_WINS" ? document : undefined;
  const gone = { document: undefined, grave };
  if (conflicts.length === 0) return { ...unchanged(situation), outcome: "APPLIED", after: gone };
  switch (collection.deletes) {
    case "DELETE_WINS":
      return { ...unchanged(situation), outcome: "MERGED", conflicts, after: gone };
    case "EDIT_WINS":
      return { ...unchanged(situation), outcome: "MERGED", conflicts, told: document.values };
    case "REJECT":
      return conflict(document, conflicts, situation);
  }
}
