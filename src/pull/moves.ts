// How a flow's course is told: as a generator of what to do next, which goes on when that is done.
import type { Live } from "./live.ts";
import type { Portion } from "./step.ts";

/** Frames to send; something to wait for, heartbeats going on; or live, until it ends. */
export type Move = Portion | Promise<unknown> | Live;

export type Moves<T> = Generator<Move, T, unknown>;

/** @throws what the work throws. */
export function* waitFor<T>(work: Promise<T>): Moves<T> {
  return (yield work) as T;
}
