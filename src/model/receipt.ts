// Receipts: what became of a mutation, as its client is told. The string unions mirror the enums of tidemark.v1
// without their prefixes and UNSPECIFIED.
import type { CommitClock } from "./commit-clock.ts";
import type { RecordForm } from "./record-form.ts";
import type { Violation } from "./sync-error.ts";

export type Outcome = "APPLIED" | "MERGED" | "CONFLICT" | "REJECTED" | "NOT_ATTEMPTED";

export type RejectionReason =
  | "INVALID"
  | "FORBIDDEN"
  | "MUTATION_ID_REUSED"
  | "EXPIRED"
  | "ID_TAKEN"
  | "UNKNOWN_COLLECTION"
  | "DATABASE"
  | "UNSUPPORTED"
  | "UNDECLARED_DATA"
  | "TOO_LARGE";

export interface Rejection {
  readonly reason: RejectionReason;
  /** Why and what to do, for the client's developer; tells nothing of records the caller may not see. */
  readonly description: string;
  readonly violations: readonly Violation[];
}

/** A field both sides had changed. */
export interface FieldConflict {
  readonly field: number;
  readonly name: string;
}

export interface Receipt {
  readonly mutationId: string;
  /** Canonical, if the collection is known and the id fits it; else as sent. */
  readonly recordId: string;
  readonly outcome: Outcome;
  /** APPLIED and MERGED: when the mutation was committed, or, replayed, a time by which it was; else 0n. */
  readonly commitClock: CommitClock;
  readonly replayed: boolean;
  /** MERGED: the merged record, CONFLICT: the current one; only if the caller may see it. */
  readonly record: RecordForm | undefined;
  /** CONFLICT: there is no such record, as far as the caller may know. */
  readonly recordAbsent: boolean;
  readonly conflicts: readonly FieldConflict[];
  /** REJECTED: why. */
  readonly rejection: Rejection | undefined;
}
