// Decides what becomes of a mutation, from the document as its transaction sees it and what the principal may see and
// write. Pure: what is decided here is written, or recorded, in the same transaction. A record the principal can't see
// is treated as absent, but for its id not being free; so is a document that is no record.
import type { StoredConflict } from "../ledger/stored-receipt.ts";
import type { MainEntry } from "../log/entry.ts";
import { canRead, canWrite, type Grants } from "../model/principal.ts";
import type { Rejection } from "../model/receipt.ts";
import type { Found, SourceDocument } from "../mongo/source-document.ts";
import { type EncodedRecord, encodeDocument } from "../schema/encode-document.ts";
import { UnfitDocument } from "../schema/unfit-document.ts";
import { applyChange } from "./apply-change.ts";
import { encodeFit, refuseBrokenRules } from "./broken-rules.ts";
import { changeOf } from "./change-of.ts";
import type { DocumentStep } from "./fold.ts";
import type { Intent } from "./intent.ts";
import { differingFields, mergeFields } from "./merge-fields.ts";
import type { ReadMutation } from "./read-mutation.ts";
import { orRejection, Refused } from "./refused.ts";
import { createStamps, writeStamps } from "./stamps.ts";
import { refuseRewrite, refuseUnlessWritable } from "./write-access.ts";

export interface Decision {
  readonly outcome: "APPLIED" | "MERGED" | "CONFLICT" | "REJECTED";
  /** Undefined: nothing is to be written. */
  readonly step: DocumentStep | undefined;
  readonly conflicts: readonly StoredConflict[];
  readonly recordAbsent: boolean;
  readonly rejection: Rejection | undefined;
  /** MERGED: the record as it is now; CONFLICT: as it is; canonical bytes. */
  readonly record: Uint8Array | undefined;
}

/** A document as a principal sees it. */
export type View = { readonly visible: false; readonly exists: boolean } | Visible;

interface Visible {
  readonly visible: true;
  readonly document: SourceDocument;
  readonly encoded: EncodedRecord;
}

/** @param found the document under the record's key. */
export function viewOf(
  { collection, recordId }: Pick<ReadMutation, "collection" | "recordId">,
  found: Found,
  grants: Grants,
): View {
  if (found === undefined) return { visible: false, exists: false };
  if (found === "unreadable") return { visible: false, exists: true };
  try {
    const encoded = encodeDocument(collection, found);
    // Where `_id`s are compared without case, another document may be found.
    const visible = encoded.recordId === recordId && canRead(grants, encoded.scopes);
    return visible ? { visible, document: found, encoded } : { visible, exists: true };
  } catch (error) {
    if (error instanceof UnfitDocument) return { visible: false, exists: true };
    throw error;
  }
}

/** What a decision is made by. */
export interface Situation {
  readonly grants: Grants;
  readonly found: Found;
  /** Of the record, if a version is expected and the log has one. */
  readonly entry: MainEntry | undefined;
  /** What a push deleted last of an absent record that an edit may bring back. */
  readonly grave: SourceDocument | undefined;
  /** For stamps. */
  readonly nowMs: number;
}

/** Decides by what the transaction has read; never throws for what a client may have caused. */
export function decide(read: ReadMutation, situation: Situation): Decision {
  const { intent } = read;
  const view = viewOf(read, situation.found, situation.grants);
  const decided = orRejection(() => {
    switch (intent.kind) {
      case "create":
        return decideCreate(read, intent, { ...situation, view });
      case "update":
        return view.visible
          ? decideUpdate(read, intent, { ...situation, view })
          : decideRevival(read, intent, { ...situation, view });
      case "delete":
        return view.visible ? decideDelete(read, intent, { ...situation, view }) : applied(undefined);
    }
  });
  return "outcome" in decided ? decided : rejected(decided.rejection);
}

export function rejected(rejection: Rejection): Decision {
  return { ...nothing, outcome: "REJECTED", rejection };
}

const nothing = {
  step: undefined,
  conflicts: [],
  recordAbsent: false,
  rejection: undefined,
  record: undefined,
} as const;
const recordAbsent: Decision = { ...nothing, outcome: "CONFLICT", recordAbsent: true };

function applied(step: DocumentStep | undefined): Decision {
  return { ...nothing, outcome: "APPLIED", step };
}

function conflict({ encoded }: Visible, conflicts: readonly StoredConflict[]): Decision {
  return { ...nothing, outcome: "CONFLICT", conflicts, record: encoded.bytes };
}

type Of<K extends Intent["kind"]> = Extract<Intent, { kind: K }>;

interface Seen<V extends View> extends Situation {
  readonly view: V;
}

function decideCreate(
  read: ReadMutation,
  intent: Of<"create">,
  { view, grants, nowMs }: Seen<View>,
): Decision {
  const document = { ...intent.document, ...createStamps(read.collection, nowMs) };
  const encoded = encodeFit(read, document);
  refuseRewrite(read, grants, { before: undefined, after: document, encoded, granted: undefined });
  if (!view.visible) {
    if (view.exists) throw idTaken();
    return applied({ kind: "insert", document });
  }
  refuseUnlessWritable(grants, view.encoded);
  // What clients can't set may differ: they had no say in it.
  const settable = read.collection.fields.filter((field) => field.settable);
  const differing = differingFields(
    read.collection,
    { fields: settable, values: intent.values },
    view.document,
  );
  const conflicts = differing.map(({ field, a, b }) => ({ field, base: undefined, current: b, proposed: a }));
  return conflicts.length === 0 ? applied(undefined) : conflict(view, conflicts);
}

function decideUpdate(read: ReadMutation, intent: Of<"update">, situation: Seen<Visible>): Decision {
  const { view, grants } = situation;
  refuseUnlessWritable(grants, view.encoded);
  if (!isExpected(read, situation)) return conflict(view, []);
  const { change, conflicts, isRejected } = edited(read, intent, situation);
  if (isRejected) return conflict(view, conflicts);
  if (change === undefined) {
    return conflicts.length === 0
      ? applied(undefined)
      : { ...nothing, outcome: "MERGED", conflicts, record: view.encoded.bytes };
  }
  const document = applyChange(view.document, change);
  const after = encodeFit(read, document);
  const granted = view.encoded.membership;
  refuseRewrite(read, grants, { before: view.document, after: document, encoded: after, granted });
  refuseBrokenRules(read, { before: view.encoded, after });
  const step = { kind: "change", ...change } as const;
  return conflicts.length === 0
    ? applied(step)
    : { ...nothing, outcome: "MERGED", step, conflicts, record: after.bytes };
}

/** An edit of a record that is absent: where edits win over deletes, it comes back as it was when deleted, edited. */
function decideRevival(read: ReadMutation, intent: Of<"update">, situation: Seen<View>): Decision {
  const { view, grants, grave, nowMs } = situation;
  const exists = !view.visible && view.exists;
  if (exists || grave === undefined || read.mutation.expectedVersion !== 0) return recordAbsent;
  const before = viewOf(read, grave, grants);
  if (!before.visible || !canWrite(grants, before.encoded.scopes)) return recordAbsent;
  const { change, conflicts, isRejected } = edited(read, intent, { ...situation, view: before });
  if (isRejected) return recordAbsent;
  const { _id, ...revived } = change ? applyChange(before.document, change) : before.document;
  const document = { ...revived, ...writeStamps(read.collection, nowMs) };
  const after = encodeFit(read, document);
  // What it granted went when it was deleted: coming back it grants anew.
  refuseRewrite(read, grants, {
    before: before.document,
    after: document,
    encoded: after,
    granted: undefined,
  });
  refuseBrokenRules(read, { before: before.encoded, after });
  const step = { kind: "insert", document } as const;
  return { ...nothing, outcome: "MERGED", step, conflicts, record: after.bytes };
}

function edited(read: ReadMutation, intent: Of<"update">, { view, nowMs }: Seen<Visible>) {
  const { collection } = read;
  const { writes, conflicts, isRejected } = mergeFields(collection, intent, view.document);
  const change = isRejected ? undefined : changeOf(collection, writes, view.document);
  const stamped = change && { ...change, set: { ...change.set, ...writeStamps(collection, nowMs) } };
  return { change: stamped, conflicts, isRejected };
}

/**
 * A delete that gives the record as its client saw it and finds it edited since follows the collection's rule. What it
 * took away or left is told as MERGED; the conflicts keep in the ledger what the client had not seen.
 */
function decideDelete(read: ReadMutation, { base }: Of<"delete">, situation: Seen<Visible>): Decision {
  const { view, grants } = situation;
  refuseUnlessWritable(grants, view.encoded);
  if (!isExpected(read, situation)) return conflict(view, []);
  const { fields, deletes } = read.collection;
  const edits = fields.filter(({ access, stamp }) => access !== "HIDDEN" && stamp === undefined);
  const differing = base
    ? differingFields(read.collection, { fields: edits, values: base }, view.document)
    : [];
  const conflicts = differing.map(({ field, a, b }) => ({ field, base: a, current: b, proposed: undefined }));
  const step = { kind: "delete" } as const;
  if (conflicts.length === 0) return applied(step);
  switch (deletes) {
    case "DELETE_WINS":
      return { ...nothing, outcome: "MERGED", step, conflicts };
    case "EDIT_WINS":
      return { ...nothing, outcome: "MERGED", conflicts, record: view.encoded.bytes };
    case "REJECT":
      return conflict(view, conflicts);
  }
}

/** The log may lag behind the source, so its version alone proves nothing: the record must still be that version. */
function isExpected({ mutation }: ReadMutation, { entry, view }: Seen<Visible>): boolean {
  if (mutation.expectedVersion === 0) return true;
  if (entry?.seq !== mutation.expectedVersion) return false;
  return Buffer.compare(entry.record, view.encoded.bytes) === 0;
}

function idTaken(): Refused {
  return new Refused("ID_TAKEN", "the record id isn't free: make another one");
}
