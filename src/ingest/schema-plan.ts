// What a leader's schema asks of the log: which collections are new, changed or gone, and whose older entries must be
// withheld. Withheld is whatever is not proven harmless: only a schema that shows all it showed before, in the same
// scopes, leaves older entries readable; one that hides, removes, retypes or rescopes doesn't.
import { createHash } from "node:crypto";
import { ScalarType } from "@bufbuild/protobuf";
import type { CollectionState } from "../log/state.ts";
import type { Collection } from "../schema/collection.ts";
import type { Schema } from "../schema/schema.ts";
import type { FieldShape, MessageShape, ValueShape } from "../schema/shape.ts";
import { SCOPE_FORM, type Template } from "../schema/template.ts";
import { newProgress } from "./load.ts";

/** What a collection of some fingerprint shows, and to whom. */
export interface Shown {
  /** Its visible fields, nested ones included, as far as they shape what clients get. */
  readonly fields: readonly string[];
  readonly scopes: readonly string[];
  /** How its records grant scopes; empty: they don't. Undefined: not remembered. */
  readonly grant: string | undefined;
}

/** Of all that shapes the log's entries. */
export function logFingerprint(schema: Schema): string {
  const facts = [...schema.collections.values()]
    .map(({ name, fingerprint }) => `${name} ${fingerprint}`)
    .sort();
  return createHash("sha256").update(facts.join("\n")).digest("hex").slice(0, 32);
}

/** Schemas that led longer ago are taken for new ones. */
const SCHEMAS_MAX = 20;

/** The history with this schema as the present one. */
export function schemasWith(schemas: readonly string[], fingerprint: string): string[] {
  return [...schemas.filter((known) => known !== fingerprint), fingerprint].slice(-SCHEMAS_MAX);
}

/** A newer schema has led since this one did. */
export function isOutdated(schemas: readonly string[], fingerprint: string): boolean {
  return schemas.includes(fingerprint) && schemas.at(-1) !== fingerprint;
}

export interface PlanOptions {
  readonly present: readonly CollectionState[];
  readonly schema: Schema;
  /** Of earlier fingerprints, as far as known. */
  readonly shown: ReadonlyMap<string, Shown>;
  /** For loads that begin. */
  readonly loadNumber: number;
}

/** The collections whose state changes; what is under way goes on. */
export function planCollections(options: PlanOptions): Map<string, CollectionState> {
  const { present, schema, loadNumber } = options;
  const planned = new Map<string, CollectionState>();
  for (const collection of schema.collections.values()) {
    const state = present.find(({ name }) => name === collection.name);
    const next = state ? changed(state, collection, options) : added(collection, loadNumber);
    if (next) planned.set(next.name, next);
  }
  for (const state of present) {
    if (schema.collections.has(state.name) || state.load?.reason === "removed") continue;
    planned.set(state.name, { ...state, load: newProgress(loadNumber, "removed") });
  }
  return planned;
}

/**
 * The collections whose grants are void at once, since another rule gave them: those the new one gives come with the
 * load. Hiding entries by their generation would not do for grants, which open the entries of other collections.
 */
export function voidGrants({ present, schema, shown }: Omit<PlanOptions, "loadNumber">): string[] {
  const outlived = present.filter(({ name, fingerprint }) => {
    const collection = schema.collections.get(name);
    if (collection?.fingerprint === fingerprint) return false;
    const before = shown.get(fingerprint)?.grant;
    return before === undefined || before !== (collection ? shownBy(collection).grant : "");
  });
  return outlived.map(({ name }) => name);
}

function added({ name, fingerprint }: Collection, loadNumber: number): CollectionState {
  return { name, fingerprint, generation: 1, oldestReadable: 1, load: newProgress(loadNumber, "first") };
}

function changed(
  state: CollectionState,
  collection: Collection,
  { shown, loadNumber }: PlanOptions,
): CollectionState | undefined {
  const { fingerprint } = collection;
  const load = newProgress(loadNumber, "schema");
  // Its removal was under way: what is left of it must be completed again.
  if (state.fingerprint === fingerprint)
    return state.load?.reason === "removed" ? { ...state, load } : undefined;
  const generation = state.generation + 1;
  const before = shown.get(state.fingerprint);
  const harmless = before !== undefined && showsAllOf(shownBy(collection), before);
  return {
    ...state,
    fingerprint,
    generation,
    oldestReadable: harmless ? state.oldestReadable : generation,
    load,
  };
}

function showsAllOf(now: Shown, before: Shown): boolean {
  const fields = new Set(now.fields);
  return (
    before.fields.every((field) => fields.has(field)) && now.scopes.join("\n") === before.scopes.join("\n")
  );
}

export function shownBy({ shape, scopes, grant }: Collection): Shown {
  const fields = visibleMessages(shape).flatMap((message) => {
    const owner = message === shape ? "" : message.desc.typeName;
    return message.fields.filter(({ hidden }) => !hidden).map((field) => `${owner}#${fieldFacts(field)}`);
  });
  return { fields: fields.sort(), scopes: scopes.map(templateFacts).sort(), grant: grantFacts(grant) };
}

function templateFacts({ literals, slots }: Template<FieldShape>): string {
  const fields = slots.map(({ number, key, value }) => [number, key, valueFacts(value)]);
  return JSON.stringify([SCOPE_FORM, literals, fields]);
}

function grantFacts(grant: Collection["grant"]): string {
  if (grant === undefined) return "";
  const { principal, scope, right } = grant;
  const field = typeof right === "string" ? right : [right.number, right.key, valueFacts(right.value)];
  return JSON.stringify([templateFacts(principal), templateFacts(scope), field]);
}

function visibleMessages(shape: MessageShape): MessageShape[] {
  const found = new Set([shape]);
  for (const message of found) {
    for (const { hidden, value } of message.fields)
      if (!hidden && value.kind === "message") found.add(value.shape);
  }
  return [...found];
}

function fieldFacts({ number, key, cardinality, packed, mapKey, oneof, value }: FieldShape): string {
  return JSON.stringify([number, key, cardinality, packed, mapKey, oneof, valueFacts(value)]);
}

function valueFacts(value: ValueShape): unknown {
  switch (value.kind) {
    case "scalar":
      return [ScalarType[value.scalar], value.bsonType];
    case "wrapper":
      return ["wrapper", valueFacts(value.inner)];
    case "enum":
      return ["enum", value.desc.typeName, value.bsonType];
    case "timestamp":
      return value.kind;
    case "free":
      return value.form;
    case "message":
      return value.shape.desc.typeName;
  }
}
