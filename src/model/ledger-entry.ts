// Ledger entries: mutations as the server has recorded them, as those are told who may know.
import type { MutationKind } from "./mutation.ts";
import type { FieldConflict, Receipt } from "./receipt.ts";
import type { RecordForm } from "./record-form.ts";

/** A top-level field of a record. */
export interface NamedField {
  readonly field: number;
  readonly name: string;
}

/** The sides of a field both sides had changed, each a record with that field alone; undefined: none, or not kept. */
export interface LedgerConflict extends FieldConflict {
  readonly base: RecordForm | undefined;
  readonly current: RecordForm | undefined;
  readonly proposed: RecordForm | undefined;
}

export interface LedgerEntry {
  /** Replayed, without the record. */
  readonly receipt: Receipt;
  readonly principal: string;
  readonly device: string;
  /** By the clock of the node that took it, in ms since 1970. */
  readonly receivedAtMs: number;
  /** By the client's clock, in ms since 1970; undefined: not told. */
  readonly madeAtMs: number | undefined;
  readonly collection: string;
  readonly kind: MutationKind["case"];
  /** Those the mutation named, as far as the schema has and shows them now. */
  readonly fields: readonly NamedField[];
  /** As far as the caller may see the record, and the schema has and shows them now. */
  readonly conflicts: readonly LedgerConflict[];
}
