// Groups: runs of stream events up to a cluster time T, by cluster time alone. A transaction's events share one; so
// may unrelated ones. Closed: every event up to T has arrived, so that the records read at T are the whole of it (P3).
import type { Timestamp } from "mongodb";
import type { StreamEvent } from "./stream-event.ts";

export interface Group {
  /** T: the time of its last events. */
  readonly time: Timestamp;
  /** In the stream's order, beginning with the first one waiting. */
  readonly events: readonly StreamEvent[];
  /** False: further events of T may be to come, or wait already but would make it too large. */
  readonly closed: boolean;
}

/**
 * The group to take first: all closed times together as far as `eventsMax` goes, else the first time alone, open.
 * @param waiting in the stream's order.
 * @param openFrom events from this time on may lack others of the same time; undefined: none do.
 */
export function firstGroup(
  waiting: readonly StreamEvent[],
  openFrom: Timestamp | undefined,
  eventsMax: number,
): Group | undefined {
  const closed = openFrom
    ? firstIndex(waiting, ({ time }) => time.greaterThanOrEqual(openFrom))
    : waiting.length;
  let end = Math.min(closed, eventsMax);
  const next = waiting[end];
  if (next && end < closed) {
    const cut = next.time;
    end = firstIndex(waiting, ({ time }) => time.greaterThanOrEqual(cut));
  }
  const last = waiting[end - 1] ?? waiting[0];
  if (last === undefined) return undefined;
  if (end > 0) return { time: last.time, events: waiting.slice(0, end), closed: true };
  const after = firstIndex(waiting, ({ time }) => time.greaterThan(last.time));
  return { time: last.time, events: waiting.slice(0, Math.min(after, eventsMax)), closed: false };
}

/** The first index of a sorted list at which `reached` holds; its length if at none. */
function firstIndex<T>(sorted: readonly T[], reached: (element: T) => boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const element = sorted[middle];
    if (element !== undefined && reached(element)) high = middle;
    else low = middle + 1;
  }
  return low;
}
