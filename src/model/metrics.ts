// The port for metrics: counters by name. Labels are few and of our own making: never an id, an address, or anything
// else a caller can choose.

export type CounterName =
  /** Callers and mutations refused for who they are; label `reason`. */
  | "denied_total"
  /** Calls refused by a limit; label `limit`. */
  | "limited_total"
  /** Times the limits of all nodes together could not be asked for, so that a node went by its own. */
  | "limiter_fallbacks_total";

export interface Metrics {
  /** Adds one. Never throws. */
  count(name: CounterName, labels?: Readonly<Record<string, string>>): void;
}

/** Counts nothing. */
export const noMetrics: Metrics = { count() {} };
