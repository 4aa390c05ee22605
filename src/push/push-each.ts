// Pushes mutations one by one, each in a transaction of its own with its receipt, in the request's order: a later one
// sees what an earlier one did. Whatever fails a call, what it committed until then is replayed when sent again.
// Recorded is all the database had a part in deciding, refusals too, so that a copy arriving late, in whatever state,
// can't do what its client was told would never be done. What a mutation is refused for by itself (refuse-intent.ts)
// leaves no trace: it would be refused again.
import { findReceipts, insertReceipt, ReceiptExists } from "../ledger/ledger.ts";
import { commitClockOf } from "../model/commit-clock.ts";
import type { Receipt } from "../model/receipt.ts";
import { SyncError } from "../model/sync-error.ts";
import { DocumentRefused } from "../mongo/source-document.ts";
import { runTransaction } from "../mongo/transaction.ts";
import type { Call } from "./call.ts";
import { decideIn, writeDecision } from "./commit-mutation.ts";
import { decisionOfRefusal } from "./database-refusal.ts";
import { type Prepared, prepare } from "./prepare.ts";
import type { ReadMutation } from "./read-mutation.ts";
import { receiptToStore, tellDecision, tellRejected, tellStored } from "./receipts.ts";

export async function pushEach(call: Call): Promise<Receipt[]> {
  const receipts: Receipt[] = [];
  for (const prepared of await prepare(call)) {
    call.signal.throwIfAborted();
    receipts.push(await pushPrepared(call, prepared));
  }
  return receipts;
}

async function pushPrepared(call: Call, prepared: Prepared): Promise<Receipt> {
  switch (prepared.kind) {
    case "refused":
      return tellRejected(prepared.mutation, prepared.recordId, prepared.rejection);
    case "known":
      return await tellStored(call, prepared.read, prepared);
    case "new":
      return await pushNew(call, prepared.read);
  }
}

async function pushNew(call: Call, read: ReadMutation): Promise<Receipt> {
  try {
    return await commit(call, read);
  } catch (error) {
    // A copy of it was faster, in another call or in this one.
    if (error instanceof ReceiptExists) return await tellLatest(call, read);
    throw error;
  }
}

async function commit(call: Call, read: ReadMutation): Promise<Receipt> {
  try {
    const { result, operationTime } = await runTransaction(
      call.source.client,
      async (session) => {
        const decision = await decideIn(call, read, session);
        await writeDecision(call, read, decision, session);
        return decision;
      },
      { signal: call.signal },
    );
    return tellDecision(call, read, result, commitClockOf(operationTime));
  } catch (error) {
    if (!(error instanceof DocumentRefused)) throw error;
    const decision = decisionOfRefusal(call, read, error);
    await insertReceipt(call.ledger, receiptToStore(call, read, decision));
    return tellDecision(call, read, decision, 0n);
  }
}

async function tellLatest(call: Call, read: ReadMutation): Promise<Receipt> {
  const { mutationId } = read.mutation;
  const { receipts, readAt } = await findReceipts(call.ledger, [mutationId]);
  const stored = receipts.get(mutationId);
  if (stored === undefined)
    throw new SyncError("CONTENTION", "the mutation's receipt has just expired; try again");
  return await tellStored(call, read, { stored, readAt });
}
