// Settles the mutations of a transaction one after the other, in memory: each is a replay, refused by itself, or decided
// by what the transaction has read and what the mutations before it made of that.
import type { StoredReceipt } from "../ledger/stored-receipt.ts";
import type { Rejection } from "../model/receipt.ts";
import { type Decision, decide, viewOf } from "./decide.ts";
import { type Facts, grantsOf } from "./facts.ts";
import { createFold, type RecordWrite } from "./fold.ts";
import { type Replay, receiptToStore } from "./receipts.ts";
import { expiryOf } from "./refuse-intent.ts";
import { refOf, type Ticket } from "./ticket.ts";

export type Settlement =
  | { readonly kind: "replayed"; readonly replay: Replay }
  /** By itself: nothing is recorded. */
  | { readonly kind: "refused"; readonly rejection: Rejection }
  | { readonly kind: "decided"; readonly decision: Decision };

export interface Settling {
  /** What is known of it without deciding: its receipt, or a refusal. */
  recall(ticket: Ticket): Settlement | undefined;
  /** Decides where nothing is known, and lets the mutations after it see what it does. */
  settle(ticket: Ticket): Settlement;
  /** Of what was decided, in order. */
  receipts(): readonly StoredReceipt[];
  writes(): readonly RecordWrite[];
}

export function createSettling(facts: Facts, nowMs: number): Settling {
  const fold = createFold(facts);
  const decided = new Map<string, StoredReceipt>();

  function recall(ticket: Ticket): Settlement | undefined {
    const { call, read, refusal } = ticket;
    const { mutationId } = read.mutation;
    const stored = facts.receipts.get(mutationId) ?? decided.get(mutationId);
    if (stored !== undefined) {
      const view = viewOf(read, fold.document(refOf(ticket)), grantsOf(facts, call.principal));
      return { kind: "replayed", replay: { stored, view } };
    }
    const rejection = expiryOf(read, facts.floor) ?? refusal;
    return rejection && { kind: "refused", rejection };
  }

  function settle(ticket: Ticket): Settlement {
    const known = recall(ticket);
    if (known !== undefined) return known;
    const { call, read } = ticket;
    const ref = refOf(ticket);
    const decision = decide(read, {
      grants: grantsOf(facts, call.principal),
      found: fold.document(ref),
      entry: facts.entries.get(ref),
      grave: fold.grave(ref),
      nowMs,
    });
    if (decision.step) fold.apply(ticket, decision.step);
    decided.set(read.mutation.mutationId, receiptToStore(ticket, decision, nowMs));
    return { kind: "decided", decision };
  }

  return { recall, settle, receipts: () => [...decided.values()], writes: fold.writes };
}
