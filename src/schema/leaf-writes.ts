// What to write so that a field of a document becomes what a message says, touching nothing nobody declared: leaf
// paths for `$set` and `$unset`, and only where the decoded value differs. Lists are replaced whole; a list or map
// whose elements hold undeclared keys that would be lost is refused.
import type { Message } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import type { Document } from "bson";
import { invariant } from "../model/invariant.ts";
import { isDocument, readerOf } from "./bson-value.ts";
import type { Collection, Field } from "./collection.ts";
import { bsonOfField } from "./document-of.ts";
import { fieldDesc } from "./field-desc.ts";
import { holdsUndeclared, keepElements, keepTypes } from "./keep-undeclared.ts";
import { sameField } from "./same-field.ts";
import type { FieldShape, MessageShape } from "./shape.ts";

export type LeafWrites =
  | {
      /** Paths of the document, dotted, and their new values. */
      readonly set: Readonly<Record<string, unknown>>;
      readonly unset: readonly string[];
    }
  | {
      /** The path whose undeclared keys would be lost; names none of them. */
      readonly destroys: string;
    };

/**
 * Hidden fields count as undeclared below the record. Setting a member of a oneof unsets its siblings. Clearing a
 * message that holds undeclared keys unsets the declared ones only: it stays, empty.
 * @param message of `collection.message`, as `readPushed` gave it.
 * @param current the document as read with `sourceReadOptions`.
 */
export function leafWrites(
  collection: Collection,
  field: Field,
  message: Message,
  current: Document,
): LeafWrites {
  const writes: Writes = { set: {}, unset: new Set(), destroys: [] };
  const at = { shape: collection.shape, document: current, prefix: "" };
  writeField(field.shape, { message: reflect(collection.message, message), at, writes });
  const [destroys] = writes.destroys;
  return destroys === undefined ? { set: writes.set, unset: [...writes.unset] } : { destroys };
}

interface Writes {
  readonly set: Record<string, unknown>;
  readonly unset: Set<string>;
  readonly destroys: string[];
}

/** The document a field is written in. */
interface Place {
  readonly shape: MessageShape;
  readonly document: Document;
  /** Of its keys' paths: empty, or ending with a dot. */
  readonly prefix: string;
}

interface Writing {
  readonly message: ReflectMessage;
  readonly at: Place;
  readonly writes: Writes;
}

function writeField(field: FieldShape, writing: Writing): void {
  const { at, message, writes } = writing;
  const next = bsonOfField(field, message);
  if (next === undefined) {
    clearField(field, at, writes);
    return;
  }
  writeValue(field, next, writing);
  if (field.oneof === undefined) return;
  for (const sibling of at.shape.fields) {
    if (sibling !== field && sibling.oneof === field.oneof) removeSibling(sibling, at, writes);
  }
}

function writeValue(field: FieldShape, next: unknown, { at, message, writes }: Writing): void {
  const current = readerOf(field.key)(at.document);
  const path = `${at.prefix}${field.key}`;
  if (field.cardinality === "explicit" && field.value.kind === "message" && isDocument(current)) {
    const { shape } = field.value;
    const nested = {
      message: nestedOf(field, message),
      at: { shape, document: current, prefix: `${path}.` },
      writes,
    };
    for (const each of shape.fields) if (!each.hidden) writeField(each, nested);
  } else if (!sameField(field, at.document, { [field.key]: next })) {
    writes.set[path] = replacement(field, { current, next, path }, writes);
  }
}

function nestedOf(field: FieldShape, message: ReflectMessage): ReflectMessage {
  const desc = fieldDesc(message.desc, field.number);
  invariant(desc.fieldKind === "message", "a nested message is a message");
  return message.get(desc);
}

interface Replaced {
  readonly current: unknown;
  readonly next: unknown;
  readonly path: string;
}

/** The new value, made of the current one's parts where they are equal: those keep what nobody declared. */
function replacement(field: FieldShape, { current, next, path }: Replaced, writes: Writes): unknown {
  if (field.value.kind === "free") return keepTypes(current, next);
  if (field.value.kind !== "message" || field.cardinality === "explicit") return next;
  const kept = keepElements(field.value.shape, current, next);
  for (const lost of kept.lost) writes.destroys.push(`${path}${lost}`);
  return kept.value;
}

function clearField(field: FieldShape, { document, prefix }: Place, writes: Writes): void {
  const current = readerOf(field.key)(document);
  if (current === undefined || current === null) return;
  const path = `${prefix}${field.key}`;
  const isMessage = field.cardinality === "explicit" && field.value.kind === "message";
  if (isMessage && isDocument(current) && holdsUndeclared(field, current)) {
    const { shape } = field.value;
    for (const each of shape.fields) {
      if (!each.hidden) clearField(each, { shape, document: current, prefix: `${path}.` }, writes);
    }
  } else if (holdsUndeclared(field, current)) writes.destroys.push(path);
  else if (!sameField(field, document, {})) writes.unset.add(path);
}

/** A member of a oneof that stayed, even empty, would make the document unfit. */
function removeSibling(sibling: FieldShape, { document, prefix }: Place, writes: Writes): void {
  const current = readerOf(sibling.key)(document);
  if (current === undefined || current === null) return;
  const path = `${prefix}${sibling.key}`;
  if (holdsUndeclared(sibling, current)) writes.destroys.push(path);
  else writes.unset.add(path);
}
