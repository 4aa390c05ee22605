// A clock that stands still until a test moves it.
import type { Clock } from "../../src/model/clock.ts";

export class FakeClock implements Clock {
  #nowMs = 1_700_000_000_000;
  readonly #sleepers = new Set<{ readonly untilMs: number; readonly wake: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  readonly sleep: Clock["sleep"] = (ms, signal) => {
    if (signal?.aborted || ms <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        this.#sleepers.delete(sleeper);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const sleeper = { untilMs: this.#nowMs + ms, wake };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", wake);
    });
  };

  /** Wakes who has slept long enough; whoever sleeps again sleeps from now on. */
  advance(ms: number): void {
    this.#nowMs += ms;
    for (const sleeper of [...this.#sleepers]) if (sleeper.untilMs <= this.#nowMs) sleeper.wake();
  }

  /** Lets time pass in steps until something has happened, giving the event loop its turn in between. */
  async advanceUntil(happening: Promise<unknown>, stepMs: number): Promise<void> {
    let isOver = false;
    const over = happening.finally(() => {
      isOver = true;
    });
    for (let step = 0; !isOver && step < STEPS_MAX; step++) {
      this.advance(stepMs);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await over;
  }
}

const STEPS_MAX = 100_000;
