// What is due to a client: an entry with what must be told of it. Decided by the subscription, encoded here.

import {
  type ChangeKey,
  type EncodedChange,
  encodePut,
  encodePutJson,
  encodeRemove,
  type RemoveCause,
} from "../frames/change.ts";
import type { LeaverEntry, MainEntry } from "../log/entry.ts";
import { invariant } from "../model/invariant.ts";
import type { Selection } from "../model/pull-request.ts";
import type { Schema } from "../schema/schema.ts";

export type Due =
  | { readonly kind: "put"; readonly entry: MainEntry; readonly changed: readonly number[] }
  | { readonly kind: "remove"; readonly entry: MainEntry | LeaverEntry; readonly cause: RemoveCause };

/** How a client wants its records. */
export interface Form {
  readonly schema: Schema;
  readonly request: Pick<Selection, "recordForm" | "wholeRecords">;
}

export function encodeDue(due: Due, { schema, request }: Form): EncodedChange {
  const key = changeKey(due.entry);
  if (due.kind === "remove") return encodeRemove(key, due.cause);
  const source = { ...key, record: due.entry.record, changed: request.wholeRecords ? [] : due.changed };
  if (request.recordForm === "PROTO") return encodePut(source);
  const collection = schema.collections.get(key.collection);
  invariant(collection, "held feeds are of collections of the schema");
  return encodePutJson(collection, source);
}

export function changeKey({ key, recordId, seq }: MainEntry | LeaverEntry): ChangeKey {
  return { collection: key.c, recordId, version: seq };
}

/** Names a record among all collections. */
export function recordName({ key, recordId }: MainEntry | LeaverEntry): string {
  return `${key.c}/${recordId}`;
}
