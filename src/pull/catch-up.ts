// Catching up by one pass: tells the client what its grants have become, then what it lacks, in the snapshot's order.
import { BatchCutter, NO_FRAMES, type Sendable } from "../frames/batch.ts";
import { encodeRemove } from "../frames/change.ts";
import type { Frame, Unavailable } from "../frames/frame.ts";
import { bytesOfRun, isWhole, lastVersionOf, type PackedRun, piecesOf } from "../frames/packed.ts";
import type { LogState } from "../log/state.ts";
import type { Selection } from "../model/pull-request.ts";
import type { Seq } from "../model/seq.ts";
import type { Schema } from "../schema/schema.ts";
import type { Budget } from "./budget.ts";
import type { Client } from "./client.ts";
import { changeKey, type Due, encodeDue } from "./due.ts";
import type { Hub } from "./hub.ts";
import { type Moves, waitForRead } from "./moves.ts";
import type { PackMaker } from "./pack-maker.ts";
import type { Pass, PassPhase } from "./pass.ts";
import { settledClock } from "./step.ts";

export interface CatchUp {
  readonly pass: Pass;
  readonly client: Client;
  readonly budget: Budget;
  readonly schema: Schema;
  readonly request: Selection;
  readonly hub: Pick<Hub, "checkpoint">;
  readonly packs: PackMaker;
}

/** The client stands at the snapshot's head; or the pass' time was over; or the byte budget is spent. */
export type PassEnd = "complete" | "cut" | "spent";

/** Runs a pass; all it sent counts, however it ends. */
export function* runPass(catchUp: CatchUp): Moves<PassEnd> {
  const { pass, client } = catchUp;
  const align = () => pass.reading((snapshot) => client.align(snapshot, pass.grants));
  for (const frame of yield* waitForRead(align)) yield* send(client, frame);
  if (client.subscription.leaving.size > 0) {
    const end = yield* deliver(catchUp, "leaving");
    if (end !== "complete") return end;
    yield* send(client, yield* waitForRead(() => pass.reading((snapshot) => client.forget(snapshot))));
  }
  const end = yield* deliver(catchUp, "held");
  if (end === "complete") yield* arrive(catchUp, pass.snapshot.state);
  return end;
}

function* send(client: Client, frame: Frame): Moves<void> {
  client.sent(frame);
  yield [frame];
}

function* arrive({ client, hub }: CatchUp, state: LogState): Moves<void> {
  client.delivered(state.head, "held");
  const clock = settledClock(state);
  if (clock === undefined) return;
  // P2, P3: the snapshot's own state says that everything up to here is the source at this time.
  const checkpoint = hub.checkpoint(state.head, clock);
  client.wentOn(state.head, false, checkpoint);
  yield checkpoint.frames;
}

function* deliver(catchUp: CatchUp, phase: PassPhase): Moves<PassEnd> {
  const { pass, client } = catchUp;
  pass.start(phase, client.subscription, packsFor(catchUp));
  while (yield* waitForRead(() => pass.fill(phase, client.subscription))) {
    const end = yield* deliverRead(catchUp, phase);
    if (end) return end;
    if (pass.isOver) return "cut";
  }
  return pass.isOver ? "cut" : "complete";
}

/** Packs hold whole records as they are stored: JSON is made of each entry. */
function packsFor({ client, packs, request }: CatchUp): PackMaker | undefined {
  return request.recordForm === "PROTO" && packs.isWorthFor(client.backlog) ? packs : undefined;
}

/** Sends what is due of the entries read last; undefined: all of it. */
function* deliverRead(catchUp: CatchUp, phase: PassPhase): Moves<"cut" | "spent" | undefined> {
  const { pass, client, budget, request } = catchUp;
  const { position } = client.subscription;
  const sending: Sending = {
    phase,
    cutter: new BatchCutter(request.batchBytesMax, position),
    last: undefined,
  };
  for (let due = pass.take(); due; due = pass.take()) {
    if (due.kind === "packed") {
      if (!(yield* deliverRun(catchUp, due.run, sending))) return "spent";
      continue;
    }
    let change = encodeDue(due, catchUp);
    if (change.kind === "too-large") {
      yield* flush(catchUp, sending);
      yield* leaveOut(catchUp, due);
      change = removeInstead(due);
    }
    if (!budget.admits(bytesOf(change))) {
      yield* flush(catchUp, sending);
      // Progress with feeds taken away is nowhere but in the token.
      if (phase === "leaving") yield* reopen(catchUp, []);
      return "spent";
    }
    const frames = sending.cutter.add(change, phase === "held" ? due.entry.seq : position);
    sending.last = due.entry.seq;
    // Nearly always there are none yet.
    if (frames === NO_FRAMES) continue;
    const sent = yield* sendOf(catchUp, frames);
    if (pass.isOver && sent > 0) pass.close();
  }
  yield* flush(catchUp, sending);
  if (!pass.isDropped) client.delivered(pass.upTo, phase);
  return pass.isDropped ? "cut" : undefined;
}

/** What is on its way of the entries read last. */
interface Sending {
  readonly phase: PassPhase;
  readonly cutter: BatchCutter;
  /** The seq of the last change taken; undefined: there was none. */
  last: Seq | undefined;
}

function* flush(catchUp: CatchUp, { phase, cutter, last }: Sending): Moves<void> {
  yield* sendOf(catchUp, cutter.flush());
  if (last !== undefined) catchUp.client.delivered(last, phase);
}

/** Sends a run to its end, also when the pass' time is over: it is no more than a batch. False: the budget is spent. */
function* deliverRun(catchUp: CatchUp, run: PackedRun, sending: Sending): Moves<boolean> {
  const { pass, budget, request } = catchUp;
  if (canGoWhole(run, catchUp)) {
    yield* flush(catchUp, sending);
    yield* sendOf(catchUp, [run.of.frame]);
    sending.last = lastVersionOf(run);
  } else {
    // In as large pieces as a batch holds; a budget admits change by change.
    for (const piece of piecesOf(run, budget.isLimited ? 1 : request.batchBytesMax)) {
      const bytes = bytesOfRun(piece);
      if (!budget.admits(bytes.length)) {
        yield* flush(catchUp, sending);
        return false;
      }
      const version = lastVersionOf(piece);
      yield* sendOf(catchUp, sending.cutter.add({ kind: "inline", bytes }, version));
      sending.last = version;
    }
  }
  if (pass.isOver) pass.close();
  return true;
}

/** What was packed together goes out as it is stored, if nothing is missing and it is no more than a batch. */
function canGoWhole(run: PackedRun, { request, budget }: CatchUp): boolean {
  const { length } = bytesOfRun(run);
  return isWhole(run) && length <= request.batchBytesMax && !budget.isLimited && budget.admits(length);
}

/** @returns how many there were. @throws PassOutdated before the first that may not be sent. */
function* sendOf({ pass, client }: CatchUp, frames: Iterable<Frame>): Moves<number> {
  let sent = 0;
  for (const frame of frames) {
    pass.refuseOutdated();
    yield* send(client, frame);
    sent++;
  }
  return sent;
}

/** Names a record that the client's form can't carry, before the position moves past it. */
function* leaveOut(catchUp: CatchUp, { entry }: Due): Moves<void> {
  const { collection, recordId } = changeKey(entry);
  yield* reopen(catchUp, [{ collection, recordId, reason: "RECORD_TOO_LARGE" }]);
}

/** An older version of it would be the base of later deltas, so the client must not keep one. */
function removeInstead({ entry }: Due): Sendable {
  return encodeRemove(changeKey(entry), "DELETED");
}

function* reopen({ pass, client }: CatchUp, unavailable: readonly Unavailable[]): Moves<void> {
  yield* send(client, yield* waitForRead(() => client.reopened(pass.snapshot, unavailable)));
}

function bytesOf(change: Sendable): number {
  return change.kind === "inline" ? change.bytes.length : change.data.length;
}
