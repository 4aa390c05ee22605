// Prepares a request's mutations: read by the schema, looked up in the ledger all at once, judged by themselves.
// What is left to do needs a transaction. The ledger is asked before the floor is read (see ledger.ts).
import { findReceipts, readFloor } from "../ledger/ledger.ts";
import type { StoredReceipt } from "../ledger/stored-receipt.ts";
import type { CommitClock } from "../model/commit-clock.ts";
import type { Mutation } from "../model/mutation.ts";
import type { Rejection } from "../model/receipt.ts";
import type { Call } from "./call.ts";
import { type ReadMutation, readMutation } from "./read-mutation.ts";
import { refuseIntent } from "./refuse-intent.ts";
import { orRejection } from "./refused.ts";

export type Prepared =
  /** Refused by itself; `recordId` is canonical if it fits its collection. */
  | {
      readonly kind: "refused";
      readonly mutation: Mutation;
      readonly recordId: string;
      readonly rejection: Rejection;
    }
  /** It has a receipt, perhaps another principal's. */
  | {
      readonly kind: "known";
      readonly read: ReadMutation;
      readonly stored: StoredReceipt;
      readonly readAt: CommitClock;
    }
  | { readonly kind: "new"; readonly read: ReadMutation };

/** In the request's order. A mutation id that comes twice in a request is prepared twice alike. */
export async function prepare(call: Call): Promise<Prepared[]> {
  const reads = call.request.mutations.map((sent) => {
    const mutation = { ...sent, mutationId: sent.mutationId.toLowerCase() };
    const read = orRejection(() => readMutation(call.schema, mutation));
    return "rejection" in read ? refused(mutation, mutation.recordId, read.rejection) : read;
  });
  const ids = reads.flatMap((read) => ("kind" in read ? [] : [read.mutation.mutationId]));
  const { receipts, readAt } = await findReceipts(call.ledger, ids);
  const floor = await readFloor(call.ledger);
  return reads.map((read) => {
    if ("kind" in read) return read;
    const stored = receipts.get(read.mutation.mutationId);
    return stored ? { kind: "known", read, stored, readAt } : judge(call, read, floor);
  });
}

function judge(call: Call, read: ReadMutation, floor: CommitClock): Prepared {
  const judged = orRejection(() => {
    refuseIntent(read, call.principal, floor);
    return read;
  });
  return "rejection" in judged
    ? refused(read.mutation, read.recordId, judged.rejection)
    : { kind: "new", read };
}

function refused(
  mutation: Mutation,
  recordId: string,
  rejection: Rejection,
): Extract<Prepared, { kind: "refused" }> {
  return { kind: "refused", mutation, recordId, rejection };
}
