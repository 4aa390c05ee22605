// One transaction for several mutations: what it reads, what it decides, what it writes, and what is told once it is
// committed. A mutation that can't even be decided fails alone, with what its call sent after it.
import { writeGraves } from "../ledger/graves.ts";
import { insertReceipts } from "../ledger/ledger.ts";
import { type CommitClock, commitClockOf } from "../model/commit-clock.ts";
import type { Receipt } from "../model/receipt.ts";
import { type Session, writeDocuments } from "../mongo/source-document.ts";
import { runTransaction, type TransactionOptions } from "../mongo/transaction.ts";
import type { Call, PushParts } from "./call.ts";
import { type Facts, readFacts } from "./facts.ts";
import { tellDecision, tellRejected, tellStored } from "./receipts.ts";
import { createSettling, type Settlement, type Settling } from "./settle.ts";
import type { Ticket } from "./ticket.ts";

/** A mutation's receipt, or why there is none. */
export type Told = { readonly receipt: Receipt } | { readonly failure: unknown };

export interface CommitOptions extends Omit<TransactionOptions, "sessions"> {
  /** Which of the tickets to go on with, by what was read. Default: all. */
  readonly select?: (facts: Facts) => readonly Ticket[];
}

/**
 * Runs and commits, and tells each ticket that was gone on with.
 * @throws DocumentRefused, ReceiptExists, and what runTransaction throws: nothing is written then.
 */
export async function commitTogether(
  parts: PushParts,
  tickets: readonly Ticket[],
  { select = () => tickets, ...options }: CommitOptions = {},
): Promise<Map<Ticket, Told>> {
  const { result, operationTime } = await runTransaction(
    parts.source.client,
    async (session) => {
      const facts = await readFacts(parts, tickets, session);
      const settling = createSettling(facts, parts.clock.nowMs());
      const settled = settleAll(select(facts), settling);
      await writeSettled(parts, settling, session);
      return settled;
    },
    { ...options, sessions: parts.sessions },
  );
  const committedAt = commitClockOf(operationTime);
  return new Map([...result].map(([ticket, settled]) => [ticket, told(ticket, settled, committedAt)]));
}

type Settled = Settlement | { readonly kind: "failed"; readonly failure: unknown };

function settleAll(tickets: readonly Ticket[], settling: Settling): Map<Ticket, Settled> {
  const settled = new Map<Ticket, Settled>();
  const failed = new Map<Call, unknown>();
  for (const ticket of tickets) {
    const { call } = ticket;
    if (!failed.has(call)) {
      try {
        settled.set(ticket, settling.settle(ticket));
        continue;
      } catch (failure) {
        failed.set(call, failure);
      }
    }
    settled.set(ticket, { kind: "failed", failure: failed.get(call) });
  }
  return settled;
}

/** The receipts go in first: their unique ids end the transaction of a second copy before anything else happens. */
export async function writeSettled(parts: PushParts, settling: Settling, session: Session): Promise<void> {
  await insertReceipts(parts.ledger, settling.receipts(), session);
  const records = settling.writes();
  for (const [collection, some] of Map.groupBy(records, (record) => record.collection)) {
    const writes = some.flatMap(({ key, write }) => (write ? [{ key, write }] : []));
    if (writes.length > 0) await writeDocuments(parts.source, { collection, writes }, session);
  }
  const changes = records.flatMap(({ ref, grave }) => (grave ? [{ ref, grave }] : []));
  await writeGraves(parts.ledger, { changes, atMs: parts.clock.nowMs() }, session);
}

function told(ticket: Ticket, settled: Settled, committedAt: CommitClock): Told {
  if (settled.kind === "failed") return settled;
  try {
    return { receipt: tell(ticket, settled, committedAt) };
  } catch (failure) {
    return { failure };
  }
}

export function tell(ticket: Ticket, settlement: Settlement, committedAt: CommitClock): Receipt {
  switch (settlement.kind) {
    case "replayed":
      return tellStored(ticket, settlement.replay, committedAt);
    case "refused":
      return tellRejected(ticket.read.mutation, ticket.read.recordId, settlement.rejection);
    case "decided":
      return tellDecision(ticket, settlement.decision, committedAt);
  }
}
