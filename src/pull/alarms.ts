// When each stream wants to be woken though nothing happens: one heap of times and one sleep for all streams of a node,
// instead of a timer each.
import type { Clock } from "../model/clock.ts";

/** `ring` must be cheap and never throw. */
export interface Alarmed {
  ring(nowMs: number): void;
}

/** An alarm set; moves about in the heap. */
export interface Alarm {
  readonly of: Alarmed;
  atMs: number;
  index: number;
}

/** setTimeout's limit is 24.8 days. */
const SLEEP_MS_MAX = 86_400_000;

export class Alarms {
  readonly #clock: Clock;
  readonly #heap: Alarm[] = [];
  #sleep: { readonly untilMs: number; readonly cut: AbortController } | undefined;
  #isRunning = false;
  #isClosed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many are set. */
  get size(): number {
    return this.#heap.length;
  }

  /** Rings once, at or soon after `atMs` by the clock; never from within this call. Never at infinity. */
  set(of: Alarmed, atMs: number): Alarm {
    const alarm: Alarm = { of, atMs, index: this.#heap.length };
    this.#heap.push(alarm);
    this.#rise(alarm);
    if (this.#isRunning) {
      if (this.#sleep && atMs < this.#sleep.untilMs) this.#sleep.cut.abort();
    } else void this.#run();
    return alarm;
  }

  /** It won't ring; may be repeated, also after it has. */
  clear(alarm: Alarm): void {
    if (this.#heap[alarm.index] !== alarm) return;
    const last = this.#heap.pop();
    if (!last || last === alarm) return;
    this.#put(last, alarm.index);
    this.#sink(last);
    this.#rise(last);
  }

  close(): void {
    this.#isClosed = true;
    this.#heap.length = 0;
    this.#sleep?.cut.abort();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // Whoever has set the first alarm goes on before it rings.
    await Promise.resolve();
    for (let next = this.#heap[0]; next && !this.#isClosed; next = this.#heap[0]) {
      const nowMs = this.#clock.nowMs();
      if (next.atMs <= nowMs) {
        this.clear(next);
        next.of.ring(nowMs);
      } else await this.#sleepUntil(next.atMs, nowMs);
    }
    this.#isRunning = false;
  }

  async #sleepUntil(untilMs: number, nowMs: number): Promise<void> {
    const cut = new AbortController();
    this.#sleep = { untilMs, cut };
    await this.#clock.sleep(Math.min(untilMs - nowMs, SLEEP_MS_MAX), cut.signal);
    this.#sleep = undefined;
  }

  #rise(alarm: Alarm): void {
    while (alarm.index > 0) {
      const parent = this.#heap[(alarm.index - 1) >> 1];
      if (!parent || parent.atMs <= alarm.atMs) return;
      this.#swap(alarm, parent);
    }
  }

  #sink(alarm: Alarm): void {
    for (;;) {
      const left = this.#heap[2 * alarm.index + 1];
      const right = this.#heap[2 * alarm.index + 2];
      const least = right && left && right.atMs < left.atMs ? right : left;
      if (!least || least.atMs >= alarm.atMs) return;
      this.#swap(alarm, least);
    }
  }

  #swap(a: Alarm, b: Alarm): void {
    const { index } = a;
    this.#put(a, b.index);
    this.#put(b, index);
  }

  #put(alarm: Alarm, index: number): void {
    alarm.index = index;
    this.#heap[index] = alarm;
  }
}
