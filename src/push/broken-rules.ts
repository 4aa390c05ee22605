// The team's validation rules, checked on the whole record as it would be stored. A mutation answers for what it breaks:
// rules on fields it sets, and rules that held before it. What other programs left broken elsewhere in the record, or
// in fields clients can't set, doesn't keep clients from editing the rest.
import type { Violation } from "../model/sync-error.ts";
import type { SourceDocument } from "../mongo/source-document.ts";
import type { EncodedRecord } from "../schema/encode-document.ts";
import { encodeDocument } from "../schema/encode-document.ts";
import { OversizeDocument, UnfitDocument } from "../schema/unfit-document.ts";
import { validateRecord } from "../schema/validate-record.ts";
import type { ReadMutation } from "./read-mutation.ts";
import { Refused } from "./refused.ts";

/**
 * The document as a record under the mutation's id.
 * @throws Refused INVALID or TOO_LARGE if it would be none: such a write takes the record away from everybody.
 */
export function encodeFit({ collection, key }: ReadMutation, document: SourceDocument): EncodedRecord {
  try {
    return encodeDocument(collection, { ...document, _id: key });
  } catch (error) {
    throw error instanceof UnfitDocument ? refusedAsUnfit(error) : error;
  }
}

function refusedAsUnfit(cause: UnfitDocument): Refused {
  const reason = cause instanceof OversizeDocument ? "TOO_LARGE" : "INVALID";
  return new Refused(reason, `the record can't be stored: ${cause.reason}`, { cause });
}

/**
 * @param change `before`: the record as it is; undefined: it is being created.
 * @throws Refused INVALID with the violations.
 */
export function refuseBrokenRules(
  read: ReadMutation,
  change: { readonly before: EncodedRecord | undefined; readonly after: EncodedRecord },
): void {
  const violations = violationsOf(read, change.after);
  if (violations.length === 0) return;
  const { collection, intent } = read;
  const before = change.before && new Set(violationsOf(read, change.before).map(identity));
  const named = new Set(intent.fields.map(({ name }) => name));
  const unsettable = new Set(collection.fields.filter(({ settable }) => !settable).map(({ name }) => name));
  const broken = violations.filter((violation) => {
    const name = /^[^.[]*/.exec(violation.path)?.[0] ?? "";
    if (before === undefined) return !unsettable.has(name);
    return named.has(name) || !before.has(identity(violation));
  });
  if (broken.length > 0)
    throw new Refused("INVALID", "the record would break rules of its schema", { violations: broken });
}

function violationsOf({ collection }: ReadMutation, { bytes }: EncodedRecord): Violation[] {
  return validateRecord(collection, bytes);
}

function identity({ path, ruleId }: Violation): string {
  return `${path} ${ruleId}`;
}
