// Mutations: what a client asks to be done to one record, as push sees it: ids and kinds already checked for shape by
// the edge, contents still as the client wrote them, in either form.
import type { CommitClock } from "./commit-clock.ts";
import type { RecordForm } from "./record-form.ts";
import type { Seq } from "./seq.ts";

/** Bytes the records of one mutation may have, unless set otherwise. */
export const MUTATION_BYTES_MAX = 2 ** 20;

export interface Mutation {
  /** A UUID the client made. */
  readonly mutationId: string;
  readonly collection: string;
  /** As the client wrote it; the schema makes it canonical. */
  readonly recordId: string;
  /** The client's clock, in ms since 1970: for the audit only; undefined: not told. */
  readonly madeAtMs: number | undefined;
  /** The highest commit clock the client knew when it first sent this; 0n: none. */
  readonly madeAfter: CommitClock;
  /** 0: don't check. */
  readonly expectedVersion: Seq;
  readonly kind: MutationKind;
}

export type MutationKind =
  | { readonly case: "create"; readonly record: RecordForm }
  | {
      readonly case: "update";
      readonly record: RecordForm;
      /** PROTO form: the numbers of the fields changed; JSON form: empty, the keys present are. */
      readonly changed: readonly number[];
      /** The changed fields as they were; undefined: a blind write. */
      readonly base: RecordForm | undefined;
    }
  | {
      readonly case: "delete";
      /** The record as it was; undefined: a blind delete. */
      readonly base: RecordForm | undefined;
    };
