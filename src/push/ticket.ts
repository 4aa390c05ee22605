// A ticket: a mutation that could be read, on its way to its receipt.
import type { Rejection } from "../model/receipt.ts";
import type { Call } from "./call.ts";
import type { ReadMutation } from "./read-mutation.ts";

export interface Ticket {
  readonly call: Call;
  readonly read: ReadMutation;
  /** What it is refused for by itself, unless the ledger knows it. */
  readonly refusal: Rejection | undefined;
}

/** Names a record within the server: equal for mutations of the same one. */
export type RecordRef = string;

export function recordRef(collection: string, recordId: string): RecordRef {
  return `${collection}/${recordId}`;
}

export function refOf({ read }: Ticket): RecordRef {
  return recordRef(read.collection.name, read.recordId);
}

/** Mutations of one lane are committed in the order they arrived in: those of a principal's device. */
export type Lane = string;

export function laneOf({ principal }: Call): Lane {
  return JSON.stringify([principal.id, principal.device]);
}
