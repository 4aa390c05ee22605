// Reads a request's mutations by the schema, before anything is asked of the database: each becomes a ticket, or is
// refused because there is nothing to look up by.
import type { Mutation } from "../model/mutation.ts";
import type { Receipt } from "../model/receipt.ts";
import type { Call, PushParts } from "./call.ts";
import { refuseTooLarge } from "./mutation-size.ts";
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
  return mutations.map((sent) => {
    const mutation = { ...sent, mutationId: sent.mutationId.toLowerCase() };
    const read = orRejection(() => {
      const bytes = refuseTooLarge(mutation, parts.mutationBytesMax);
      const found = readMutation(parts.schema, mutation);
      return { ticket: { call, read: found, refusal: refusalOf(found, call.principal) }, bytes };
    });
    return "rejection" in read
      ? { refused: tellRejected(mutation, mutation.recordId, read.rejection) }
      : read;
  });
}
