// Pushes mutations in transactions of their own, one after the other: what a group couldn't take, and what it set aside.
// Recorded is all the database had a part in deciding, refusals too, so that a copy arriving late, in whatever state,
// can't do what its client was told would never be done.
import { insertReceipt, ReceiptExists } from "../ledger/ledger.ts";
import type { Receipt } from "../model/receipt.ts";
import { SyncError } from "../model/sync-error.ts";
import { DocumentRefused } from "../mongo/source-document.ts";
import type { Call, PushParts } from "./call.ts";
import { commitTogether, type Told } from "./commit.ts";
import { decisionOfRefusal } from "./database-refusal.ts";
import { receiptToStore, tellDecision } from "./receipts.ts";
import type { Ticket } from "./ticket.ts";

/** Runs of a mutation: one ends early when a copy of it gets a receipt meanwhile. */
const RUNS_MAX = 5;

/** Tells each ticket as soon as it can; a failure is told to all that its call sent after it as well. */
export async function pushAlone(
  parts: PushParts,
  tickets: readonly Ticket[],
  tell: (ticket: Ticket, told: Told) => void,
): Promise<void> {
  const failed = new Map<Call, Told>();
  for (const ticket of tickets) {
    const told = failed.get(ticket.call) ?? (await pushOne(parts, ticket));
    if ("failure" in told) failed.set(ticket.call, told);
    tell(ticket, told);
  }
}

async function pushOne(parts: PushParts, ticket: Ticket): Promise<Told> {
  try {
    for (let run = 1; run <= RUNS_MAX; run++) {
      const told = await unlessCopied(() => commitOne(parts, ticket));
      if (told) return told;
    }
    throw new SyncError("CONTENTION", "copies of this mutation are being pushed at the same time; try again");
  } catch (failure) {
    return { failure };
  }
}

/** Undefined: a copy of it was faster; the ledger has its receipt now. */
async function unlessCopied<T>(commit: () => Promise<T>): Promise<T | undefined> {
  try {
    return await commit();
  } catch (error) {
    if (error instanceof ReceiptExists) return undefined;
    throw error;
  }
}

async function commitOne(parts: PushParts, ticket: Ticket): Promise<Told> {
  try {
    const told = await commitTogether(parts, [ticket], { signal: ticket.call.signal });
    return told.get(ticket) ?? { failure: new Error("broken invariant: each ticket is told") };
  } catch (error) {
    if (error instanceof DocumentRefused) return { receipt: await recordRefusal(parts, ticket, error) };
    throw error;
  }
}

/** Nothing of the transaction was kept: the receipt is recorded by itself. */
async function recordRefusal(parts: PushParts, ticket: Ticket, error: DocumentRefused): Promise<Receipt> {
  const decision = decisionOfRefusal(parts.logger, ticket.read, error);
  await insertReceipt(parts.ledger, receiptToStore(ticket, decision, parts.clock.nowMs()));
  return tellDecision(ticket, decision, 0n);
}
