// Refused: a mutation is refused, with what its client is told. Thrown by the steps that judge a mutation, caught where
// its receipt is made; never leaves this folder.
import type { Rejection, RejectionReason } from "../model/receipt.ts";
import type { Violation } from "../model/sync-error.ts";

/** Violations told and stored, at most: enough to find the fault. */
const VIOLATIONS_MAX = 50;

interface RefusalDetails {
  readonly violations?: readonly Violation[];
  readonly cause?: unknown;
}

export class Refused extends Error {
  override readonly name = "Refused";
  readonly rejection: Rejection;

  constructor(reason: RejectionReason, description: string, details: RefusalDetails = {}) {
    super(description, { cause: details.cause });
    const violations = (details.violations ?? []).slice(0, VIOLATIONS_MAX);
    this.rejection = { reason, description, violations };
  }
}

/** What `judge` returns, or the rejection it was refused with. */
export function orRejection<T>(judge: () => T): T | { readonly rejection: Rejection } {
  try {
    return judge();
  } catch (error) {
    if (error instanceof Refused) return { rejection: error.rejection };
    throw error;
  }
}
