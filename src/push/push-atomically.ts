// Pushes a request's mutations all or nothing, in one transaction with their receipts. If one isn't applied or merged,
// nothing is written, and those not to blame are NOT_ATTEMPTED, without a trace: they may be sent again under their ids.
//
// To blame is every mutation refused by itself or by its receipt, or else the first one the transaction can't take: what
// would come after that was never tried in the state it was meant for. That one's receipt is recorded: its client was
// told that it isn't and won't be applied, so a copy of the request arriving later must not apply it.
import { insertReceipt, ReceiptExists } from "../ledger/ledger.ts";
import { commitClockOf } from "../model/commit-clock.ts";
import type { Receipt } from "../model/receipt.ts";
import { SyncError } from "../model/sync-error.ts";
import { DocumentRefused, type Session } from "../mongo/source-document.ts";
import { runTransaction } from "../mongo/transaction.ts";
import type { Call } from "./call.ts";
import { decideIn, writeDecision } from "./commit-mutation.ts";
import { decisionOfRefusal } from "./database-refusal.ts";
import type { Decision } from "./decide.ts";
import { type Prepared, prepare } from "./prepare.ts";
import type { ReadMutation } from "./read-mutation.ts";
import {
  idReused,
  receiptToStore,
  tellDecision,
  tellNotAttempted,
  tellNow,
  tellRejected,
  tellStored,
} from "./receipts.ts";

/** Runs of the request: a run ends early when a copy of one of its mutations gets a receipt meanwhile. */
const RUNS_MAX = 5;

export async function pushAtomically(call: Call): Promise<Receipt[]> {
  for (let run = 1; run <= RUNS_MAX; run++) {
    call.signal.throwIfAborted();
    try {
      return await pushAll(call);
    } catch (error) {
      if (!(error instanceof ReceiptExists)) throw error;
    }
  }
  throw new SyncError("CONTENTION", "copies of this request are being pushed at the same time; try again");
}

/** @throws ReceiptExists when a copy was faster: ask the ledger again. */
async function pushAll(call: Call): Promise<Receipt[]> {
  const steps = withoutRepeats(await prepare(call));
  const settled = new Map<Step, Receipt>();
  for (const step of steps) {
    if (step.kind === "refused")
      settled.set(step, tellRejected(step.mutation, step.recordId, step.rejection));
    if (step.kind === "known") settled.set(step, await tellStored(call, step.read, step));
  }
  const todo = steps.flatMap((step) => (step.kind === "new" ? [step.read] : []));
  const hopeless = ![...settled.values()].every(isDone);
  const pushed = hopeless || todo.length === 0 ? new Map<string, Receipt>() : await commitAll(call, todo);
  return steps.map((step) => settled.get(step) ?? receiptOf(step, pushed));
}

/** A second copy within the request, which the first's receipt will answer. */
interface Repeat {
  readonly kind: "repeat";
  readonly read: ReadMutation;
}

type Step = Prepared | Repeat;

function withoutRepeats(prepared: readonly Prepared[]): Step[] {
  const first = new Map<string, ReadMutation>();
  return prepared.map((step) => {
    if (step.kind !== "new") return step;
    const { read } = step;
    const { mutation, recordId, hash } = read;
    const earlier = first.get(mutation.mutationId);
    if (earlier === undefined) {
      first.set(mutation.mutationId, read);
      return step;
    }
    const isSame = Buffer.compare(earlier.hash, hash) === 0;
    return isSame ? { kind: "repeat", read } : { kind: "refused", mutation, recordId, rejection: idReused };
  });
}

function receiptOf(step: Step, pushed: ReadonlyMap<string, Receipt>): Receipt {
  if (step.kind === "refused") return tellNotAttempted(step.mutation, step.recordId);
  const { mutation, recordId } = step.read;
  const receipt = pushed.get(mutation.mutationId);
  if (receipt === undefined) return tellNotAttempted(mutation, recordId);
  return step.kind === "repeat" ? { ...receipt, replayed: true } : receipt;
}

function isDone({ outcome }: Receipt): boolean {
  return outcome === "APPLIED" || outcome === "MERGED";
}

/** Ends the transaction: this mutation isn't applied or merged. */
class Blamed extends Error {
  override readonly name = "Blamed";
  readonly read: ReadMutation;
  readonly decision: Decision;

  constructor(read: ReadMutation, decision: Decision, options?: ErrorOptions) {
    super(`mutation ${read.mutation.mutationId} fails its request`, options);
    this.read = read;
    this.decision = decision;
  }
}

/** The receipts of all by mutation id, or that of the one to blame alone. */
async function commitAll(call: Call, reads: readonly ReadMutation[]): Promise<Map<string, Receipt>> {
  try {
    const { result, operationTime } = await runTransaction(
      call.source.client,
      (session) => decideAll(call, reads, session),
      { signal: call.signal },
    );
    const committedAt = commitClockOf(operationTime);
    const receipts = result.map(([read, decision]) => tellDecision(call, read, decision, committedAt));
    return new Map(receipts.map((receipt) => [receipt.mutationId, receipt]));
  } catch (error) {
    if (!(error instanceof Blamed)) throw error;
    const receipt = await recordBlame(call, error);
    return new Map([[receipt.mutationId, receipt]]);
  }
}

async function decideAll(
  call: Call,
  reads: readonly ReadMutation[],
  session: Session,
): Promise<Array<readonly [ReadMutation, Decision]>> {
  const decided: Array<readonly [ReadMutation, Decision]> = [];
  for (const read of reads) {
    const decision = await decideIn(call, read, session);
    if (decision.outcome === "CONFLICT" || decision.outcome === "REJECTED") throw new Blamed(read, decision);
    try {
      await writeDecision(call, read, decision, session);
    } catch (error) {
      throw error instanceof DocumentRefused ? blameOf(call, read, error) : error;
    }
    decided.push([read, decision]);
  }
  return decided;
}

function blameOf(call: Call, read: ReadMutation, cause: DocumentRefused): Blamed {
  return new Blamed(read, decisionOfRefusal(call, read, cause), { cause });
}

/** What the transaction saw includes edits that are now undone: the record told is read anew. */
async function recordBlame(call: Call, { read, decision }: Blamed): Promise<Receipt> {
  await insertReceipt(call.ledger, receiptToStore(call, read, decision));
  const told = tellDecision(call, read, { ...decision, record: undefined }, 0n);
  return decision.record ? { ...told, ...(await tellNow(call, read, decision.conflicts)) } : told;
}
