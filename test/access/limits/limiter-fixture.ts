// Limiters with only the limits a test names, in memory or on a Redis, closed when the test ends.
import { setTimeout as delay } from "node:timers/promises";
import { onTestFinished } from "vitest";
import type { Caller, LimitSettings } from "../../../src/access/limits/limit.ts";
import { createLimiter, type Limiter } from "../../../src/access/limits/limiter.ts";
import type { Clock } from "../../../src/model/clock.ts";
import { type Logger, silentLogger } from "../../../src/model/logger.ts";
import { type CounterName, type Metrics, noMetrics } from "../../../src/model/metrics.ts";
import { SyncError } from "../../../src/model/sync-error.ts";

const clock: Clock = {
  nowMs: Date.now,
  sleep: (ms, signal) => delay(ms, undefined, { signal }).catch(() => {}),
};

/** Beats come by the hundredth of a second instead of every ten; nothing else is hurried. */
export const hasty: Clock = {
  nowMs: Date.now,
  sleep: (ms, signal) => delay(ms === 10_000 ? 10 : ms, undefined, { signal }).catch(() => {}),
};

const noLimits: LimitSettings = {
  limitWindowSeconds: 60,
  limitRequestsPerPrincipal: 0,
  limitRequestsPerDevice: 0,
  limitRequestsPerAddress: 0,
  limitMutationsPerPrincipal: 0,
  limitMutationsPerDevice: 0,
  limitMutationsPerAddress: 0,
  limitOpenedStreamsPerPrincipal: 0,
  limitOpenedStreamsPerDevice: 0,
  limitOpenedStreamsPerAddress: 0,
  limitMegabytesPerPrincipal: 0,
  limitMegabytesPerDevice: 0,
  limitMegabytesPerAddress: 0,
  streamsPerPrincipalMax: 0,
  streamsPerAddressMax: 0,
  streamsPerNodeMax: 0,
};

export interface LimiterSetup {
  readonly settings: Partial<LimitSettings>;
  readonly redisUrl?: string | undefined;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
  readonly clock?: Clock;
}

export async function limiterOf({ settings, ...others }: LimiterSetup): Promise<Limiter> {
  const limiter = await createLimiter({
    keyPrefix: "test",
    clock,
    logger: silentLogger,
    metrics: noMetrics,
    ...others,
    settings: { ...noLimits, ...settings },
  });
  onTestFinished(() => limiter.close());
  return limiter;
}

export function callerOf(id: string, device = "phone", address = "192.0.2.1"): Caller {
  const principal = { id, device, claimGrants: new Map(), isService: false, expiresAtMs: undefined };
  return { principal, address };
}

/** The refusal of a call; undefined: it was let in. */
export async function refusalOf(call: Promise<unknown>): Promise<SyncError | undefined> {
  try {
    const answer = await call;
    return answer instanceof SyncError ? answer : undefined;
  } catch (error) {
    if (error instanceof SyncError) return error;
    throw error;
  }
}

export async function arrival(limiter: Limiter, address: string): Promise<SyncError | undefined> {
  return limiter.arrive(address);
}

export interface KeptMetrics extends Metrics {
  readonly counts: ReadonlyMap<string, number>;
}

/** Counters by name and labels: `limited_total requests_per_device`. */
export function keptMetrics(): KeptMetrics {
  const counts = new Map<string, number>();
  const count = (name: CounterName, labels: Readonly<Record<string, string>> = {}) => {
    const key = [name, ...Object.values(labels)].join(" ");
    counts.set(key, (counts.get(key) ?? 0) + 1);
  };
  return { counts, count };
}
