// Scopes: which ones a document is in, which ones a token grants, and which feeds a principal's scopes can name.
import type { Document } from "bson";
import { type Feed, feedOf, wholeFeedOf } from "../model/feed.ts";
import { type Access, EVERY_SCOPE, type Grants, mergeGrants } from "../model/principal.ts";
import { tokenError } from "../model/token-fault.ts";
import { readerOf } from "./bson-value.ts";
import type { Collection, MembershipRule } from "./collection.ts";
import { enumNames } from "./enum-leaf.ts";
import type { Schema } from "./schema.ts";
import type { FieldShape } from "./shape.ts";
import { canGive, escapeValue, render, type Template } from "./template.ts";
import { UnfitDocument } from "./unfit-document.ts";

/** A record in more scopes than this is a mistake; each costs an index entry and a feed. */
const SCOPES_MAX = 1_000;

/** Scopes of a token, multiplied out: more than any token can list one by one. */
const CLAIM_SCOPES_MAX = 10_000;

/** Names of scopes are keys of an index and part of cursors. */
const SCOPE_BYTES_MAX = 2_048;

/** The scopes of a document, sorted, each once. @throws UnfitDocument where there are too many or one is too long. */
export function scopesOf(collection: Collection, document: Document): string[] {
  const scopes = new Set<string>();
  for (const template of collection.scopes) {
    for (const scope of scopesBy(template, document)) scopes.add(scope);
  }
  if (scopes.size > SCOPES_MAX) throw new UnfitDocument(tooMany);
  return [...scopes].sort();
}

const tooMany = `the record would be in more than ${SCOPES_MAX} scopes`;

/** A right to a scope that a record of a membership collection gives. */
export interface Membership {
  readonly principal: string;
  readonly scope: string;
  readonly access: Access;
}

/** Undefined: the document leaves out who, to what, or which right. @throws UnfitDocument */
export function membershipOf(rule: MembershipRule, document: Document): Membership | undefined {
  // Compared with tokens' `sub`, which is no scope: as it is. One slot at most, so that it is one value's alone.
  const [principal] = renderDocument(rule.principal, (field) => textsOf(field, document));
  const [scope] = scopesBy(rule.scope, document);
  const access = typeof rule.right === "string" ? rule.right : accessOf(rule.right, document);
  if (principal === undefined || scope === undefined || access === undefined) return undefined;
  return { principal, scope, access };
}

/** tidemark.v1.Access by number. */
const accesses: readonly (Access | undefined)[] = [undefined, "READ", "READ_WRITE"];

function accessOf(field: FieldShape, document: Document): Access | undefined {
  const value = readerOf(field.key)(document);
  if (value === undefined || value === null || !("leaf" in field.value)) return undefined;
  const number = field.value.leaf.read(value);
  return typeof number === "number" ? accesses[number] : undefined;
}

/** The scopes one template gives, each once. @throws UnfitDocument where there are too many or one is too long. */
export function scopesBy(template: Template<FieldShape>, document: Document): string[] {
  return renderDocument(template, (field) => textsOf(field, document).map(escapeValue));
}

function renderDocument(
  template: Template<FieldShape>,
  valuesOf: (field: FieldShape) => readonly string[],
): string[] {
  const scopes = render(template, valuesOf, SCOPES_MAX);
  if (scopes === undefined) throw new UnfitDocument(tooMany);
  if (
    scopes.some((scope) => scope.length > SCOPE_BYTES_MAX / 3 && Buffer.byteLength(scope) > SCOPE_BYTES_MAX)
  ) {
    throw new UnfitDocument(`a scope of the record would be longer than ${SCOPE_BYTES_MAX} bytes`);
  }
  return scopes;
}

/** What a field puts into a template: nothing where it is absent, empty or zero by default. @throws UnfitDocument */
export function textsOf(field: FieldShape, document: Document): string[] {
  const value = readerOf(field.key)(document);
  if (value === undefined || value === null) return [];
  try {
    if (field.cardinality !== "list") return textOf(field, value, field.cardinality === "implicit");
    if (!Array.isArray(value)) throw new UnfitDocument("the value doesn't fit a list");
    return [...new Set(value.flatMap((element) => textOf(field, element, false)))];
  } catch (error) {
    throw error instanceof UnfitDocument ? error.under(field.key) : error;
  }
}

function textOf({ value: shape }: FieldShape, value: unknown, zeroIsAbsent: boolean): string[] {
  if (!("leaf" in shape)) return [];
  const canonical = shape.leaf.read(value);
  if (zeroIsAbsent && shape.leaf.isZero(canonical)) return [];
  const name = shape.kind === "enum" ? enumNames(shape.desc).names.get(Number(canonical)) : undefined;
  const text = name ?? String(canonical).toWellFormed();
  return text === "" ? [] : [text];
}

/**
 * What the schema grants a caller.
 * @param claims of a token; undefined: there is none.
 * @throws SyncError TOKEN_INVALID if the claims multiply out beyond any bound.
 */
export function grantsOfClaims(
  schema: Schema,
  claims: Readonly<Record<string, unknown>> | undefined,
): Map<string, Access> {
  const granted = schema.claimGrants
    .filter(({ anonymous }) => anonymous || claims !== undefined)
    .map(({ scope, access }) => new Map(scopesOfClaims(scope, claims ?? {}).map((name) => [name, access])));
  return mergeGrants(...granted);
}

function scopesOfClaims(template: Template<string>, claims: Readonly<Record<string, unknown>>): string[] {
  const scopes = render(template, (name) => claimTexts(claims, name).map(escapeValue), CLAIM_SCOPES_MAX);
  // A longer one is no record's.
  if (scopes !== undefined) return scopes.filter((scope) => Buffer.byteLength(scope) <= SCOPE_BYTES_MAX);
  const message = `the token's claims give more than ${CLAIM_SCOPES_MAX} scopes: issue it with shorter lists, or grant by a membership collection`;
  throw tokenError("claims", message);
}

function claimTexts(claims: Readonly<Record<string, unknown>>, name: string): string[] {
  const claim = Object.hasOwn(claims, name) ? claims[name] : undefined;
  const texts = (Array.isArray(claim) ? claim : [claim]).flatMap(
    (element: unknown) => claimText(element) ?? [],
  );
  return [...new Set(texts)];
}

/** Undefined for what names nothing, or can't be told from another value once it has been read or stored. */
function claimText(claim: unknown): string | undefined {
  switch (typeof claim) {
    case "string":
      return claim !== "" && claim.isWellFormed() ? claim : undefined;
    case "boolean":
      return String(claim);
    case "number":
      // JSON's reader rounds larger ones: 2^53 + 1 would be granted what 2^53 was meant to have.
      return Math.abs(claim) <= Number.MAX_SAFE_INTEGER ? String(claim) : undefined;
    default:
      return undefined;
  }
}

/**
 * The feeds a principal with these grants may hold: each granted scope with each collection whose records can be in it;
 * of services, all of each collection.
 * @param collectionNames only of these; those that don't exist are passed over.
 */
export function feedsHeld(schema: Schema, grants: Grants, collectionNames?: readonly string[]): Feed[] {
  const wanted = new Set(collectionNames ?? schema.collections.keys());
  const feeds: Feed[] = [];
  for (const name of wanted) {
    const templates = schema.collections.get(name)?.scopes ?? [];
    if (grants.has(EVERY_SCOPE)) {
      if (templates.length > 0) feeds.push(wholeFeedOf(name));
      continue;
    }
    for (const scope of grants.keys()) {
      if (templates.some((template) => canGive(template, scope))) feeds.push(feedOf(name, scope));
    }
  }
  return feeds;
}
