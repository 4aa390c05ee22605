// Counting over windows of time: the port, and its form in this node's memory. A window begins with a key's first
// charge; what is over the limit then is refused until the window ends.
import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { type Counted, HOLDERS, type Holder, type LimitSettings, nameOf, type Refusal } from "./limit.ts";

/** One limit and how much it allows in a window. */
export interface Limit {
  readonly counted: Counted;
  readonly holder: Holder;
  /** In units of the charge: bytes, where the setting says megabytes. */
  readonly points: number;
}

export interface Charge {
  readonly limit: Limit;
  /** The holder's name. */
  readonly key: string;
  readonly points: number;
}

export interface Counters {
  /** Charges all, and tells the limit that is over for the longest; undefined: none is. Never rejects. */
  take(charges: readonly Charge[]): Promise<Refusal | undefined>;
  /** Charges what has happened already, however much that is. Never rejects. */
  owe(charges: readonly Charge[]): Promise<void>;
}

const MEGABYTE = 1_000_000;

/** Those that are set, the narrowest first. */
export function limitsOf(settings: LimitSettings, counted: Counted): readonly Limit[] {
  const unit = counted === "Megabytes" ? MEGABYTE : 1;
  return HOLDERS.map((holder) => ({
    counted,
    holder,
    points: settings[`limit${counted}Per${holder}`] * unit,
  })).filter(({ points }) => points > 0);
}

/** Where a limit counts: among the keys of Redis, and in errors. */
export function placeOf({ counted, holder }: Limit): string {
  return `${nameOf(counted)}:${holder.toLowerCase()}`;
}

function refusalOf({ counted, holder, points }: Limit, { msBeforeNext }: RateLimiterRes): Refusal {
  const unit = counted === "Megabytes" ? MEGABYTE : 1;
  const value = points / unit;
  return {
    limit: nameOf(counted),
    per: holder.toLowerCase(),
    value,
    retryAfterMs: Math.max(1, msBeforeNext),
  };
}

/** What a limiter says to a charge: the refusal, or undefined. @throws whatever else keeps it from answering. */
export async function outcomeOf(limit: Limit, consumed: Promise<unknown>): Promise<Refusal | undefined> {
  try {
    await consumed;
    return undefined;
  } catch (answer) {
    if (answer instanceof RateLimiterRes) return refusalOf(limit, answer);
    throw answer;
  }
}

/** One limiter for each limit, made when it is first charged. */
export function limiterPerLimit<L>(make: (limit: Limit) => L): (limit: Limit) => L {
  const made = new Map<string, L>();
  return (limit) => {
    const place = placeOf(limit);
    const limiter = made.get(place) ?? make(limit);
    made.set(place, limiter);
    return limiter;
  };
}

/** Counts what this node sees. A key is forgotten when its window ends. */
export function createOwnCounters(windowSeconds: number): Counters {
  const limiterOf = limiterPerLimit(
    (limit) => new RateLimiterMemory({ points: limit.points, duration: windowSeconds }),
  );
  return {
    async take(charges) {
      // The narrowest first and not beyond: a device in a loop doesn't use up what its principal's others have.
      for (const { limit, key, points } of charges) {
        const refusal = await outcomeOf(limit, limiterOf(limit).consume(key, points));
        if (refusal) return refusal;
      }
      return undefined;
    },
    async owe(charges) {
      await Promise.all(charges.map(({ limit, key, points }) => limiterOf(limit).penalty(key, points)));
    },
  };
}
