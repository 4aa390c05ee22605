// How a flow's course is told: as a generator of what to do next, which goes on when that is done.
import type { Live } from "./live.ts";
import type { Portion } from "./step.ts";

/** Frames to send; something to wait for, heartbeats going on; a read, when it is its turn; or live, until it ends. */
export type Move = Portion | Promise<unknown> | Read | Live;

export interface Read {
  readonly read: () => Promise<unknown>;
}

export type Moves<T> = Generator<Move, T, unknown>;

/** @throws what the work throws. */
export function* waitFor<T>(work: Promise<T>): Moves<T> {
  return (yield work) as T;
}

/** @throws what the read throws. */
export function* waitForRead<T>(read: () => Promise<T>): Moves<T> {
  return (yield { read }) as T;
}
