// The documents of a transaction as its mutations make them, one after the other, in memory; and, at the end, the one
// write each record needs. A later mutation sees what an earlier one did; the database sees the sum.
import {
  type DocumentWrite,
  type Found,
  isReadable,
  type SourceDocument,
  type SourceKey,
} from "../mongo/source-document.ts";
import { applyChange, type DocumentChange, touchedPaths, valueAt } from "./apply-change.ts";
import type { Facts } from "./facts.ts";
import { type RecordRef, refOf, type Ticket } from "./ticket.ts";

/** What a mutation does to its document. */
export type DocumentStep =
  /** Without `_id`. */
  | { readonly kind: "insert"; readonly document: SourceDocument }
  | ({ readonly kind: "change" } & DocumentChange)
  | { readonly kind: "delete" };

export interface RecordWrite {
  readonly ref: RecordRef;
  readonly collection: string;
  readonly key: SourceKey;
  /** Undefined: the document is as it was. */
  readonly write: DocumentWrite | undefined;
  /** To be kept, of a record that may come back; "none": a grave there may be is to go. */
  readonly grave: SourceDocument | "none" | undefined;
}

export interface Fold {
  document(ref: RecordRef): Found;
  /** What was deleted last, of a record that is absent and may come back. */
  grave(ref: RecordRef): SourceDocument | undefined;
  apply(ticket: Ticket, step: DocumentStep): void;
  /** One per record that was written, in the order of their first steps. */
  writes(): RecordWrite[];
}

interface Folded {
  readonly ticket: Ticket;
  readonly found: Found;
  current: Found;
  readonly steps: DocumentStep[];
  grave: SourceDocument | "none" | undefined;
}

export function createFold(facts: Pick<Facts, "documents" | "graves">): Fold {
  const records = new Map<RecordRef, Folded>();
  return {
    document: (ref) => (records.has(ref) ? records.get(ref)?.current : facts.documents.get(ref)),
    grave(ref) {
      const kept = records.get(ref)?.grave ?? facts.graves.get(ref);
      return kept === "none" ? undefined : kept;
    },
    apply(ticket, step) {
      const ref = refOf(ticket);
      const found = facts.documents.get(ref);
      const record = records.get(ref) ?? { ticket, found, current: found, steps: [], grave: undefined };
      records.set(ref, record);
      record.steps.push(step);
      const before = record.current;
      record.current = afterStep(before, ticket, step);
      if (ticket.read.collection.deletes !== "EDIT_WINS") return;
      if (step.kind === "insert") record.grave = "none";
      if (step.kind === "delete" && isReadable(before)) record.grave = before;
    },
    writes: () => [...records].map(([ref, record]) => writeOf(ref, record)),
  };
}

function afterStep(before: Found, { read }: Ticket, step: DocumentStep): Found {
  switch (step.kind) {
    case "insert":
      return { ...step.document, _id: read.key };
    case "change":
      return isReadable(before) ? applyChange(before, step) : before;
    case "delete":
      return undefined;
  }
}

function writeOf(ref: RecordRef, record: Folded): RecordWrite {
  const { collection, key } = record.ticket.read;
  return { ref, collection: collection.name, key, write: sumOf(record), grave: record.grave };
}

function sumOf({ found, current, steps }: Folded): DocumentWrite | undefined {
  if (!isReadable(current)) return found === undefined ? undefined : { kind: "delete" };
  if (found === undefined) return { kind: "insert", document: current };
  if (steps.some(({ kind }) => kind !== "change")) return { kind: "replace", document: current };
  const changes = steps.filter((step) => step.kind === "change");
  const [only] = changes;
  return only && changes.length === 1 ? only : changeTo(current, changes);
}

/** One change that does what several did: for each path touched, what is there now. */
function changeTo(current: SourceDocument, changes: readonly DocumentChange[]): DocumentWrite {
  const set: SourceDocument = {};
  const unset: string[] = [];
  for (const path of touchedPaths(changes)) {
    const value = valueAt(current, path);
    if (value === undefined) unset.push(path);
    else set[path] = value;
  }
  return { kind: "change", set, unset };
}
