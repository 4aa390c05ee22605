// The connection to Redis and whether it can be relied on. Nobody waits for a Redis that is away: a question that isn't
// answered in time, or is refused, is answered by "no", and no further one is asked until a beat has gone through
// again. Each outage is told once when it begins and once when it is over.
import { Redis } from "ioredis";
import type { Clock } from "../../model/clock.ts";
import type { Logger } from "../../model/logger.ts";
import type { Metrics } from "../../model/metrics.ts";

export interface RedisLink {
  /** For those who put questions; only to be used inside one. */
  readonly redis: Redis;
  /** It answers, and knows of this node what it must. */
  readonly isUp: boolean;
  /** The answer; undefined if Redis is away, fails, or doesn't answer in time. Never rejects. */
  ask<T>(question: () => Promise<T>): Promise<T | undefined>;
  /** Says good-bye if Redis is there, and disconnects. Idempotent. */
  close(): Promise<void>;
}

export interface RedisLinkOptions {
  readonly url: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly beats: Beats;
}

/** What a node keeps saying to Redis: proof, too, that Redis takes writes. */
export interface Beats {
  /** After an outage, and at first. */
  rejoin(redis: Redis): Promise<void>;
  /** Every ten seconds. Resolves with false if Redis has forgotten this node. */
  beat(redis: Redis): Promise<boolean>;
  leave(redis: Redis): Promise<void>;
}

/** A caller waits for Redis no longer than that. */
const ANSWER_MS_MAX = 80;
/** Rejoining may have thousands of streams to tell; no caller waits for it. */
const REJOIN_MS_MAX = 5_000;
const BEAT_MS = 10_000;
const RETRY_MS = 500;
/** How long a start waits for Redis, so that a server's first calls count already. */
const START_MS_MAX = 1_000;
const CONNECT_MS_MAX = 2_000;
const RECONNECT_MS_MAX = 2_000;

/** Resolves once Redis has answered, or hasn't for a second: then the link goes on trying by itself. */
export async function openRedisLink(options: RedisLinkOptions): Promise<RedisLink> {
  const { clock, logger, metrics, beats } = options;
  const redis = connect(options.url);
  let isUp = false;
  let isOutageTold = false;
  let lastError: unknown;
  const started = new AbortController();
  const ending = new AbortController();
  let nextBeat = new AbortController();
  redis.on("error", (error: unknown) => {
    lastError = error;
  });
  redis.on("ready", () => nextBeat.abort());
  redis.on("close", () => {
    if (isUp) goAway(lastError ?? new Error("Redis closed the connection"));
  });
  const beating = keepBeating();
  await clock.sleep(START_MS_MAX, started.signal);
  if (!isUp) goAway(lastError ?? new Error("Redis did not answer in time"));
  return {
    redis,
    get isUp() {
      return isUp && !isOutageTold;
    },
    ask,
    close,
  };

  async function ask<T>(question: () => Promise<T>): Promise<T | undefined> {
    if (isUp) {
      try {
        return await inTime(question(), ANSWER_MS_MAX, clock);
      } catch (error) {
        if (isUp) goAway(error);
      }
    }
    metrics.count("limiter_fallbacks_total");
    return undefined;
  }

  function goAway(error: unknown): void {
    if (ending.signal.aborted) return;
    if (!isOutageTold) {
      // Not the error itself: Redis's carry the command, and that may be the one with the password.
      const reason = error instanceof Error ? error.message : String(error);
      logger.warn({ reason }, "Redis is away: limits hold per node until it is back");
    }
    isOutageTold = true;
    isUp = false;
    // What is still unanswered goes with the connection, instead of piling up.
    if (redis.status === "ready") redis.disconnect(true);
  }

  async function keepBeating(): Promise<void> {
    while (!ending.signal.aborted) {
      nextBeat = new AbortController();
      if (redis.status === "ready") await beat().catch(goAway);
      const pause = isUp ? BEAT_MS : RETRY_MS;
      await clock.sleep(pause, AbortSignal.any([nextBeat.signal, ending.signal]));
    }
  }

  async function beat(): Promise<void> {
    const isKnown = await inTime(beats.beat(redis), ANSWER_MS_MAX, clock);
    if (isUp && isKnown) return;
    // From here on every change is told, so that none falls between what is rejoined with and what follows.
    isUp = true;
    await inTime(beats.rejoin(redis), REJOIN_MS_MAX, clock);
    if (isOutageTold && isUp) {
      isOutageTold = false;
      logger.warn({}, "Redis is back: limits hold across all nodes again");
    }
    started.abort();
  }

  async function close(): Promise<void> {
    if (ending.signal.aborted) return;
    ending.abort();
    await beating;
    if (redis.status === "ready") await inTime(beats.leave(redis), ANSWER_MS_MAX, clock).catch(() => {});
    redis.disconnect();
  }
}

function connect(url: string): Redis {
  return new Redis(url, {
    connectTimeout: CONNECT_MS_MAX,
    disconnectTimeout: ANSWER_MS_MAX,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // What callers ask in one turn travels together.
    enableAutoPipelining: true,
    retryStrategy: (times) => Math.min(times * 100, RECONNECT_MS_MAX),
  });
}

/** @throws Error when the answer isn't there in time; what the work throws. */
async function inTime<T>(work: Promise<T>, ms: number, clock: Clock): Promise<T> {
  const decided = new AbortController();
  const late = clock.sleep(ms, decided.signal).then(async () => {
    if (decided.signal.aborted) return work;
    // In a process that was busy for long, the answer may have arrived but not been read.
    await new Promise(setImmediate);
    throw new Error(`Redis did not answer within ${ms} ms`);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    decided.abort();
    late.catch(() => {});
    work.catch(() => {});
  }
}
