// Receipts, as the ledger keeps them and as the caller is told. Whoever pushed may have lost sight of the record since:
// the record and the conflicts of a replayed receipt are told only if READ covers the record's scopes now.
import type { StoredConflict, StoredReceipt } from "../ledger/stored-receipt.ts";
import type { CommitClock } from "../model/commit-clock.ts";
import type { Mutation } from "../model/mutation.ts";
import type { FieldConflict, Outcome, Receipt, Rejection } from "../model/receipt.ts";
import type { Collection } from "../schema/collection.ts";
import { recordForCaller } from "./call.ts";
import type { Decision, View } from "./decide.ts";
import type { ReadMutation } from "./read-mutation.ts";
import type { Ticket } from "./ticket.ts";

/** The receipt to keep of what was decided. */
export function receiptToStore({ call, read }: Ticket, decision: Decision, atMs: number): StoredReceipt {
  const { mutation, intent } = read;
  const { outcome, recordAbsent, conflicts, rejection } = decision;
  return {
    mutationId: mutation.mutationId,
    principal: call.principal.id,
    device: call.principal.device,
    atMs,
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

/** The receipt of what has just been decided and committed. */
export function tellDecision({ call, read }: Ticket, decision: Decision, committedAt: CommitClock): Receipt {
  const { outcome, recordAbsent, rejection, record } = decision;
  return {
    ...blank(read.mutation, read.recordId),
    outcome,
    commitClock: isDone(outcome) ? committedAt : 0n,
    record: record && recordForCaller(call, read.collection, record),
    recordAbsent,
    conflicts: namedConflicts(read.collection, decision.conflicts),
    rejection,
  };
}

export interface Replay {
  readonly stored: StoredReceipt;
  /** The record as the caller sees it now. */
  readonly view: View;
}

/**
 * The receipt the ledger has. To any but its principal, or for other content, nothing but that the id is taken.
 * @param knownAt a time by which it had been committed.
 */
export function tellStored(ticket: Ticket, { stored, view }: Replay, knownAt: CommitClock): Receipt {
  const { call, read } = ticket;
  if (!isSameMutation(ticket, stored)) return tellRejected(read.mutation, read.recordId, idReused);
  const { outcome, recordAbsent, rejection } = stored;
  const told = {
    ...blank(read.mutation, read.recordId),
    outcome,
    commitClock: isDone(outcome) ? knownAt : 0n,
    replayed: true,
    recordAbsent,
    rejection,
  };
  const hasMore = !recordAbsent && (outcome === "MERGED" || outcome === "CONFLICT");
  if (!hasMore || !view.visible) return told;
  const record = recordForCaller(call, read.collection, view.encoded.bytes);
  return { ...told, record, conflicts: namedConflicts(read.collection, stored.conflicts) };
}

/** Whether a receipt is of this mutation, pushed by the same principal. */
export function isSameMutation({ call, read }: Ticket, stored: StoredReceipt): boolean {
  return stored.principal === call.principal.id && Buffer.compare(stored.hash, read.hash) === 0;
}

export function isDone(outcome: Outcome): boolean {
  return outcome === "APPLIED" || outcome === "MERGED";
}

/** Refused without a trace in the ledger. */
export function tellRejected(mutation: Mutation, recordId: string, rejection: Rejection): Receipt {
  return { ...blank(mutation, recordId), outcome: "REJECTED", rejection };
}

const idReused: Rejection = {
  reason: "MUTATION_ID_REUSED",
  description: "this mutation id was used before for something else: make another one",
  violations: [],
};

export function tellNotAttempted({
  mutation,
  recordId,
}: Pick<ReadMutation, "mutation" | "recordId">): Receipt {
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
