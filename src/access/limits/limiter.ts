// How much each caller may ask of the server: calls, mutations, streams and bytes over a window of time, and streams
// open at once. Counted in Redis for all nodes, in this node's memory without it; see docs/decisions.md for who is
// counted by what.
import type { Clock } from "../../model/clock.ts";
import type { Logger } from "../../model/logger.ts";
import type { Metrics } from "../../model/metrics.ts";
import { SyncError } from "../../model/sync-error.ts";
import { type Blocked, createBlocked } from "./blocked.ts";
import { type Charge, type Counters, createOwnCounters, type Limit, limitsOf } from "./counters.ts";
import { type Caller, type Counted, keyOf, type LimitSettings, type Refusal, refusedFor } from "./limit.ts";
import { createOpenStreams, type OpenStreams, type Slot } from "./open-streams.ts";
import { openRedisLink, type RedisLink } from "./redis-link.ts";
import { createSharedCounters } from "./shared-counters.ts";
import { createStreamRegister } from "./stream-register.ts";

export interface Limiter {
  /** Streams open on this node. */
  readonly openStreams: number;
  /** Limits hold across all nodes now. */
  readonly isShared: boolean;
  /**
   * A call from an address, before anything is known of who makes it. The refusal, if there is one: at once where it is
   * known already, so that nothing need be done for the call. Never throws or rejects.
   */
  arrive(address: string): SyncError | Promise<SyncError | undefined>;
  /** A call by a known caller, the address's own count aside. @throws SyncError RATE_LIMITED */
  enter(caller: Caller, opensStream: boolean): Promise<void>;
  /** @throws SyncError RATE_LIMITED; REQUEST_TOO_LARGE when no window holds as many: then nothing is charged. */
  countMutations(caller: Caller, mutations: number): Promise<void>;
  /** Bytes received or sent: they are owed, so the next call is refused, and nothing is broken off. */
  countBytes(caller: Caller, bytes: number): void;
  /** The caller releases the slot, however the stream ends. @throws SyncError RATE_LIMITED */
  openStream(caller: Caller): Promise<Slot>;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface LimiterOptions {
  readonly settings: LimitSettings;
  /** Absent: each node has limits of its own. */
  readonly redisUrl?: string | undefined;
  /** Begins the keys in Redis: deployments that share one have different ones. */
  readonly keyPrefix: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Waits for Redis for a second at most; one that isn't there is a warning. */
export async function createLimiter(options: LimiterOptions): Promise<Limiter> {
  const { settings, redisUrl, keyPrefix, clock, logger, metrics } = options;
  const windowSeconds = settings.limitWindowSeconds;
  const opens = new Map<string, number>();
  const register = createStreamRegister(keyPrefix, opens);
  const link =
    redisUrl === undefined
      ? undefined
      : await openRedisLink({ url: redisUrl, clock, logger, metrics, beats: register });
  const counters = link
    ? createSharedCounters({ link, windowSeconds, keyPrefix })
    : createOwnCounters(windowSeconds);
  const streams = createOpenStreams({ settings, opens, shared: link && { link, register } });
  const blocked = createBlocked(clock, windowSeconds * 1_000);
  return new CountingLimiter({ settings, metrics, counters, blocked, streams, link });
}

interface LimiterParts {
  readonly settings: LimitSettings;
  readonly metrics: Metrics;
  readonly counters: Counters;
  readonly blocked: Blocked;
  readonly streams: OpenStreams;
  readonly link: RedisLink | undefined;
}

class CountingLimiter implements Limiter {
  readonly #parts: LimiterParts;
  readonly #limits: Readonly<Record<Counted, readonly Limit[]>>;

  constructor(parts: LimiterParts) {
    this.#parts = parts;
    const { settings } = parts;
    this.#limits = {
      Requests: limitsOf(settings, "Requests"),
      Mutations: limitsOf(settings, "Mutations"),
      OpenedStreams: limitsOf(settings, "OpenedStreams"),
      Megabytes: limitsOf(settings, "Megabytes"),
    };
  }

  get openStreams(): number {
    return this.#parts.streams.count;
  }

  get isShared(): boolean {
    return this.#parts.link?.isUp ?? false;
  }

  arrive(address: string): SyncError | Promise<SyncError | undefined> {
    const caller = { principal: undefined, address };
    // One byte is taken to learn whether all are spent.
    const charges = [...this.#charges("Requests", caller, 1), ...this.#charges("Megabytes", caller, 1)];
    const known = this.#parts.blocked.find(charges);
    return known ? this.#refuse(known) : this.#take(charges);
  }

  async enter(caller: Caller, opensStream: boolean): Promise<void> {
    const charges = [
      ...this.#charges("Requests", caller, 1),
      ...this.#charges("Megabytes", caller, 1),
    ].filter(({ limit }) => limit.holder !== "Address");
    if (opensStream) charges.push(...this.#charges("OpenedStreams", caller, 1));
    await this.#takeAll(charges);
  }

  async countMutations(caller: Caller, mutations: number): Promise<void> {
    const charges = this.#charges("Mutations", caller, mutations);
    const impossible = charges.find(({ limit }) => limit.points < mutations);
    if (impossible) {
      const { points, holder } = impossible.limit;
      throw new SyncError(
        "REQUEST_TOO_LARGE",
        `the request has ${mutations} mutations, more than a ${holder.toLowerCase()}'s limit of ${points}: split it`,
      );
    }
    await this.#takeAll(charges);
  }

  countBytes(caller: Caller, bytes: number): void {
    const charges = this.#charges("Megabytes", caller, bytes);
    if (bytes > 0 && charges.length > 0) void this.#parts.counters.owe(charges);
  }

  async openStream(caller: Caller): Promise<Slot> {
    const answer = await this.#parts.streams.open(caller);
    if ("release" in answer) return answer;
    throw this.#refuse(answer);
  }

  async close(): Promise<void> {
    await this.#parts.link?.close();
  }

  #charges(counted: Counted, caller: Caller, points: number): Charge[] {
    return this.#limits[counted].flatMap((limit) => {
      const key = keyOf(limit.holder, caller);
      return key === undefined ? [] : [{ limit, key, points }];
    });
  }

  /** @throws SyncError RATE_LIMITED */
  async #takeAll(charges: readonly Charge[]): Promise<void> {
    const known = this.#parts.blocked.find(charges);
    const refusal = known ? this.#refuse(known) : await this.#take(charges);
    if (refusal) throw refusal;
  }

  async #take(charges: readonly Charge[]): Promise<SyncError | undefined> {
    if (charges.length === 0) return undefined;
    const refusal = await this.#parts.counters.take(charges);
    if (refusal === undefined) return undefined;
    this.#parts.blocked.add(charges, refusal);
    return this.#refuse(refusal);
  }

  #refuse(refusal: Refusal): SyncError {
    this.#parts.metrics.count("limited_total", { limit: `${refusal.limit}_per_${refusal.per}` });
    return refusedFor(refusal);
  }
}
