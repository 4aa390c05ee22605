// The same counting in Redis, so that it holds across all nodes. A call's charges go out together and wait once. While
// Redis is away each node counts by itself.
import { RateLimiterRedis } from "rate-limiter-flexible";
import { type Counters, createOwnCounters, limiterPerLimit, outcomeOf, placeOf } from "./counters.ts";
import type { Refusal } from "./limit.ts";
import type { RedisLink } from "./redis-link.ts";

export interface SharedCountersOptions {
  readonly link: RedisLink;
  readonly windowSeconds: number;
  /** Begins every key. */
  readonly keyPrefix: string;
}

export function createSharedCounters({ link, windowSeconds, keyPrefix }: SharedCountersOptions): Counters {
  const own = createOwnCounters(windowSeconds);
  const limiterOf = limiterPerLimit(
    (limit) =>
      new RateLimiterRedis({
        storeClient: link.redis,
        points: limit.points,
        duration: windowSeconds,
        keyPrefix: `${keyPrefix}:${placeOf(limit)}`,
      }),
  );
  return {
    async take(charges) {
      const outcomes = await link.ask(() =>
        Promise.all(
          charges.map(({ limit, key, points }) => outcomeOf(limit, limiterOf(limit).consume(key, points))),
        ),
      );
      return outcomes === undefined ? own.take(charges) : longest(outcomes);
    },
    async owe(charges) {
      const answers = await link.ask(() =>
        Promise.all(charges.map(({ limit, key, points }) => limiterOf(limit).penalty(key, points))),
      );
      if (answers === undefined) await own.owe(charges);
    },
  };
}

function longest(outcomes: readonly (Refusal | undefined)[]): Refusal | undefined {
  return outcomes.reduce((worst, refusal) =>
    (refusal?.retryAfterMs ?? 0) > (worst?.retryAfterMs ?? 0) ? refusal : worst,
  );
}
