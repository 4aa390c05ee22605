// Who may write a record: whoever holds READ_WRITE on a scope it is in, before the write and after it. Nobody can move a
// record into a scope, or out of one, that isn't theirs to write, nor hand out rights to such a scope. Refusals name
// fields, never scopes: those may be others'.
import { canWrite, type Grants } from "../model/principal.ts";
import type { SourceDocument } from "../mongo/source-document.ts";
import type { EncodedRecord } from "../schema/encode-document.ts";
import { type Move, movesOf } from "../schema/moves.ts";
import type { Membership } from "../schema/scopes.ts";
import type { ReadMutation } from "./read-mutation.ts";
import { Refused } from "./refused.ts";

/** Asked of a record as it is, before anything else is told of it. @throws Refused FORBIDDEN */
export function refuseUnlessWritable(grants: Grants, { scopes }: EncodedRecord): void {
  if (!canWrite(grants, scopes)) throw forbidden("the record is in no scope the caller may write");
}

/** What a write makes of a document; documents may lack their `_id`. */
export interface Rewrite {
  /** Undefined: it is being made. */
  readonly before: SourceDocument | undefined;
  readonly after: SourceDocument;
  readonly encoded: EncodedRecord;
  /** The right the record gave so far. */
  readonly granted: Membership | undefined;
}

/** @throws Refused FORBIDDEN */
export function refuseRewrite(
  { collection, key }: ReadMutation,
  grants: Grants,
  { before, after, encoded, granted }: Rewrite,
): void {
  const slots = collection.scopes.flatMap((template) => template.slots);
  if (!canWrite(grants, encoded.scopes)) {
    const what = "the record would be in no scope the caller may write";
    throw forbidden(what, namesOf(slots));
  }
  for (const move of movesOf(collection, before, { ...after, _id: key })) {
    if (!canWrite(grants, [move.scope])) throw forbidden(told(move), move.fields);
  }
  const { membership } = encoded;
  if (membership === undefined || isSame(membership, granted) || canWrite(grants, [membership.scope])) return;
  const what = "the record would grant a scope the caller may not write";
  throw forbidden(what, namesOf(collection.grant?.scope.slots ?? []));
}

function told({ way }: Move): string {
  return way === "into"
    ? "the record would enter a scope the caller may not write"
    : "the record would leave a scope the caller may not write";
}

function namesOf(slots: ReadonlyArray<{ readonly name: string; readonly hidden: boolean }>): string[] {
  return slots.filter(({ hidden }) => !hidden).map(({ name }) => name);
}

function isSame(a: Membership, b: Membership | undefined): boolean {
  return a.principal === b?.principal && a.scope === b.scope && a.access === b.access;
}

/** @param fields those that decide it. */
function forbidden(what: string, fields: readonly string[] = []): Refused {
  const names = [...new Set(fields)];
  return new Refused("FORBIDDEN", names.length > 0 ? `${what}: see ${names.join(", ")}` : what);
}
