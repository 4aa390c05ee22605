// What may be told, as questions to the truth. Times are commit clocks; a window is the stretch of the log's time in
// which an answer may have been read.
import type { Caller } from "./book.ts";
import type { Span, Truth } from "./truth.ts";

export interface Window {
  readonly from: bigint;
  /** Inclusive. */
  readonly until: bigint;
}

export interface Asked {
  readonly record: string;
  /** When the record held what is told. */
  readonly spans: readonly Span[];
  readonly caller: Caller;
  /** What claims give. */
  readonly scopes: readonly string[];
}

/**
 * Whether there is a moment in the window at which the record held this, was in a scope, and the caller held that scope.
 * @param grantsFrom memberships may be as old as this: where records are read from the source, and memberships from the
 *   log, which may lag.
 */
export function isCovered(truth: Truth, asked: Asked, window: Window, grantsFrom?: bigint): boolean {
  return asked.spans.some((span) =>
    truth.stretches(asked.record).some((stretch) => {
      const from = latest(window.from, span.from, stretch.from);
      const until = earlier(span.until, stretch.until);
      if (from >= until || from > window.until) return false;
      return stretch.scopes.some((scope) => {
        if (asked.scopes.includes(scope)) return true;
        return truth.memberships(asked.caller.principal, scope).some((given) => {
          const start = latest(from, given.from);
          const isGivenYet = grantsFrom === undefined ? given.until > start : given.until > grantsFrom;
          return isGivenYet && start < until && start <= window.until;
        });
      });
    }),
  );
}

/** Whether the record was in some scope at or after a time at which the caller held that scope, both in the window. */
export function wasWithin(truth: Truth, asked: Omit<Asked, "spans">, window: Window): boolean {
  const isWithin = (stretch: Span, heldFrom: bigint) => {
    const from = latest(stretch.from, heldFrom);
    return from < stretch.until && from <= window.until;
  };
  return truth.stretches(asked.record).some((stretch) =>
    stretch.scopes.some((scope) => {
      if (asked.scopes.includes(scope)) return isWithin(stretch, window.from);
      return truth.memberships(asked.caller.principal, scope).some((given) => {
        const from = latest(given.from, window.from);
        return from < given.until && from <= window.until && isWithin(stretch, from);
      });
    }),
  );
}

function latest(...clocks: readonly bigint[]): bigint {
  let latest = 0n;
  for (const clock of clocks) if (clock > latest) latest = clock;
  return latest;
}

function earlier(a: bigint, b: bigint): bigint {
  return [a, b].sort((one, other) => Number(one - other))[0] ?? a;
}
