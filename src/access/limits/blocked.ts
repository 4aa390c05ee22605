// Remembers who is over a limit and until when, so that a caller in a loop costs neither a round trip nor a charge.
import type { Clock } from "../../model/clock.ts";
import { type Charge, placeOf } from "./counters.ts";
import type { Refusal } from "./limit.ts";

export interface Blocked {
  /** The first of these holders known to be over its limit, with what is left of its time. */
  find(charges: readonly Charge[]): Refusal | undefined;
  add(charges: readonly Charge[], refusal: Refusal): void;
}

interface Entry {
  readonly refusal: Refusal;
  readonly untilMs: number;
}

/** @param windowMs the longest a refusal can last: what is older is forgotten, so what is kept is bounded by it. */
export function createBlocked(clock: Clock, windowMs: number): Blocked {
  let young = new Map<string, Entry>();
  let old = new Map<string, Entry>();
  let turnsAtMs = clock.nowMs() + windowMs;
  return {
    find(charges) {
      turn();
      for (const charge of charges) {
        const entry = young.get(keyOf(charge)) ?? old.get(keyOf(charge));
        const retryAfterMs = (entry?.untilMs ?? 0) - clock.nowMs();
        // A clock that was set back would keep a caller out for longer than any window.
        if (entry && retryAfterMs > 0 && retryAfterMs <= windowMs) return { ...entry.refusal, retryAfterMs };
      }
      return undefined;
    },
    add(charges, refusal) {
      turn();
      const charge = charges.find(({ limit }) => placeOf(limit) === `${refusal.limit}:${refusal.per}`);
      if (charge === undefined) return;
      young.set(keyOf(charge), { refusal, untilMs: clock.nowMs() + refusal.retryAfterMs });
    },
  };

  /** Drops a generation whose entries are all over. */
  function turn(): void {
    const nowMs = clock.nowMs();
    const isSetBack = turnsAtMs - nowMs > windowMs;
    if (nowMs < turnsAtMs && !isSetBack) return;
    old = nowMs < turnsAtMs + windowMs ? young : new Map();
    young = new Map();
    turnsAtMs = nowMs + windowMs;
  }
}

function keyOf({ limit, key }: Charge): string {
  return `${placeOf(limit)}:${key}`;
}
