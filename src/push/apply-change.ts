// What `$set` and `$unset` of leaf paths will make of a document, worked out in memory, so that the outcome can be
// judged before anything is written. Paths lead through nested documents only, never into lists.
import type { SourceDocument } from "../mongo/source-document.ts";

export interface DocumentChange {
  /** Path → value. */
  readonly set: SourceDocument;
  readonly unset: readonly string[];
}

/** A new document; what the change doesn't touch is shared with the old one. */
export function applyChange(document: SourceDocument, { set, unset }: DocumentChange): SourceDocument {
  let changed = document;
  for (const path of Object.keys(set)) changed = withValue(changed, path.split("."), { value: set[path] });
  for (const path of unset) changed = withValue(changed, path.split("."), undefined);
  return changed;
}

function withValue(
  document: SourceDocument,
  [key = "", ...rest]: readonly string[],
  leaf: { readonly value: unknown } | undefined,
): SourceDocument {
  if (rest.length === 0) {
    if (leaf) return { ...document, [key]: leaf.value };
    const { [key]: _gone, ...kept } = document;
    return kept;
  }
  const inner = document[key];
  if (isNested(inner)) return { ...document, [key]: withValue(inner, rest, leaf) };
  return leaf ? { ...document, [key]: withValue({}, rest, leaf) } : document;
}

function isNested(value: unknown): value is SourceDocument {
  return typeof value === "object" && value !== null;
}

/** The paths several changes touch, none of them inside another: no update may name both. */
export function touchedPaths(changes: readonly DocumentChange[]): string[] {
  const paths = new Set(changes.flatMap(({ set, unset }) => [...Object.keys(set), ...unset]));
  return [...paths].filter((path) => !parentsOf(path).some((parent) => paths.has(parent)));
}

function parentsOf(path: string): string[] {
  const parents: string[] = [];
  for (let dot = path.indexOf("."); dot >= 0; dot = path.indexOf(".", dot + 1))
    parents.push(path.slice(0, dot));
  return parents;
}

/** Undefined: nothing is there. */
export function valueAt(document: SourceDocument, path: string): unknown {
  let value: unknown = document;
  for (const key of path.split(".")) {
    if (!isNested(value)) return undefined;
    value = value[key];
  }
  return value;
}
