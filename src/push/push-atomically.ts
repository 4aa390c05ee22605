// Pushes a request's mutations all or nothing, in one transaction with their receipts. If one isn't applied or merged,
// nothing is written, and those not to blame are NOT_ATTEMPTED, without a trace: they may be sent again under their ids.
//
// To blame is every mutation refused by itself or by its receipt, or else the first one the transaction can't take: what
// would come after that was never tried in the state it was meant for. That one's receipt is recorded: its client was
// told that it isn't and won't be applied, so a copy of the request arriving later must not apply it, nor blame another.
import {
  findReceiptsAndFloor,
  holdRequest,
  insertReceipt,
  insertReceipts,
  ReceiptExists,
} from "../ledger/ledger.ts";
import { commitClockOf } from "../model/commit-clock.ts";
import type { Receipt } from "../model/receipt.ts";
import { SyncError } from "../model/sync-error.ts";
import { DocumentRefused, type Session, TooMuchToRead } from "../mongo/source-document.ts";
import { runTransaction } from "../mongo/transaction.ts";
import type { PushParts } from "./call.ts";
import { tell, writeSettled } from "./commit.ts";
import { decisionOfRefusal } from "./database-refusal.ts";
import { viewOf } from "./decide.ts";
import { DOCUMENTS_BYTES_MAX, type Facts, grantsOf, readFacts } from "./facts.ts";
import { isDone, isSameMutation, receiptToStore, tellDecision, tellNotAttempted } from "./receipts.ts";
import { createSettling, type Settlement, type Settling } from "./settle.ts";
import { refOf, type Ticket } from "./ticket.ts";

/** Runs of the request: one ends early when a copy of one of its mutations gets a receipt meanwhile, or records change. */
const RUNS_MAX = 5;

/**
 * Receipts in the tickets' order.
 * @param isHopeless a mutation of the request is refused already: only what is known of the others is told.
 */
export async function pushAtomically(
  parts: PushParts,
  tickets: readonly Ticket[],
  isHopeless: boolean,
): Promise<Receipt[]> {
  for (let run = 1; run <= RUNS_MAX; run++) {
    try {
      return await pushOrBlame(parts, tickets, isHopeless);
    } catch (error) {
      if (error instanceof TooMuchToRead) throw tooMuch(error);
      if (!(error instanceof ReceiptExists || error instanceof Overtaken)) throw error;
    }
  }
  throw new SyncError("CONTENTION", "copies of this request are being pushed at the same time; try again");
}

function tooMuch(cause: TooMuchToRead): SyncError {
  const message = `the records this request is about have more than ${DOCUMENTS_BYTES_MAX} bytes: push fewer of them atomically`;
  return new SyncError("REQUEST_TOO_LARGE", message, { cause });
}

async function pushOrBlame(
  parts: PushParts,
  tickets: readonly Ticket[],
  isHopeless: boolean,
): Promise<Receipt[]> {
  try {
    return await pushAll(parts, tickets, isHopeless ? recallAll : settleAll);
  } catch (error) {
    if (!(error instanceof DocumentRefused)) throw error;
  }
  // Written together they may collide where one after the other they don't; and only so it is known who is to blame.
  try {
    return await pushAll(parts, tickets, settleInTurn);
  } catch (error) {
    if (!(error instanceof RefusedInTurn)) throw error;
    const blamed = await recordBlame(parts, tickets, error);
    return tickets.map((ticket) => (ticket === error.ticket ? blamed : tellNotAttempted(ticket.read)));
  }
}

/** Settles tickets in a transaction, and writes what comes of it. */
type SettleAll = (parts: PushParts, tickets: readonly Ticket[], session: Session) => Promise<Settled>;

/** By ticket; absent: not attempted. */
type Settled = ReadonlyMap<Ticket, Settlement>;

async function pushAll(parts: PushParts, tickets: readonly Ticket[], settle: SettleAll): Promise<Receipt[]> {
  const { signal } = tickets[0]?.call ?? {};
  const { result, operationTime } = await runTransaction(
    parts.source.client,
    (session) => settle(parts, tickets, session),
    { ...(signal && { signal }), sessions: parts.sessions },
  );
  const committedAt = commitClockOf(operationTime);
  return tickets.map((ticket) => {
    const settlement = result.get(ticket);
    return settlement ? tell(ticket, settlement, committedAt) : tellNotAttempted(ticket.read);
  });
}

async function recallAll(parts: PushParts, tickets: readonly Ticket[], session: Session): Promise<Settled> {
  const facts = await readFacts(parts, tickets, session);
  return recalled(tickets, createSettling(facts, parts.clock.nowMs()));
}

function recalled(tickets: readonly Ticket[], settling: Settling): Map<Ticket, Settlement> {
  const known = new Map<Ticket, Settlement>();
  for (const ticket of tickets) {
    const settlement = settling.recall(ticket);
    if (settlement) known.set(ticket, settlement);
  }
  return known;
}

async function settleAll(parts: PushParts, tickets: readonly Ticket[], session: Session): Promise<Settled> {
  const facts = await readFacts(parts, tickets, session);
  const settling = createSettling(facts, parts.clock.nowMs());
  const known = recalled(tickets, settling);
  if ([...known].some(([ticket, settlement]) => !isFine(ticket, settlement))) return known;
  const settled = new Map<Ticket, Settlement>();
  for (const ticket of tickets) {
    const settlement = settling.settle(ticket);
    if (!isFine(ticket, settlement))
      return await blame(parts, { tickets, ticket, settlement, known, facts }, session);
    settled.set(ticket, settlement);
  }
  await writeSettled(parts, settling, session);
  return settled;
}

/** Written or known to have been. */
function isFine(ticket: Ticket, settlement: Settlement): boolean {
  switch (settlement.kind) {
    case "refused":
      return false;
    case "decided":
      return isDone(settlement.decision.outcome);
    case "replayed":
      return isSameMutation(ticket, settlement.replay.stored) && isDone(settlement.replay.stored.outcome);
  }
}

interface Blame {
  readonly tickets: readonly Ticket[];
  readonly ticket: Ticket;
  readonly settlement: Settlement;
  readonly known: Settled;
  readonly facts: Facts;
}

/** Of the whole transaction only this receipt is kept; the record told is the one without the edits that are undone. */
async function blame(
  parts: PushParts,
  { tickets, ticket, settlement, known, facts }: Blame,
  session: Session,
): Promise<Settled> {
  if (settlement.kind !== "decided") return new Map([...known, [ticket, settlement]]);
  const { decision } = settlement;
  await hold(parts, tickets, session);
  await insertReceipts(parts.ledger, [receiptToStore(ticket, decision, parts.clock.nowMs())], session);
  const view = viewOf(
    ticket.read,
    facts.documents.get(refOf(ticket)),
    grantsOf(facts, ticket.call.principal),
  );
  const told =
    view.visible && decision.record ? { record: view.encoded.bytes } : { record: undefined, conflicts: [] };
  return new Map([...known, [ticket, { kind: "decided", decision: { ...decision, ...told } }]]);
}

/** Of two copies of a request that read different states each would blame another: one comes after the other. */
async function hold(parts: PushParts, [first]: readonly Ticket[], session: Session): Promise<void> {
  if (first) await holdRequest(parts.ledger, first.read.mutation.mutationId, session);
}

/**
 * Nothing of the request's transaction was kept: the receipt of the one to blame is recorded by itself.
 * @throws Overtaken, ReceiptExists: a copy of the request was faster.
 */
async function recordBlame(
  parts: PushParts,
  tickets: readonly Ticket[],
  { ticket, cause }: RefusedInTurn,
): Promise<Receipt> {
  const decision = decisionOfRefusal(parts.logger, ticket.read, cause);
  const ids = tickets.map(({ read }) => read.mutation.mutationId);
  await runTransaction(
    parts.source.client,
    async (session) => {
      await hold(parts, tickets, session);
      const { receipts } = await findReceiptsAndFloor(parts.ledger, ids, session);
      if ([...receipts.values()].some(({ outcome }) => !isDone(outcome)))
        throw new Overtaken("a copy of the request was refused meanwhile");
      await insertReceipt(parts.ledger, receiptToStore(ticket, decision, parts.clock.nowMs()), session);
    },
    { sessions: parts.sessions },
  );
  return tellDecision(ticket, decision, 0n);
}

/** Ends the transaction: the request is to be run again from the start. */
class Overtaken extends Error {
  override readonly name = "Overtaken";
}

/** Ends the transaction: the database doesn't take this one. */
class RefusedInTurn extends Error {
  override readonly name = "RefusedInTurn";
  readonly ticket: Ticket;
  override readonly cause: DocumentRefused;

  constructor(ticket: Ticket, cause: DocumentRefused) {
    super(`mutation ${ticket.read.mutation.mutationId} fails its request`);
    this.ticket = ticket;
    this.cause = cause;
  }
}

/** Each is written before the next is read. */
async function settleInTurn(
  parts: PushParts,
  tickets: readonly Ticket[],
  session: Session,
): Promise<Settled> {
  const all = new Map<Ticket, Settlement>();
  for (const ticket of tickets) {
    const facts = await readFacts(parts, [ticket], session);
    const settling = createSettling(facts, parts.clock.nowMs());
    const settlement = settling.settle(ticket);
    if (!isFine(ticket, settlement)) throw new Overtaken("the records have changed since the run before");
    all.set(ticket, settlement);
    try {
      await writeSettled(parts, settling, session);
    } catch (error) {
      throw error instanceof DocumentRefused ? new RefusedInTurn(ticket, error) : error;
    }
  }
  return all;
}
