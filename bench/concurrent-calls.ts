// Callers at once, each making its calls one after the other: how many a second, and how long each took.
import { percentile } from "./row.ts";

export type Call = () => Promise<void>;

export class CallTimes {
  readonly #callMs: number[] = [];
  #elapsedMs = 0;

  /** Runs one list of calls per caller; what several runs take adds up. */
  async run(callers: readonly (readonly Call[])[]): Promise<void> {
    const startMs = performance.now();
    await Promise.all(callers.map((calls) => this.#runInTurn(calls)));
    this.#elapsedMs += performance.now() - startMs;
  }

  callsPerSecond(): number {
    return (this.#callMs.length / this.#elapsedMs) * 1000;
  }

  p99Ms(): number {
    return percentile(this.#callMs, 0.99);
  }

  async #runInTurn(calls: readonly Call[]): Promise<void> {
    for (const call of calls) {
      const startMs = performance.now();
      await call();
      this.#callMs.push(performance.now() - startMs);
    }
  }
}
