// Receipts, as the ledger keeps them and as the caller is told. Whoever pushed may have lost sight of the record since:
// the record and the conflicts of a replayed receipt are told only if READ covers the record's scopes now.
import type { StoredConflict, StoredReceipt } from "../ledger/stored-receipt.ts";
import type { CommitClock } from "../model/commit-clock.ts";
import type { Mutation } from "../model/mutation.ts";
import type { FieldConflict, Receipt, Rejection } from "../model/receipt.ts";
import { readDocument } from "../mongo/source-document.ts";
import type { Collection } from "../schema/collection.ts";
import { type Call, currentGrants, recordForCaller } from "./call.ts";
import { type Decision, viewOf } from "./decide.ts";
import type { ReadMutation } from "./read-mutation.ts";

/** The receipt to keep of what was decided. */
export function receiptToStore(call: Call, read: ReadMutation, decision: Decision): StoredReceipt {
  const { mutation, intent } = read;
  const { outcome, recordAbsent, conflicts, rejection } = decision;
  return {
    mutationId: mutation.mutationId,
    principal: call.principal.id,
    device: call.principal.device,
    atMs: call.clock.nowMs(),
    madeAtMs: mutation.madeAtMs,
    collection: read.collection.name,
    recordId: read.recordId,
    kind: intent.kind,
    fields: intent.fields.map(({ number }) => number),
    hash: read.hash,
    outcome,
    recordAbsent,
    conflicts,
    rejection,
  };
}

/** The receipt of what this call has decided and committed. */
export function tellDecision(
  call: Call,
  read: ReadMutation,
  decision: Decision,
  committedAt: CommitClock,
): Receipt {
  const { outcome, recordAbsent, rejection, record } = decision;
  return {
    ...blank(read.mutation, read.recordId),
    outcome,
    commitClock: outcome === "APPLIED" || outcome === "MERGED" ? committedAt : 0n,
    record: record && recordForCaller(call, read.collection, record),
    recordAbsent,
    conflicts: namedConflicts(read.collection, decision.conflicts),
    rejection,
  };
}

/**
 * The receipt the ledger has. To any but its principal, or for other content, nothing but that the id is taken.
 * @param readAt operation time of the majority read that found it.
 */
export async function tellStored(
  call: Call,
  read: ReadMutation,
  { stored, readAt }: { readonly stored: StoredReceipt; readonly readAt: CommitClock },
): Promise<Receipt> {
  if (stored.principal !== call.principal.id || Buffer.compare(stored.hash, read.hash) !== 0) {
    return tellRejected(read.mutation, read.recordId, idReused);
  }
  const { outcome, recordAbsent, rejection } = stored;
  const told = {
    ...blank(read.mutation, read.recordId),
    outcome,
    commitClock: outcome === "APPLIED" || outcome === "MERGED" ? readAt : 0n,
    replayed: true,
    recordAbsent,
    rejection,
  };
  const hasMore = !recordAbsent && (outcome === "MERGED" || outcome === "CONFLICT");
  return hasMore ? { ...told, ...(await tellNow(call, read, stored.conflicts)) } : told;
}

/** The record as it is now, and these conflicts, as far as the caller may see the record now. */
export async function tellNow(
  call: Call,
  read: ReadMutation,
  conflicts: readonly StoredConflict[],
): Promise<Pick<Receipt, "record" | "conflicts">> {
  const document = await readDocument(call.source, { collection: read.collection.name, key: read.key });
  const view = viewOf(read, document, await currentGrants(call));
  if (!view.visible) return { record: undefined, conflicts: [] };
  const record = recordForCaller(call, read.collection, view.encoded.bytes);
  return { record, conflicts: namedConflicts(read.collection, conflicts) };
}

/** Refused without a trace in the ledger. */
export function tellRejected(mutation: Mutation, recordId: string, rejection: Rejection): Receipt {
  return { ...blank(mutation, recordId), outcome: "REJECTED", rejection };
}

export const idReused: Rejection = {
  reason: "MUTATION_ID_REUSED",
  description: "this mutation id was used before for something else: make another one",
  violations: [],
};

export function tellNotAttempted(mutation: Mutation, recordId: string): Receipt {
  return { ...blank(mutation, recordId), outcome: "NOT_ATTEMPTED" };
}

function blank({ mutationId }: Mutation, recordId: string): Omit<Receipt, "outcome"> {
  return {
    mutationId,
    recordId,
    commitClock: 0n,
    replayed: false,
    record: undefined,
    recordAbsent: false,
    conflicts: [],
    rejection: undefined,
  };
}

/** Fields the schema has lost or hidden since aren't named. */
function namedConflicts(collection: Collection, conflicts: readonly StoredConflict[]): FieldConflict[] {
  return conflicts.flatMap(({ field: number }) => {
    const field = collection.fieldsByNumber.get(number);
    return field && field.access !== "HIDDEN" ? [{ field: number, name: field.name }] : [];
  });
}
