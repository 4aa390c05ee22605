// A submission: one call's mutations in the queue, as units, and the receipts that come back for them in any order.
import { invariant } from "../model/invariant.ts";
import type { Receipt } from "../model/receipt.ts";
import type { Call, PushParts } from "./call.ts";
import type { Told } from "./commit.ts";
import { pushAlone } from "./push-alone.ts";
import { pushAtomically } from "./push-atomically.ts";
import { pushTogether } from "./push-together.ts";
import type { Work } from "./pusher.ts";
import type { Unit } from "./queue.ts";
import type { ReadResult } from "./read-all.ts";
import { laneOf, refOf, type Ticket } from "./ticket.ts";

/** A mutation, or all of an atomic request. */
export interface SubmittedUnit extends Unit {
  readonly tickets: readonly Ticket[];
  /** Of an atomic request: a mutation of it is refused already. */
  readonly isHopeless: boolean;
  tell(ticket: Ticket, told: Told): void;
}

export interface Submission {
  readonly units: readonly SubmittedUnit[];
  /** In the request's order; rejects with the first failure. */
  readonly receipts: Promise<readonly Receipt[]>;
  fail(failure: unknown): void;
  /** Called once, at the first failure. */
  onFailure(stop: () => void): void;
}

export function submissionOf(reads: readonly ReadResult[], call: Call, atomic: boolean): Submission {
  const { promise, resolve, reject } = Promise.withResolvers<readonly Receipt[]>();
  const receipts = reads.map((read) => ("refused" in read ? read.refused : undefined));
  const indexes = new Map(reads.flatMap((read, index) => ("ticket" in read ? [[read.ticket, index]] : [])));
  let left = indexes.size;
  let stop = () => {};
  const fail = (failure: unknown) => {
    reject(failure);
    stop();
    stop = () => {};
  };
  const finish = () => {
    if (left === 0) resolve(receipts.map((receipt) => receipt ?? missing()));
  };
  const tell = (ticket: Ticket, told: Told) => {
    if ("failure" in told) {
      fail(told.failure);
      return;
    }
    const index = indexes.get(ticket);
    invariant(index !== undefined && receipts[index] === undefined, "each mutation is told once");
    receipts[index] = told.receipt;
    left--;
    finish();
  };
  finish();
  return {
    units: unitsOf(reads, call, { atomic, tell }),
    receipts: promise,
    fail,
    onFailure: (run) => {
      stop = run;
    },
  };
}

function missing(): never {
  throw new Error("broken invariant: each mutation is told once, and all before the call is");
}

interface Telling {
  readonly atomic: boolean;
  readonly tell: SubmittedUnit["tell"];
}

function unitsOf(reads: readonly ReadResult[], call: Call, { atomic, tell }: Telling): SubmittedUnit[] {
  const read = reads.flatMap((one) => ("ticket" in one ? [one] : []));
  const lane = laneOf(call);
  const isHopeless = atomic && read.length < reads.length;
  const unitOf = (some: typeof read): SubmittedUnit => ({
    lane,
    tickets: some.map(({ ticket }) => ticket),
    refs: some.map(({ ticket }) => refOf(ticket)),
    mutations: some.length,
    bytes: some.reduce((sum, { bytes }) => sum + bytes, 0),
    alone: atomic,
    isHopeless,
    tell,
  });
  if (!atomic) return read.map((one) => unitOf([one]));
  return read.length > 0 ? [unitOf(read)] : [];
}

/** How units are pushed. */
export function work(parts: PushParts): Work<SubmittedUnit> {
  return {
    async together(units) {
      // An atomic request may have to wait for records others hold: groups don't wait with it.
      if (units[0]?.alone) return units;
      const { tickets, tell, unitOf } = ticketsOf(units);
      const aside = await pushTogether(parts, tickets, tell);
      return aside.map(unitOf);
    },
    async alone(units) {
      const [first] = units;
      if (first?.alone) return await pushRequest(parts, first);
      const { tickets, tell } = ticketsOf(units);
      await pushAlone(parts, tickets, tell);
    },
  };
}

/** Units of one ticket each, as tickets. */
function ticketsOf(units: readonly SubmittedUnit[]) {
  const byTicket = new Map(units.flatMap((unit) => unit.tickets.map((ticket) => [ticket, unit])));
  const unitOf = (ticket: Ticket) => byTicket.get(ticket) ?? missing();
  const tell = (ticket: Ticket, told: Told) => unitOf(ticket).tell(ticket, told);
  return { tickets: [...byTicket.keys()], unitOf, tell };
}

async function pushRequest(parts: PushParts, { tickets, isHopeless, tell }: SubmittedUnit): Promise<void> {
  try {
    const receipts = await pushAtomically(parts, tickets, isHopeless);
    for (const [index, ticket] of tickets.entries()) {
      tell(ticket, { receipt: receipts[index] ?? missing() });
    }
  } catch (failure) {
    for (const ticket of tickets) tell(ticket, { failure });
  }
}
