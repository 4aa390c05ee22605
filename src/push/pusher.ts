// Keeps pushing what waits: takes groups from the queue, a few at a time, and what groups set aside, lane by lane.
// While one group commits, the next gathers: there is no linger, and no push waits longer than for the groups before it.
import { setImmediate } from "node:timers/promises";
import { SyncError } from "../model/sync-error.ts";
import { GROUP_MUTATIONS_MAX, PushQueue, type QueueLimits, type Unit } from "./queue.ts";

/** Groups at once: one is worked on while another's commit is waited for. */
export const GROUPS_MAX = 2;
/** Lanes pushed alone at once. */
export const ALONE_MAX = 8;

export const QUEUE_LIMITS: QueueLimits = {
  mutationsMax: 20 * GROUP_MUTATIONS_MAX,
  bytesMax: 64 * 2 ** 20,
  laneMutationsMax: 4_000,
};

const RETRY_AFTER_MS = 1_000;

export interface Work<U> {
  /** Pushes a group; gives what it set aside, in order. Never throws. */
  together(units: readonly U[]): Promise<readonly U[]>;
  /** Pushes units of one lane, one after the other. Never throws. */
  alone(units: readonly U[]): Promise<void>;
}

/** Has a lifetime: what it has begun it ends. */
export class Pusher<U extends Unit> {
  readonly #queue = new PushQueue<U>(QUEUE_LIMITS);
  readonly #work: Work<U>;
  readonly #aside: U[][] = [];
  #groups = 0;
  #alone = 0;
  #closed = false;
  #idle = Promise.withResolvers<void>();

  constructor(work: Work<U>) {
    this.#work = work;
  }

  /** @throws SyncError OVERLOADED, or SHUTTING_DOWN once it closes. */
  add(units: readonly U[]): void {
    if (this.#closed) throw new SyncError("SHUTTING_DOWN", "the server is going away; try again");
    const limit = this.#queue.fullFor(units);
    if (limit !== undefined) throw overloaded(limit);
    this.#queue.add(units);
    this.#next();
  }

  /** Forgets those of one lane that haven't been begun. Returns how many. */
  remove(units: ReadonlySet<U>): number {
    return this.#queue.remove(units);
  }

  /** Ends when all that was begun or waits is pushed. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#groups > 0 || this.#alone > 0) await this.#idle.promise;
  }

  #next(): void {
    while (this.#groups < GROUPS_MAX) {
      const group = this.#queue.take();
      if (group.length === 0) break;
      this.#groups++;
      void this.#push(group);
    }
    while (this.#alone < ALONE_MAX) {
      const units = this.#aside.shift();
      if (units === undefined) break;
      this.#alone++;
      void this.#pushAlone(units);
    }
    if (this.#groups + this.#alone === 0) {
      this.#idle.resolve();
      this.#idle = Promise.withResolvers();
    }
  }

  async #push(group: readonly U[]): Promise<void> {
    const aside = await this.#work.together(group);
    const left = new Set(aside);
    for (const unit of group) if (!left.has(unit)) this.#queue.done(unit);
    this.#aside.push(...Map.groupBy(aside, ({ lane }) => lane).values());
    // Whoever has just been answered may send again at once: that belongs into the next group.
    await setImmediate();
    this.#groups--;
    this.#next();
  }

  async #pushAlone(units: readonly U[]): Promise<void> {
    await this.#work.alone(units);
    for (const unit of units) this.#queue.done(unit);
    this.#alone--;
    this.#next();
  }
}

function overloaded(limit: keyof QueueLimits): SyncError {
  const { laneMutationsMax } = QUEUE_LIMITS;
  const message =
    limit === "laneMutationsMax"
      ? `this device has ${laneMutationsMax} mutations waiting, the most it may have: wait for their receipts`
      : "more mutations are waiting than this server queues: try again";
  return new SyncError("OVERLOADED", message, {
    retryAfterMs: RETRY_AFTER_MS,
    metadata: { limit, value: String(QUEUE_LIMITS[limit]) },
  });
}
