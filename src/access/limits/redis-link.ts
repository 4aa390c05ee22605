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
const ANSWER_MS_MAX = 100;
/** Rejoining may have thousands of streams to tell; no caller waits for it. */
const REJOIN_MS_MAX = 5_000;
const BEAT_MS = 10_000;
/** How long an outage lasts at least. */
const RETRY_MS = 500;
/** One that follows another so soon lasts twice as long, up to a beat: whatever flaps doesn't flood the log. */
const CALM_MS = 60_000;
/** How long a start waits for Redis, so that a server's first calls count already. */
const START_MS_MAX = 1_000;
const CONNECT_MS_MAX = 2_000;
const RECONNECT_MS_MAX = 2_000;

/** Resolves once Redis has answered, or hasn't for a second: then the link goes on trying by itself. */
export async function openRedisLink(options: RedisLinkOptions): Promise<RedisLink> {
  const link = new BeatingLink(options);
  await link.begun();
  return link;
}

class BeatingLink implements RedisLink {
  readonly redis: Redis;
  readonly #options: RedisLinkOptions;
  /** Questions may be asked. */
  #isOpen = false;
  #isOutageTold = false;
  #lastError: unknown = new Error("Redis did not answer in time");
  #retryMs = RETRY_MS;
  #upSinceMs = Number.NEGATIVE_INFINITY;
  #wake = new AbortController();
  readonly #started = new AbortController();
  readonly #ending = new AbortController();
  readonly #beating: Promise<void>;

  constructor(options: RedisLinkOptions) {
    this.#options = options;
    this.redis = connect(options.url);
    this.redis.on("error", (error: unknown) => {
      this.#lastError = error;
    });
    this.redis.on("ready", () => {
      if (!this.#isOutageTold) this.#wake.abort();
    });
    this.redis.on("close", () => {
      if (this.#isOpen) this.#goAway(new Error("Redis closed the connection"));
    });
    this.#beating = this.#keepBeating();
  }

  get isUp(): boolean {
    return this.#isOpen && !this.#isOutageTold;
  }

  async begun(): Promise<void> {
    await this.#options.clock.sleep(START_MS_MAX, this.#started.signal);
    if (!this.#isOpen) this.#goAway(this.#lastError);
  }

  async ask<T>(question: () => Promise<T>): Promise<T | undefined> {
    if (this.#isOpen) {
      try {
        return await inTime(question(), ANSWER_MS_MAX, this.#options.clock);
      } catch (error) {
        // One outage fails many questions at once.
        if (this.#isOpen) this.#goAway(error);
      }
    }
    this.#options.metrics.count("limiter_fallbacks_total");
    return undefined;
  }

  async close(): Promise<void> {
    if (this.#ending.signal.aborted) return;
    this.#ending.abort();
    await this.#beating;
    const { beats, clock } = this.#options;
    if (this.redis.status === "ready")
      await inTime(beats.leave(this.redis), ANSWER_MS_MAX, clock).catch(() => {});
    this.redis.disconnect();
  }

  #goAway(error: unknown): void {
    if (this.#ending.signal.aborted) return;
    const { clock, logger } = this.#options;
    if (!this.#isOutageTold) {
      // Not the error itself: Redis's carry the command, and that may be the one with the password.
      const reason = error instanceof Error ? error.message : String(error);
      logger.warn({ reason }, "Redis is away: limits hold per node until it is back");
      const isFlapping = clock.nowMs() - this.#upSinceMs < CALM_MS;
      this.#retryMs = isFlapping ? Math.min(2 * this.#retryMs, BEAT_MS) : RETRY_MS;
    }
    this.#isOutageTold = true;
    this.#isOpen = false;
    this.#wake.abort();
    // What is still unanswered goes with the connection, instead of piling up.
    if (this.redis.status === "ready") this.redis.disconnect(true);
  }

  async #keepBeating(): Promise<void> {
    while (!this.#ending.signal.aborted) {
      const wasOpen = this.#isOpen;
      this.#wake = new AbortController();
      const woken = AbortSignal.any([this.#wake.signal, this.#ending.signal]);
      await this.#options.clock.sleep(wasOpen ? BEAT_MS : this.#retryMs, woken);
      const hasJustGone = wasOpen && !this.#isOpen;
      if (this.redis.status !== "ready" || hasJustGone || this.#ending.signal.aborted) continue;
      await this.#beat().catch((error: unknown) => this.#goAway(error));
    }
  }

  async #beat(): Promise<void> {
    const { beats, clock, logger } = this.#options;
    const isKnown = await inTime(beats.beat(this.redis), ANSWER_MS_MAX, clock);
    if (this.#isOpen && isKnown) return;
    // From here on every change is told, so that none falls between what is rejoined with and what follows.
    this.#isOpen = true;
    await inTime(beats.rejoin(this.redis), REJOIN_MS_MAX, clock);
    if (this.#isOutageTold && this.#isOpen) {
      this.#isOutageTold = false;
      this.#upSinceMs = clock.nowMs();
      logger.warn({}, "Redis is back: limits hold across all nodes again");
    }
    this.#started.abort();
  }
}

function connect(url: string): Redis {
  return new Redis(url, {
    connectTimeout: CONNECT_MS_MAX,
    disconnectTimeout: ANSWER_MS_MAX,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // Its automatic pipelines throw, where nobody can catch it, when a connection ends in the middle of one. Without them
    // questions of one turn travel together all the same.
    enableAutoPipelining: false,
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
