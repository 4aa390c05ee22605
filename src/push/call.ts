// One call of PushMutations and what it works with: passed through the steps, changed by none but the budget of records.
import type { Ledger } from "../ledger/ledger.ts";
import { readGrants } from "../log/grants.ts";
import type { Log } from "../log/log.ts";
import type { Clock } from "../model/clock.ts";
import type { Logger } from "../model/logger.ts";
import type { Mutation } from "../model/mutation.ts";
import { type Grants, mergeGrants, type Principal } from "../model/principal.ts";
import type { RecordForm } from "../model/record-form.ts";
import type { Session, Source } from "../mongo/source-document.ts";
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

export interface Call {
  readonly source: Source;
  readonly log: Log;
  readonly ledger: Ledger;
  readonly schema: Schema;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly principal: Principal;
  readonly request: PushRequest;
  readonly signal: AbortSignal;
  readonly budget: RecordBudget;
}

/** Bytes of records the call's receipts may still carry. */
export interface RecordBudget {
  bytesLeft: number;
}

/** Records attached to one response, at most, in their binary form: as much as a request may hold. */
export const RECORD_BYTES_MAX = 4 * 2 ** 20;

/** What the principal may see and write: by its claims, and by memberships as the transaction, or a majority, has them. */
export async function currentGrants(call: Call, session?: Session): Promise<Grants> {
  const { principal, schema } = call;
  const fromMemberships = [...schema.collections.values()].some(({ grant }) => grant !== undefined);
  if (!fromMemberships) return principal.claimGrants;
  return mergeGrants(principal.claimGrants, await readGrants(call.log, principal.id, session));
}

/** The record in the form asked for; undefined when the response, or that form, can't hold it: it will come by the pull. */
export function recordForCaller(
  call: Call,
  collection: Collection,
  bytes: Uint8Array,
): RecordForm | undefined {
  if (bytes.length > call.budget.bytesLeft) return undefined;
  if (call.request.recordForm === "JSON" && isBeyondJson(collection, bytes)) return undefined;
  call.budget.bytesLeft -= bytes.length;
  return call.request.recordForm === "JSON"
    ? { form: "JSON", json: recordToJson(collection, bytes) }
    : { form: "PROTO", bytes };
}
