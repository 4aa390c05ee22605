// Fingerprints: short hashes that stay equal from process to process and change only with what they stand for.
import { createHash } from "node:crypto";
import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { enumNames } from "./enum-leaf.ts";
import type { CollectionDraft } from "./read-collection.ts";
import { type FieldShape, type MessageShape, reachable, type ValueShape } from "./shape.ts";
import { SCOPE_FORM, type Template } from "./template.ts";

/** Of all that shapes a collection's log entries: names don't, except those documents hold. */
export function collectionFingerprint({ name, shape, scopes, grant }: CollectionDraft): string {
  const right = grant && (typeof grant.right === "string" ? grant.right : grant.right.number);
  return hash({
    name,
    messages: factsOfShapes(reachable(shape)),
    scopeForm: SCOPE_FORM,
    scopes: scopes.map(factsOfTemplate).sort(),
    grant: grant && [factsOfTemplate(grant.principal), factsOfTemplate(grant.scope), right],
  });
}

function factsOfTemplate({ literals, slots }: Template<FieldShape>): string {
  return JSON.stringify([literals, slots.map(({ number }) => number)]);
}

/** Each message is known by its place in the list, so that renaming it changes nothing. */
function factsOfShapes(shapes: readonly MessageShape[]): unknown {
  return shapes.map(({ fields }) =>
    fields.map((field) => {
      const { number, key, hidden, oneof, cardinality, packed, mapKey, value } = field;
      return [number, key, hidden, oneof, cardinality, packed, mapKey, factsOfValue(value, shapes)];
    }),
  );
}

function factsOfValue(value: ValueShape, shapes: readonly MessageShape[]): unknown {
  switch (value.kind) {
    case "scalar":
      return [ScalarType[value.scalar], value.bsonType];
    case "wrapper":
      return ["wrapper", factsOfValue(value.inner, shapes)];
    case "enum":
      return ["enum", value.bsonType, value.desc.open, [...enumNames(value.desc).numbers].sort()];
    case "timestamp":
      return "timestamp";
    case "free":
      return value.form;
    case "message":
      return ["message", shapes.indexOf(value.shape)];
  }
}

/** Of what clients are generated from: the visible messages of all collections, by name. */
export function schemaFingerprint(
  collections: Iterable<readonly [name: string, message: DescMessage]>,
): string {
  const seen = new Set<DescMessage>();
  const tops = [...collections].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [, message] of tops) seen.add(message);
  for (const message of seen) for (const { message: nested } of message.fields) if (nested) seen.add(nested);
  const messages = [...seen].sort((a, b) => (a.typeName < b.typeName ? -1 : 1));
  return hash({
    collections: tops.map(([name, message]) => [name, message.typeName]),
    messages: messages.map((message) => [message.typeName, message.fields.map(visibleFacts).sort()]),
  });
}

function visibleFacts(field: DescField): string {
  const { number, name, jsonName, fieldKind, presence, oneof, scalar, enum: enumType, message } = field;
  const type = scalar ?? message?.typeName ?? (enumType && factsOfEnum(enumType));
  const mapKey = field.fieldKind === "map" ? field.mapKey : null;
  return JSON.stringify([number, name, jsonName, fieldKind, presence, oneof?.name ?? null, type, mapKey]);
}

/** 128 bits are more than enough to tell the schemas of one deployment apart. */
function hash(facts: unknown): string {
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex").slice(0, 32);
}

function factsOfEnum({ typeName, open, values }: DescEnum): unknown {
  return [typeName, open, values.map(({ name, number }) => [name, number])];
}
