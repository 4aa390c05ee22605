// Decides on one mutation and writes it, with its receipt, in the caller's transaction. The receipt goes in first: its
// unique id ends the transaction of a second copy before anything else can be said about it.
import { insertReceipt } from "../ledger/ledger.ts";
import { readDocument, type Session, writeDocument } from "../mongo/source-document.ts";
import { type Call, currentGrants } from "./call.ts";
import { type Decision, decide, viewOf } from "./decide.ts";
import type { ReadMutation } from "./read-mutation.ts";
import { receiptToStore } from "./receipts.ts";

/** Decides by what the transaction sees, its own writes included. */
export async function decideIn(call: Call, read: ReadMutation, session: Session): Promise<Decision> {
  const document = await readDocument(
    call.source,
    { collection: read.collection.name, key: read.key },
    session,
  );
  const grants = await currentGrants(call, session);
  return decide(read, viewOf(read, document, grants), grants);
}

/** @throws ReceiptExists or DocumentRefused, which end the transaction. */
export async function writeDecision(
  call: Call,
  read: ReadMutation,
  decision: Decision,
  session: Session,
): Promise<void> {
  await insertReceipt(call.ledger, receiptToStore(call, read, decision), session);
  if (decision.write === undefined) return;
  await writeDocument(
    call.source,
    { collection: read.collection.name, key: read.key },
    decision.write,
    session,
  );
}
