// Cuts HTTP/2 clients that have gone without a word: each is looked at once per interval. One that has sent anything
// since the last look is PINGed; one that hasn't, though it was PINGed then, is cut. So a client is gone between one and
// two intervals after its last sign of life, and has a whole interval to answer in. (A phone that lost its network never
// closes its connection.) One timer serves all, and the looks are spread over the interval.
import type { Clock } from "../model/clock.ts";
import { invariant } from "../model/invariant.ts";

export interface Client {
  /** Heard from it so far: whatever it sends shows that it lives. */
  readonly bytesRead: number;
  ping(): void;
  cut(): void;
}

/** In which an interval's looks are spread: of 10,000 clients, 500 are PINGed at a time. */
const SLOTS = 20;
const NEVER_LOOKED = -1;

export class Pulse {
  readonly #clock: Clock;
  readonly #stepMs: number;
  /** Clients, with how much was heard of each when it was last looked at. */
  readonly #slots = Array.from({ length: SLOTS }, () => new Map<Client, number>());
  #slotToFill = 0;
  #slotToLookAt = 0;
  #size = 0;
  #isRunning = false;
  /** Undefined: awake. */
  #sleep: AbortController | undefined;

  constructor(clock: Clock, intervalMs: number) {
    this.#clock = clock;
    this.#stepMs = intervalMs / SLOTS;
  }

  /** Returns what takes it off; may be repeated. */
  watch(client: Client): () => void {
    const slot = this.#slot(this.#slotToFill++);
    slot.set(client, NEVER_LOOKED);
    this.#size++;
    if (!this.#isRunning) void this.#run();
    return () => {
      if (slot.delete(client) && --this.#size === 0) this.#sleep?.abort();
    };
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    for (let dueMs = this.#clock.nowMs() + this.#stepMs; this.#size > 0; dueMs += this.#stepMs) {
      // Late: on from now, or clients would be looked at again before they could answer.
      dueMs = Math.max(dueMs, this.#clock.nowMs());
      // No longer than a step: the clock may have been set back.
      await this.#sleepFor(Math.min(dueMs - this.#clock.nowMs(), this.#stepMs));
      if (this.#size > 0) lookAt(this.#slot(this.#slotToLookAt++));
    }
    this.#isRunning = false;
  }

  async #sleepFor(ms: number): Promise<void> {
    this.#sleep = new AbortController();
    await this.#clock.sleep(ms, this.#sleep.signal);
    this.#sleep = undefined;
  }

  #slot(number: number): Map<Client, number> {
    const slot = this.#slots[number % SLOTS];
    invariant(slot, "there is a slot for every number");
    return slot;
  }
}

function lookAt(slot: Map<Client, number>): void {
  for (const [client, heardBefore] of slot) {
    const heard = client.bytesRead;
    if (heard === heardBefore) client.cut();
    else {
      slot.set(client, heard);
      client.ping();
    }
  }
}
