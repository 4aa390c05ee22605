// What a mutation is refused for by itself, whatever the database holds: collections and fields clients may not write,
// edits that name nothing, records that break the team's rules from the start. Judged after the ledger was asked, so
// that a mutation applied before such a rule came is still told its receipt; never recorded, since it would be refused
// the same way again.
import type { CommitClock } from "../model/commit-clock.ts";
import type { Principal } from "../model/principal.ts";
import { encodeFit, refuseBrokenRules } from "./broken-rules.ts";
import type { ReadMutation } from "./read-mutation.ts";
import { Refused } from "./refused.ts";

/**
 * @param floor of the ledger, read after the mutation was looked up there.
 * @throws Refused EXPIRED, FORBIDDEN, INVALID or UNSUPPORTED.
 */
export function refuseIntent(read: ReadMutation, principal: Principal, floor: CommitClock): void {
  refuseExpired(read, floor);
  const { mutation, collection, intent } = read;
  if (principal.id === "") throw new Refused("FORBIDDEN", "send a token: callers without one can't write");
  if (!collection.writable) {
    throw new Refused("FORBIDDEN", `clients can't write the collection "${collection.name}"`);
  }
  if (mutation.expectedVersion !== 0) throw refusedVersion(read);
  const readOnly = intent.fields.find(({ access }) => access !== "READ_WRITE");
  if (readOnly) throw new Refused("FORBIDDEN", `clients can't set the field ${readOnly.name}`);
  if (intent.kind === "update" && intent.fields.length === 0) {
    throw new Refused(
      "INVALID",
      "the update names no changed field: list them in `changed` (PROTO) or as keys (JSON)",
    );
  }
  if (intent.kind === "create")
    refuseBrokenRules(read, { before: undefined, after: encodeFit(read, intent.document) });
}

/**
 * A mutation is EXPIRED if it may have been applied so long ago that its receipt is gone: first sent by a client that
 * had seen nothing as late as the floor. 0 (never expires) and a clock later than now (no client was ever told it)
 * are taken alike: such a mutation is known again for as long as receipts are kept.
 */
function refuseExpired({ mutation }: ReadMutation, floor: CommitClock): void {
  if (mutation.madeAfter === 0n || mutation.madeAfter >= floor) return;
  throw new Refused(
    "EXPIRED",
    "it can't be known any more whether this was applied when first sent: pull, and if need be make it anew, with a new id",
  );
}

function refusedVersion({ intent }: ReadMutation): Refused {
  return intent.kind === "create"
    ? new Refused(
        "INVALID",
        "a create takes no expected_version: it requires already that there is no such record",
      )
    : new Refused(
        "UNSUPPORTED",
        "this server doesn't check expected_version yet: send 0, and the values in `base`",
      );
}
