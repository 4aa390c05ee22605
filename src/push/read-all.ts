// Reads a request's mutations by the schema, before anything is asked of the database: each becomes a ticket, or is
// refused because there is nothing to look up by.
import type { Mutation } from "../model/mutation.ts";
import type { Receipt } from "../model/receipt.ts";
import type { Call, PushParts } from "./call.ts";
import { refuseTooManyFields, sizeOf } from "./mutation-size.ts";
import { readMutation } from "./read-mutation.ts";
import { tellRejected } from "./receipts.ts";
import { refusalOf } from "./refuse-intent.ts";
import { orRejection } from "./refused.ts";
import type { Ticket } from "./ticket.ts";

export type ReadResult =
  /** With its size: bytes of its records. */
  { readonly ticket: Ticket; readonly bytes: number } | { readonly refused: Receipt };

/** In the request's order. */
export function readAll(parts: PushParts, call: Call, mutations: readonly Mutation[]): ReadResult[] {
  const { clock, mutationBytesMax: bytesMax } = parts;
  const nowMs = clock.nowMs();
  return mutations.map((sent) => {
    const mutation = { ...sent, mutationId: sent.mutationId.toLowerCase() };
    const read = orRejection(() => {
      refuseTooManyFields(mutation);
      return readMutation(parts.schema, mutation);
    });
    if ("rejection" in read) return { refused: tellRejected(mutation, mutation.recordId, read.rejection) };
    const bytes = sizeOf(mutation);
    const refusal = refusalOf(read, { principal: call.principal, bytes, bytesMax, nowMs });
    return { ticket: { call, read, refusal }, bytes };
  });
}
