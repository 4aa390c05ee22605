// A receipt as the ledger keeps it: everything about a mutation but the record itself, which is read again whenever the
// receipt is told. It doubles as the audit trail: who wanted what, when, and which values lost. Values are canonical
// bytes of single fields and bounded: past the limit only their sizes are kept.
import { Binary } from "mongodb";
import type { Mutation } from "../model/mutation.ts";
import type { Outcome, Rejection, RejectionReason } from "../model/receipt.ts";
import type { Violation } from "../model/sync-error.ts";

export interface StoredReceipt {
  readonly mutationId: string;
  /** Who pushed it; nobody else is told anything of it. */
  readonly principal: string;
  readonly device: string;
  /** When, in ms since 1970, by the clock of the node that took it. */
  readonly atMs: number;
  readonly madeAtMs: number | undefined;
  readonly collection: string;
  readonly recordId: string;
  readonly kind: Mutation["kind"]["case"];
  /** The top-level fields the mutation named. */
  readonly fields: readonly number[];
  /** Of the content, so that the same id with other content is told apart. */
  readonly hash: Uint8Array;
  readonly outcome: Exclude<Outcome, "NOT_ATTEMPTED">;
  /** CONFLICT because there was no such record, as far as the principal could know. */
  readonly recordAbsent: boolean;
  readonly conflicts: readonly StoredConflict[];
  readonly rejection: Rejection | undefined;
}

/** A field both sides had changed, with its values in canonical bytes (empty: default); undefined: unknown or cut. */
export interface StoredConflict {
  readonly field: number;
  readonly base: Uint8Array | undefined;
  readonly current: Uint8Array | undefined;
  readonly proposed: Uint8Array | undefined;
}

export interface ReceiptDocument {
  _id: string;
  principal: string;
  device: string;
  at: Date;
  made_at?: Date;
  collection: string;
  record: string;
  kind: StoredReceipt["kind"];
  fields: number[];
  hash: Binary;
  outcome: StoredReceipt["outcome"];
  absent?: true;
  conflicts?: ConflictDocument[];
  /** The first of its transaction: the one ingest watches for. */
  first?: true;
  rejection?: { reason: RejectionReason; description: string; violations: Violation[] };
}

/** A value, or the size of one that was too long to keep. */
type StoredValue = Binary | { bytes: number };

interface ConflictDocument {
  field: number;
  base?: StoredValue;
  current?: StoredValue;
  proposed?: StoredValue;
}

/** Values kept in one receipt, in bytes: enough for what people type; far from the 16 MB a document may have. */
const VALUES_BYTES_MAX = 65_536;

export function receiptDocument(receipt: StoredReceipt): ReceiptDocument {
  const { conflicts, madeAtMs, rejection } = receipt;
  return {
    _id: receipt.mutationId,
    principal: receipt.principal,
    device: receipt.device,
    at: new Date(receipt.atMs),
    ...(isDate(madeAtMs) && { made_at: new Date(madeAtMs) }),
    collection: receipt.collection,
    record: receipt.recordId,
    kind: receipt.kind,
    fields: [...receipt.fields],
    hash: new Binary(receipt.hash),
    outcome: receipt.outcome,
    ...(receipt.recordAbsent && { absent: true as const }),
    ...(conflicts.length > 0 && { conflicts: conflictDocuments(conflicts) }),
    ...(rejection && { rejection: { ...rejection, violations: [...rejection.violations] } }),
  };
}

/** A client's clock says what it likes: what no date holds counts as not told. */
function isDate(ms: number | undefined): ms is number {
  return ms !== undefined && !Number.isNaN(new Date(ms).getTime());
}

/** Reads what `receiptDocument` wrote, as the driver's default options decode it. */
export function storedReceiptOf(document: ReceiptDocument): StoredReceipt {
  return {
    mutationId: document._id,
    principal: document.principal,
    device: document.device,
    atMs: document.at.getTime(),
    madeAtMs: document.made_at?.getTime(),
    collection: document.collection,
    recordId: document.record,
    kind: document.kind,
    fields: document.fields,
    hash: bytesOf(document.hash),
    outcome: document.outcome,
    recordAbsent: document.absent ?? false,
    conflicts: (document.conflicts ?? []).map(conflictOf),
    rejection: document.rejection,
  };
}

function conflictDocuments(conflicts: readonly StoredConflict[]): ConflictDocument[] {
  let left = VALUES_BYTES_MAX;
  const stored = (value: Uint8Array): StoredValue => {
    if (value.length > left) return { bytes: value.length };
    left -= value.length;
    return new Binary(value);
  };
  return conflicts.map(({ field, base, current, proposed }) => ({
    field,
    ...(base && { base: stored(base) }),
    ...(current && { current: stored(current) }),
    ...(proposed && { proposed: stored(proposed) }),
  }));
}

function conflictOf({ field, base, current, proposed }: ConflictDocument): StoredConflict {
  return { field, base: keptValue(base), current: keptValue(current), proposed: keptValue(proposed) };
}

function keptValue(stored: StoredValue | undefined): Uint8Array | undefined {
  return stored instanceof Binary ? bytesOf(stored) : undefined;
}

function bytesOf(binary: Binary): Uint8Array {
  return binary.buffer.subarray(0, binary.position);
}
