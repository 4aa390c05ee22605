// Pushes a group: mutations that arrived together, in one transaction. What is the matter with one must neither fail
// the others nor keep them for longer than one more run: a mutation the database refuses, or whose document somebody
// else is changing, is set aside, with what its device sent after it, and the rest is run once more; if nothing tells
// whose fault it was, device by device. What that can't settle is left to be pushed alone.
import { ReceiptExists } from "../ledger/ledger.ts";
import { classOf } from "../mongo/error-class.ts";
import { DocumentRefused, sameDocument } from "../mongo/source-document.ts";
import { recordIdOf } from "../schema/record-id.ts";
import type { PushParts } from "./call.ts";
import { type CommitOptions, commitTogether, type Told } from "./commit.ts";
import type { Facts } from "./facts.ts";
import { pushLanes } from "./push-lanes.ts";
import { laneOf, refOf, type Ticket } from "./ticket.ts";

type Tell = (ticket: Ticket, told: Told) => void;

/** With a database that is gone there is more patience. */
const ONE_RUN: CommitOptions = { attemptsMax: 1 };

/** Tells what it could settle; gives what must be pushed alone, in order. Never throws. */
export async function pushTogether(
  parts: PushParts,
  tickets: readonly Ticket[],
  tell: Tell,
): Promise<readonly Ticket[]> {
  let seen: Facts | undefined;
  const select = (facts: Facts) => {
    seen = facts;
    return tickets;
  };
  try {
    tellAll(await commitTogether(parts, tickets, { ...ONE_RUN, select }), tell);
    return [];
  } catch (error) {
    return await runAgain(parts, { tickets, seen, error }, tell);
  }
}

interface FailedRun {
  readonly tickets: readonly Ticket[];
  /** What it had read; undefined: it didn't come so far. */
  readonly seen: Facts | undefined;
  readonly error: unknown;
}

async function runAgain(parts: PushParts, failed: FailedRun, tell: Tell): Promise<readonly Ticket[]> {
  const { tickets, error } = failed;
  let aside: readonly Ticket[] = [];
  const select = (facts: Facts) => {
    const isCulprit = culpritsOf(failed, facts);
    aside = withFollowers(tickets, isCulprit);
    const left = new Set(aside);
    return tickets.filter((ticket) => !left.has(ticket));
  };
  try {
    if (classOf(error) === "unavailable") tellAll(await commitTogether(parts, tickets), tell);
    else if (isForOne(error)) tellAll(await commitTogether(parts, tickets, { ...ONE_RUN, select }), tell);
    else return await pushLanes(parts, tickets, { run: ONE_RUN, tell });
    return aside;
  } catch (again) {
    if (classOf(again) !== "unavailable") return await pushLanes(parts, tickets, { run: ONE_RUN, tell });
    for (const ticket of tickets) tell(ticket, { failure: again });
    return [];
  }
}

/** An error that one mutation may be the cause of, and the others not. */
function isForOne(error: unknown): boolean {
  return error instanceof DocumentRefused || error instanceof ReceiptExists || classOf(error) === "transient";
}

/** @throws an error if nothing tells whose fault it was. */
function culpritsOf({ tickets, seen, error }: FailedRun, now: Facts): (ticket: Ticket) => boolean {
  if (error instanceof DocumentRefused) {
    const { collection, key } = error;
    return ({ read }) =>
      read.collection.name === collection && recordIdOf(read.collection, key) === read.recordId;
  }
  // A copy's receipt is in the ledger by now.
  if (error instanceof ReceiptExists) return () => false;
  const fresh = tickets.filter(({ read }) => !now.receipts.has(read.mutation.mutationId));
  const changed = new Set(
    fresh.map(refOf).filter((ref) => !sameDocument(seen?.documents.get(ref), now.documents.get(ref))),
  );
  const isCopied = now.receipts.size > (seen?.receipts.size ?? 0);
  if (changed.size === 0 && !isCopied) throw error;
  return (ticket) => changed.has(refOf(ticket));
}

/** Those, and what their lanes have after them: a device's mutations keep their order. */
function withFollowers(tickets: readonly Ticket[], isCulprit: (ticket: Ticket) => boolean): Ticket[] {
  const lanes = new Set<string>();
  return tickets.filter((ticket) => {
    if (isCulprit(ticket)) lanes.add(laneOf(ticket.call));
    return lanes.has(laneOf(ticket.call));
  });
}

function tellAll(told: ReadonlyMap<Ticket, Told>, tell: Tell): void {
  for (const [ticket, what] of told) tell(ticket, what);
}
