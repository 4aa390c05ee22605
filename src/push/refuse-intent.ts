// What a mutation is refused for by itself, whatever the database holds: collections and fields clients may not write,
// edits that name nothing or can't be merged, records that break the team's rules from the start. Counts only if the
// ledger doesn't know the mutation, so that one applied before such a rule came is still told its receipt; never
// recorded, since it would be refused the same way again.
import type { CommitClock } from "../model/commit-clock.ts";
import type { Principal } from "../model/principal.ts";
import type { Rejection } from "../model/receipt.ts";
import type { Field, Merge } from "../schema/collection.ts";
import type { FieldShape, MessageShape } from "../schema/shape.ts";
import { encodeFit, refuseBrokenRules } from "./broken-rules.ts";
import { refuseTooLarge } from "./mutation-size.ts";
import type { ReadMutation } from "./read-mutation.ts";
import { orRejection, Refused } from "./refused.ts";
import { createStamps } from "./stamps.ts";

export interface Judging {
  readonly principal: Principal;
  /** The mutation's size. */
  readonly bytes: number;
  readonly bytesMax: number;
  /** For stamps, which rules may ask for. */
  readonly nowMs: number;
}

/** Why it is refused: FORBIDDEN, INVALID or TOO_LARGE; undefined: it isn't. */
export function refusalOf(read: ReadMutation, judging: Judging): Rejection | undefined {
  const judged = orRejection(() => {
    refuseIntent(read, judging);
    return undefined;
  });
  return judged?.rejection;
}

function refuseIntent(read: ReadMutation, { principal, bytes, bytesMax, nowMs }: Judging): void {
  const { mutation, collection, intent } = read;
  refuseTooLarge(mutation, bytes, bytesMax);
  if (principal.id === "") throw new Refused("FORBIDDEN", "send a token: callers without one can't write");
  if (!collection.writable && !principal.isService) {
    throw new Refused("FORBIDDEN", `clients can't write the collection "${collection.name}"`);
  }
  const unsettable = intent.fields.find(({ settable }) => !settable);
  if (unsettable) throw refusedField(unsettable);
  if (intent.kind === "create") {
    if (mutation.expectedVersion !== 0) throw invalid(VERSION_OF_CREATE);
    const document = { ...intent.document, ...createStamps(collection, nowMs) };
    refuseBrokenRules(read, { before: undefined, after: encodeFit(read, document) });
  }
  if (intent.kind !== "update") return;
  if (intent.fields.length === 0) throw invalid(NOTHING_NAMED);
  if (intent.base !== undefined) return;
  const baseless = intent.fields.find(({ merge, shape }) => needsBase(shape, merge));
  if (baseless) {
    throw invalid(
      `send \`base\`: ${baseless.name} merges by what you changed (COUNTER, SET), not by what you send`,
    );
  }
}

/** Whether it, or a field of the messages in it, merges by the difference the client made. */
function needsBase({ value, cardinality }: FieldShape, merge: Merge | undefined): boolean {
  if (merge === "COUNTER" || merge === "SET") return true;
  if (value.kind !== "message" || cardinality !== "explicit") return false;
  return singleMessages(value.shape).some(({ fields }) =>
    fields.some(({ merge: own, hidden }) => !hidden && (own === "COUNTER" || own === "SET")),
  );
}

/** The message and those it holds singly, each once. */
function singleMessages(shape: MessageShape): MessageShape[] {
  const found = new Set([shape]);
  for (const { fields } of found) {
    for (const { value, cardinality, hidden } of fields) {
      if (!hidden && value.kind === "message" && cardinality === "explicit") found.add(value.shape);
    }
  }
  return [...found];
}

const VERSION_OF_CREATE =
  "a create takes no expected_version: it requires already that there is no such record";
const NOTHING_NAMED = "the update names no changed field: list them in `changed` (PROTO) or as keys (JSON)";

function refusedField({ name, stamp }: Field): Refused {
  const why = stamp
    ? `the server sets the field ${name}: leave it out`
    : `clients can't set the field ${name}`;
  return new Refused("FORBIDDEN", why);
}

function invalid(description: string): Refused {
  return new Refused("INVALID", description);
}

/**
 * A mutation is EXPIRED if it may have been applied so long ago that its receipt is gone: first sent by a client that
 * had seen nothing as late as the floor. 0 (never expires) and a clock later than now (no client was ever told it)
 * are taken alike: such a mutation is known again for as long as receipts are kept.
 * @param floor of the ledger, in the snapshot in which the mutation wasn't found there.
 */
export function expiryOf({ mutation }: ReadMutation, floor: CommitClock): Rejection | undefined {
  if (mutation.madeAfter === 0n || mutation.madeAfter >= floor) return undefined;
  return expired;
}

const expired: Rejection = {
  reason: "EXPIRED",
  description:
    "it can't be known any more whether this was applied when first sent: pull, and if need be make it anew, with a new id",
  violations: [],
};
