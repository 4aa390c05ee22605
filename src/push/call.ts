// One call of PushMutations, and the parts every call works with: passed through the steps, changed by none but the
// call's budget of records.
import type { Ledger } from "../ledger/ledger.ts";
import type { Log } from "../log/log.ts";
import type { Clock } from "../model/clock.ts";
import type { Logger } from "../model/logger.ts";
import type { Mutation } from "../model/mutation.ts";
import type { Principal } from "../model/principal.ts";
import type { RecordForm } from "../model/record-form.ts";
import type { SessionPool } from "../mongo/session-pool.ts";
import type { Source } from "../mongo/source-document.ts";
import type { Collection } from "../schema/collection.ts";
import { isBeyondJson } from "../schema/json-limits.ts";
import { recordToJson } from "../schema/record-json.ts";
import type { Schema } from "../schema/schema.ts";

export interface PushRequest {
  /** In the order they were made. */
  readonly mutations: readonly Mutation[];
  /** All or nothing. */
  readonly atomic: boolean;
  /** Of records in receipts. */
  readonly recordForm: RecordForm["form"];
}

/** What pushing takes, whoever pushes. */
export interface PushParts {
  readonly source: Source;
  readonly log: Log;
  readonly ledger: Ledger;
  readonly schema: Schema;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Those transactions run in. */
  readonly sessions: SessionPool;
  /** Bytes of one mutation. */
  readonly mutationBytesMax: number;
}

/** Whether a collection's schema is that of the log: one of an older schema may show what is hidden by now. */
export type IsPresent = (collection: Collection) => boolean;

export interface Call {
  readonly principal: Principal;
  readonly recordForm: RecordForm["form"];
  readonly signal: AbortSignal;
  readonly budget: RecordBudget;
  readonly isPresent: IsPresent;
}

/** Bytes of records the call's receipts may still carry. */
export interface RecordBudget {
  bytesLeft: number;
}

/** Records attached to one response, at most, in their binary form: as much as a request may hold. */
export const RECORD_BYTES_MAX = 4 * 2 ** 20;

/**
 * The record in the form asked for; undefined when the response, or that form, can't hold it, or this node's schema of
 * it is not the present one: it will come by the pull.
 */
export function recordForCaller(
  { budget, recordForm, isPresent }: Call,
  collection: Collection,
  bytes: Uint8Array,
): RecordForm | undefined {
  if (!isPresent(collection)) return undefined;
  if (bytes.length > budget.bytesLeft) return undefined;
  if (recordForm === "JSON" && isBeyondJson(collection, bytes)) return undefined;
  budget.bytesLeft -= bytes.length;
  return recordForm === "JSON"
    ? { form: "JSON", json: recordToJson(collection, bytes) }
    : { form: "PROTO", bytes };
}
