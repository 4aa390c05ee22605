// A stream's life: everything that can wake it or end it, in one place, so that the stream waits on one thing only.
// Reasons to wake: news, a heartbeat due, an end. It holds one timer and one listener; close() frees both.
import type { Clock } from "../model/clock.ts";

export type Ending =
  | { readonly kind: "aborted" }
  | { readonly kind: "token-expired" }
  | { readonly kind: "reconnect"; readonly retryAfterMs: number | undefined };

export interface LifeOptions {
  readonly clock: Clock;
  /** The call's. */
  readonly signal: AbortSignal;
  /** Infinity: silent until there is something to say. */
  readonly heartbeatIntervalMs: number;
  /** When the token expires, by the clock; undefined: never. */
  readonly expiresAtMs: number | undefined;
  /** When the stream is old. */
  readonly agedAtMs: number;
  /** Wakes the stream then, without ending it; Infinity: never. */
  readonly wakeAtMs: number;
  /** Called once when the call is aborted, whatever the stream is waiting for. */
  readonly onAbort: () => void;
}

/** Named, since without a reason each abort makes an error with its stack. */
const CLOSED = "the stream is closed";

export class StreamLife {
  readonly #options: LifeOptions;
  readonly #timer = new AbortController();
  #lastFrameMs: number;
  #retryAfterMs: number | undefined;
  #isDrained = false;
  #isAwake = false;
  #resolve: (() => void) | undefined;

  constructor(options: LifeOptions) {
    this.#options = options;
    this.#lastFrameMs = options.clock.nowMs();
    options.signal.addEventListener("abort", this.#aborted);
    void this.#tick();
  }

  /** Why the stream must end; undefined: it goes on. */
  get ending(): Ending | undefined {
    const { clock, signal, expiresAtMs, agedAtMs } = this.#options;
    if (signal.aborted) return { kind: "aborted" };
    const now = clock.nowMs();
    if (expiresAtMs !== undefined && now >= expiresAtMs) return { kind: "token-expired" };
    if (this.#isDrained) return { kind: "reconnect", retryAfterMs: this.#retryAfterMs };
    return now >= agedAtMs ? { kind: "reconnect", retryAfterMs: undefined } : undefined;
  }

  get isHeartbeatDue(): boolean {
    return this.#options.clock.nowMs() >= this.#lastFrameMs + this.#options.heartbeatIntervalMs;
  }

  /** Aborts what the stream waits for by the clock. */
  get signal(): AbortSignal {
    return this.#timer.signal;
  }

  /** A frame goes out. */
  framed(): void {
    this.#lastFrameMs = this.#options.clock.nowMs();
  }

  /** The server goes away. */
  drain(retryAfterMs: number): void {
    this.#isDrained = true;
    this.#retryAfterMs = retryAfterMs;
    this.wake();
  }

  readonly wake = (): void => {
    this.#isAwake = true;
    this.#resolve?.();
  };

  /** Resolves at the next wake, or at once if there was one since the last wait. One waiter only. */
  async woken(): Promise<void> {
    if (!this.#isAwake) {
      await new Promise<void>((resolve) => {
        this.#resolve = resolve;
      });
    }
    this.#resolve = undefined;
    this.#isAwake = false;
  }

  close(): void {
    this.#options.signal.removeEventListener("abort", this.#aborted);
    this.#timer.abort(CLOSED);
    this.wake();
  }

  readonly #aborted = (): void => {
    this.#options.onAbort();
    this.wake();
  };

  async #tick(): Promise<void> {
    const { clock, heartbeatIntervalMs, expiresAtMs = Number.POSITIVE_INFINITY, ...times } = this.#options;
    const endMs = Math.min(expiresAtMs, times.agedAtMs, times.wakeAtMs);
    while (!this.#timer.signal.aborted) {
      const now = clock.nowMs();
      const beatInMs = this.#lastFrameMs + heartbeatIntervalMs - now;
      if (beatInMs <= 0 || now >= endMs) this.wake();
      // A stream that doesn't get to send its heartbeat, its client not reading, is not woken again at once.
      const pauseMs = beatInMs > 0 ? beatInMs : heartbeatIntervalMs;
      await clock.sleep(
        Math.min(pauseMs, now < endMs ? endMs - now : pauseMs, SLEEP_MS_MAX),
        this.#timer.signal,
      );
    }
  }
}

/** setTimeout's limit is 24.8 days. */
const SLEEP_MS_MAX = 86_400_000;
