// The keys an issuer publishes at a URL: fetched in the background before they get old, and at once when a token names
// a key not known yet, but never twice within the cooldown: made-up keys can't make us hammer the issuer. While it is
// away its keys stay good for a set time. What can't be decided without it is ISSUER_UNAVAILABLE: a token is refused
// only by an answer asked for after the token was issued.
import type { CryptoKey } from "jose";
import type { Clock } from "../model/clock.ts";
import type { Logger } from "../model/logger.ts";
import { SyncError } from "../model/sync-error.ts";
import { fetchKeySet } from "./fetch-key-set.ts";
import { type KeySet, KeySetError } from "./key-set.ts";
import type { KeyQuery, KeySource } from "./key-source.ts";

export interface JwksUrlOptions {
  readonly url: string;
  /** How long keys stay good beyond their age while the issuer is away. */
  readonly staleMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How soon a retired key is surely refused. */
export const REFRESH_MS = 5 * 60_000;
/** Keys older than this are stale: a refresh has failed. */
export const KEYS_AGE_MS = 10 * 60_000;
/** Between requests that callers cause, and between attempts while the issuer is away. */
export const COOLDOWN_MS = 10_000;

interface Held {
  readonly keys: KeySet;
  /** Their issuer was asked for them then. */
  readonly askedAtMs: number;
}

export class JwksUrl implements KeySource {
  readonly #options: JwksUrlOptions;
  readonly #ending = new AbortController();
  readonly #refreshing: Promise<void>;
  #held: Held | undefined;
  /** Of the last request; undefined: it went well. */
  #fault: string | undefined;
  #triedAtMs = Number.NEGATIVE_INFINITY;
  #fetching: Promise<void> | undefined;

  /** Begins to fetch; callers wait for the first answer. */
  constructor(options: JwksUrlOptions) {
    this.#options = options;
    this.#refreshing = this.#keepFresh();
  }

  async find({ header, issuedAtMs }: KeyQuery): Promise<CryptoKey | undefined> {
    const arrivedAtMs = this.#options.clock.nowMs();
    if (!this.#good()) await this.#refetch();
    const known = await this.#good()?.keys.find(header);
    if (known) return known;
    await this.#refetch();
    const held = this.#good();
    const key = await held?.keys.find(header);
    if (key) return key;
    const couldBeNewer =
      issuedAtMs !== undefined && Math.min(issuedAtMs, arrivedAtMs) > (held?.askedAtMs ?? 0);
    if (!held || this.#fault !== undefined || couldBeNewer) throw this.#unavailable();
    return undefined;
  }

  /** Ends what is under way. Callers that wait get ISSUER_UNAVAILABLE. */
  async close(): Promise<void> {
    this.#ending.abort();
    await Promise.all([this.#refreshing, this.#fetching]);
  }

  async #keepFresh(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#ending.signal.aborted) {
      await this.#fetch();
      await clock.sleep(this.#fault === undefined ? REFRESH_MS : COOLDOWN_MS, this.#ending.signal);
    }
  }

  /** The keys, unless there are none or their issuer has been away for too long. */
  #good(): Held | undefined {
    const { clock, staleMs } = this.#options;
    const held = this.#held;
    return held && clock.nowMs() < held.askedAtMs + KEYS_AGE_MS + staleMs ? held : undefined;
  }

  /** Joins the request under way; else makes one if the cooldown is over. */
  async #refetch(): Promise<void> {
    if (this.#fetching || this.#cooldownMs() === 0) await this.#fetch();
  }

  /** How much of the cooldown is left. A clock that was turned back doesn't prolong it. */
  #cooldownMs(): number {
    const elapsedMs = this.#options.clock.nowMs() - this.#triedAtMs;
    return elapsedMs >= 0 && elapsedMs < COOLDOWN_MS ? COOLDOWN_MS - elapsedMs : 0;
  }

  /** One request at a time. Never rejects. */
  #fetch(): Promise<void> {
    this.#fetching ??= this.#ask().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #ask(): Promise<void> {
    const { url, clock } = this.#options;
    const askedAtMs = clock.nowMs();
    this.#triedAtMs = askedAtMs;
    try {
      this.#succeeded({ keys: await fetchKeySet(url, clock, this.#ending.signal), askedAtMs });
    } catch (error) {
      if (!(error instanceof KeySetError)) throw error;
      if (!this.#ending.signal.aborted) this.#failed(error.message);
    }
  }

  #succeeded(held: Held): void {
    const { url, logger } = this.#options;
    const { size, unfit } = held.keys;
    if (this.#fault !== undefined) logger.info({ url, keys: size }, "the issuer's keys can be fetched again");
    if (unfit > 0 && unfit !== this.#held?.keys.unfit) {
      logger.warn({ url, unfit }, "the issuer publishes private, symmetric, weak or broken keys: left out");
    }
    this.#held = held;
    this.#fault = undefined;
  }

  /** Told when it begins, when it changes, and when the keys of before run out. */
  #failed(fault: string): void {
    const { url, logger, staleMs } = this.#options;
    const held = this.#good();
    const told = held ? fault : `${fault}; no keys`;
    if (this.#fault !== told && held) {
      const goodUntil = new Date(held.askedAtMs + KEYS_AGE_MS + staleMs).toISOString();
      logger.warn({ url, fault, goodUntil }, "the issuer's keys can't be fetched: those of before stay good");
    } else if (this.#fault !== told) {
      logger.error({ url, fault }, "the issuer's keys can't be fetched: its tokens can't be checked");
    }
    this.#fault = told;
  }

  #unavailable(): SyncError {
    const retryAfterMs = Math.max(this.#cooldownMs(), 1_000);
    const message = "the issuer's keys can't be asked for now, so that the token can't be checked: try again";
    return new SyncError("ISSUER_UNAVAILABLE", message, { retryAfterMs });
  }
}
