// Keeps what nobody declared when a value is replaced: elements equal to current ones stay as they are in the
// document, with their undeclared keys; free-form values keep their BSON types where they did not change.
import type { Document } from "bson";
import { isDocument, readerOf, setKey } from "./bson-value.ts";
import { encodeValue } from "./encode-document.ts";
import type { FieldShape, MessageShape, ValueShape } from "./shape.ts";
import { UnfitDocument } from "./unfit-document.ts";

/** Whether a field's value, or any element of its list or map, holds keys that no client sees. */
export function holdsUndeclared({ value, cardinality }: FieldShape, current: unknown): boolean {
  if (value.kind !== "message") return false;
  if (cardinality === "list")
    return Array.isArray(current) && current.some((each) => hasUndeclared(value.shape, each));
  if (cardinality !== "map") return hasUndeclared(value.shape, current);
  return isDocument(current) && Object.values(current).some((each) => hasUndeclared(value.shape, each));
}

function hasUndeclared(shape: MessageShape, current: unknown): boolean {
  if (!isDocument(current)) return false;
  const visible = shape.fields.filter((field) => !field.hidden);
  const declared = new Set(visible.map(({ key }) => key));
  if (Object.keys(current).some((key) => !declared.has(key))) return true;
  return visible.some((field) => holdsUndeclared(field, readerOf(field.key)(current)));
}

interface Kept {
  readonly value: unknown;
  /** Steps to current elements that are not in the new value and hold undeclared keys: `[2]`, `["k"]`. */
  readonly lost: readonly string[];
}

/** A new list or map of messages, with current elements for those equal to them: anywhere in a list, by key in a map. */
export function keepElements(shape: MessageShape, current: unknown, next: unknown): Kept {
  if (Array.isArray(current) && Array.isArray(next)) return keepInList(shape, current, next);
  if (isDocument(current) && isDocument(next)) return keepInMap(shape, current, next);
  return { value: next, lost: [] };
}

function keepInList(shape: MessageShape, current: readonly unknown[], next: readonly unknown[]): Kept {
  const pool = new Map<string, number[]>();
  for (const [index, element] of current.entries()) {
    const content = contentOf({ kind: "message", shape }, element);
    if (content !== undefined) pool.set(content, [...(pool.get(content) ?? []), index]);
  }
  const kept = new Set<number>();
  const value = next.map((element) => {
    const index = pool.get(contentOf({ kind: "message", shape }, element) ?? "")?.shift();
    if (index === undefined) return element;
    kept.add(index);
    return current[index];
  });
  const lost = [...current.entries()].filter(
    ([index, element]) => !kept.has(index) && hasUndeclared(shape, element),
  );
  return { value, lost: lost.map(([index]) => `[${index}]`) };
}

function keepInMap(shape: MessageShape, current: Document, next: Document): Kept {
  const value: Document = {};
  const lost = new Set(Object.keys(current).filter((key) => hasUndeclared(shape, current[key])));
  for (const [key, element] of Object.entries(next)) {
    const now: unknown = Object.hasOwn(current, key) ? current[key] : undefined;
    const same =
      now !== undefined &&
      contentOf({ kind: "message", shape }, now) === contentOf({ kind: "message", shape }, element);
    if (same) lost.delete(key);
    setKey(value, key, same ? now : element);
  }
  return { value, lost: [...lost].map((key) => `[${JSON.stringify(key)}]`) };
}

/** Canonical bytes as a string; undefined for what is unfit, which is equal to nothing. */
function contentOf(value: ValueShape, element: unknown): string | undefined {
  try {
    return Buffer.from(encodeValue(value, element)).toString("latin1");
  } catch (error) {
    if (error instanceof UnfitDocument) return undefined;
    throw error;
  }
}

/** A new free-form value, with the current one's BSON values wherever they read the same: dates stay dates. */
export function keepTypes(current: unknown, next: unknown): unknown {
  return keep(current, next).value;
}

interface Comparison {
  readonly value: unknown;
  readonly same: boolean;
}

function keep(current: unknown, next: unknown): Comparison {
  if (isDocument(current) && isDocument(next)) return keepDocument(current, next);
  if (Array.isArray(current) && Array.isArray(next)) return keepArray(current, next);
  const content = contentOf(freeForm, current);
  const same = content !== undefined && content === contentOf(freeForm, next);
  return { value: same ? current : next, same };
}

const freeForm: ValueShape = { kind: "free", form: "value" };

function keepDocument(current: Document, next: Document): Comparison {
  const value: Document = {};
  const keys = Object.keys(next);
  let same = keys.length === Object.keys(current).length;
  for (const key of keys) {
    const compared = Object.hasOwn(current, key)
      ? keep(current[key], next[key])
      : { value: next[key], same: false };
    setKey(value, key, compared.value);
    same &&= compared.same;
  }
  return { value: same ? current : value, same };
}

function keepArray(current: readonly unknown[], next: readonly unknown[]): Comparison {
  const compared = next.map((element, index) => keep(current[index], element));
  const same = next.length === current.length && compared.every((each) => each.same);
  return { value: same ? current : compared.map((each) => each.value), same };
}
