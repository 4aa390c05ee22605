// Decides what becomes of a mutation, from the document as its transaction sees it and what the principal may see and
// write. Pure: what is decided here is written, or recorded, in the same transaction. A record the principal can't see
// is treated as absent, but for its id not being free; so is a document that is no record.
import type { StoredConflict } from "../ledger/stored-receipt.ts";
import { canRead, canWrite, type Grants } from "../model/principal.ts";
import type { Rejection } from "../model/receipt.ts";
import type { DocumentWrite, SourceDocument } from "../mongo/source-document.ts";
import type { Collection, Field } from "../schema/collection.ts";
import { type EncodedRecord, encodeDocument } from "../schema/encode-document.ts";
import { leafWrites } from "../schema/leaf-writes.ts";
import { UnfitDocument } from "../schema/unfit-document.ts";
import { applyChange, type DocumentChange } from "./apply-change.ts";
import { encodeFit, refuseBrokenRules } from "./broken-rules.ts";
import type { Intent } from "./intent.ts";
import { differingFields, mergeFields } from "./merge-fields.ts";
import type { ReadMutation } from "./read-mutation.ts";
import { orRejection, Refused } from "./refused.ts";

export interface Decision {
  readonly outcome: "APPLIED" | "MERGED" | "CONFLICT" | "REJECTED";
  /** Undefined: nothing is to be written. */
  readonly write: DocumentWrite | undefined;
  readonly conflicts: readonly StoredConflict[];
  readonly recordAbsent: boolean;
  readonly rejection: Rejection | undefined;
  /** MERGED: the record as written; CONFLICT: as it is; canonical bytes. */
  readonly record: Uint8Array | undefined;
}

/** A document as a principal sees it. */
export type View =
  | { readonly visible: false; readonly exists: boolean }
  | { readonly visible: true; readonly document: SourceDocument; readonly encoded: EncodedRecord };

type Visible = Extract<View, { visible: true }>;

/** @param document the one found under the record's key; undefined: none. */
export function viewOf(
  { collection, recordId }: Pick<ReadMutation, "collection" | "recordId">,
  document: SourceDocument | "unreadable" | undefined,
  grants: Grants,
): View {
  if (document === undefined) return { visible: false, exists: false };
  if (document === "unreadable") return { visible: false, exists: true };
  try {
    const encoded = encodeDocument(collection, document);
    // Where `_id`s are compared without case, another document may be found.
    const visible = encoded.recordId === recordId && canRead(grants, encoded.scopes);
    return visible ? { visible, document, encoded } : { visible, exists: true };
  } catch (error) {
    if (error instanceof UnfitDocument) return { visible: false, exists: true };
    throw error;
  }
}

/** Decides by what the transaction has read; never throws for what a client may have caused. */
export function decide(read: ReadMutation, view: View, grants: Grants): Decision {
  const { intent } = read;
  const decided = orRejection(() => {
    switch (intent.kind) {
      case "create":
        return decideCreate(read, intent, { view, grants });
      case "update":
        return view.visible ? decideUpdate(read, intent, { view, grants }) : recordAbsent;
      case "delete":
        return view.visible ? decideDelete(read, intent, { view, grants }) : applied(undefined);
    }
  });
  return "outcome" in decided ? decided : rejected(decided.rejection);
}

export function rejected(rejection: Rejection): Decision {
  return { ...nothing, outcome: "REJECTED", rejection };
}

const nothing = {
  write: undefined,
  conflicts: [],
  recordAbsent: false,
  rejection: undefined,
  record: undefined,
} as const;
const recordAbsent: Decision = { ...nothing, outcome: "CONFLICT", recordAbsent: true };

function applied(write: DocumentWrite | undefined): Decision {
  return { ...nothing, outcome: "APPLIED", write };
}

interface Situation<V extends View> {
  readonly view: V;
  readonly grants: Grants;
}

function decideCreate(
  read: ReadMutation,
  { document }: Extract<Intent, { kind: "create" }>,
  { view, grants }: Situation<View>,
): Decision {
  refuseUnlessWritable(grants, encodeFit(read, document));
  if (!view.visible) {
    if (view.exists) throw idTaken();
    return applied({ kind: "insert", document });
  }
  refuseUnlessWritable(grants, view.encoded);
  // What clients can't set may differ: they had no say in it.
  const settable = read.collection.fields.filter(({ access }) => access === "READ_WRITE");
  const differing = differingFields(read.collection, settable, [document, view.document]);
  const conflicts = differing.map(({ field, a, b }) => ({ field, base: undefined, current: b, proposed: a }));
  if (conflicts.length === 0) return applied(undefined);
  return { ...nothing, outcome: "CONFLICT", conflicts, record: view.encoded.bytes };
}

function decideUpdate(
  read: ReadMutation,
  intent: Extract<Intent, { kind: "update" }>,
  { view, grants }: Situation<Visible>,
): Decision {
  refuseUnlessWritable(grants, view.encoded);
  const { writes, conflicts } = mergeFields(read.collection, intent, view.document);
  if (writes.length === 0) return applied(undefined);
  const change = changeOf(read, intent, { writes, current: view.document });
  if (change.unset.length === 0 && Object.keys(change.set).length === 0) return applied(undefined);
  const after = encodeFit(read, applyChange(view.document, change));
  refuseUnlessWritable(grants, after);
  refuseBrokenRules(read, { before: view.encoded, after });
  const write = { kind: "change", ...change } as const;
  return conflicts.length === 0
    ? applied(write)
    : { ...nothing, outcome: "MERGED", write, conflicts, record: after.bytes };
}

/**
 * DELETE_WINS. A delete that gives the record as its client saw it and takes away edits the client had not seen is told
 * as MERGED, as any rule's decision is; there is no merged record to tell. Its conflicts keep in the ledger what was lost.
 */
function decideDelete(
  read: ReadMutation,
  { base }: Extract<Intent, { kind: "delete" }>,
  { view, grants }: Situation<Visible>,
): Decision {
  refuseUnlessWritable(grants, view.encoded);
  const write = { kind: "delete" } as const;
  const visible = read.collection.fields.filter(({ access }) => access !== "HIDDEN");
  const differing = base ? differingFields(read.collection, visible, [base, view.document]) : [];
  const conflicts = differing.map(({ field, a, b }) => ({ field, base: a, current: b, proposed: undefined }));
  return conflicts.length === 0 ? applied(write) : { ...nothing, outcome: "MERGED", write, conflicts };
}

interface Writes {
  readonly writes: readonly Field[];
  readonly current: SourceDocument;
}

function changeOf(
  { collection }: ReadMutation,
  intent: Extract<Intent, { kind: "update" }>,
  { writes, current }: Writes,
): DocumentChange {
  const set: SourceDocument = {};
  const unset: string[] = [];
  for (const field of writes) {
    if (field.oneof !== undefined) refuseBlockedOneof(collection, field.oneof, current);
    const leaves = leafWrites(collection, field, intent.message, current);
    if ("destroys" in leaves) throw destroys(field);
    Object.assign(set, leaves.set);
    unset.push(...leaves.unset);
  }
  return { set, unset };
}

/** Setting a member of a oneof clears the others: not if the one that is there isn't the client's to change. */
function refuseBlockedOneof(collection: Collection, oneof: string, current: SourceDocument): void {
  const blocks = ({ access, key, oneof: own }: Field) =>
    own === oneof && access !== "READ_WRITE" && (current[key] ?? null) !== null;
  if (!collection.fields.some(blocks)) return;
  throw new Refused("FORBIDDEN", `the oneof ${oneof} holds a value clients can't change`);
}

function refuseUnlessWritable(grants: Grants, { scopes }: EncodedRecord): void {
  if (canWrite(grants, scopes)) return;
  throw new Refused("FORBIDDEN", "the record is, or would be, in no scope the caller may write");
}

function idTaken(): Refused {
  return new Refused("ID_TAKEN", "the record id isn't free: make another one");
}

function destroys(field: Field): Refused {
  const advice = "change it where the whole document is at hand";
  return new Refused(
    "UNDECLARED_DATA",
    `the write would destroy data in ${field.name} that the schema doesn't declare: ${advice}`,
  );
}
