// Into which scopes an edit takes a record, and out of which: what the values of single fields decide. A scope every
// record of the collection is in is nobody's doing; and lists share: whoever may write a record may add to a list in
// its scope and take from it, as long as the single fields beside the list stay.
import type { Document } from "bson";
import type { Collection } from "./collection.ts";
import { scopesBy, textsOf } from "./scopes.ts";
import type { FieldShape } from "./shape.ts";
import type { Template } from "./template.ts";

export interface Move {
  readonly scope: string;
  /** The scope holds the record afterwards, or no longer does. */
  readonly way: "into" | "outOf";
  /** The visible fields that decide it, by their proto names. */
  readonly fields: readonly string[];
}

/**
 * @param before undefined: the record is being made.
 * @throws UnfitDocument
 */
export function movesOf(collection: Collection, before: Document | undefined, after: Document): Move[] {
  return collection.scopes.flatMap((template) => {
    const [old, now] = [before && placeBy(template, before), placeBy(template, after)];
    if (old?.anchor === now?.anchor) return [];
    const fields = template.slots.filter(({ hidden }) => !hidden).map(({ name }) => name);
    const moves = (place: Place | undefined, way: Move["way"]) =>
      (place?.scopes ?? []).map((scope) => ({ scope, way, fields }));
    return [...moves(old, "outOf"), ...moves(now, "into")];
  });
}

interface Place {
  /** What the single fields hold. */
  readonly anchor: string;
  readonly scopes: readonly string[];
}

/** Undefined: no single field decides, or the template gives no scope. */
function placeBy(template: Template<FieldShape>, document: Document): Place | undefined {
  const single = template.slots.filter(({ cardinality }) => cardinality !== "list");
  const scopes = single.length > 0 ? scopesBy(template, document) : [];
  if (scopes.length === 0) return undefined;
  return { anchor: JSON.stringify(single.map((field) => textsOf(field, document))), scopes };
}
