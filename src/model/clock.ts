// The port for time: injected everywhere, so that tests decide what time it is. main.ts supplies the real one.

export interface Clock {
  /** Ms since 1970. */
  nowMs(): number;
  /** Resolves after `ms`, or at once when the signal aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}
