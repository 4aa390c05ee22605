// What an update writes: leaf paths and their values, so that nothing nobody declared is touched, and only where the
// value differs from what is there.
import type { SourceDocument } from "../mongo/source-document.ts";
import type { Collection, Field } from "../schema/collection.ts";
import { leafWrites } from "../schema/leaf-writes.ts";
import { UnfitDocument } from "../schema/unfit-document.ts";
import type { DocumentChange } from "./apply-change.ts";
import type { FieldWrite } from "./merge-fields.ts";
import { Refused } from "./refused.ts";

/**
 * Undefined: nothing is to be written.
 * @throws Refused UNDECLARED_DATA, FORBIDDEN where a oneof holds what clients can't change, INVALID for a merged value
 * no document can hold.
 */
export function changeOf(
  collection: Collection,
  writes: readonly FieldWrite[],
  current: SourceDocument,
): DocumentChange | undefined {
  const set: SourceDocument = {};
  const unset: string[] = [];
  for (const write of writes) {
    const leaves = leavesOf(collection, write, current);
    if (leaves.unset.length === 0 && Object.keys(leaves.set).length === 0) continue;
    if (write.field.oneof !== undefined) refuseBlockedOneof(collection, write.field.oneof, current);
    Object.assign(set, leaves.set);
    unset.push(...leaves.unset);
  }
  return unset.length === 0 && Object.keys(set).length === 0 ? undefined : { set, unset };
}

function leavesOf(
  collection: Collection,
  { field, message }: FieldWrite,
  current: SourceDocument,
): DocumentChange {
  try {
    const leaves = leafWrites(collection, field, message, current);
    if ("destroys" in leaves) throw destroys(field);
    return leaves;
  } catch (error) {
    throw error instanceof UnfitDocument ? unfit(error) : error;
  }
}

/** Setting a member of a oneof clears the others: not if the one that is there isn't the client's to change. */
function refuseBlockedOneof(collection: Collection, oneof: string, current: SourceDocument): void {
  const blocks = ({ settable, key, oneof: own }: Field) =>
    own === oneof && !settable && (current[key] ?? null) !== null;
  if (!collection.fields.some(blocks)) return;
  throw new Refused("FORBIDDEN", `the oneof ${oneof} holds a value clients can't change`);
}

/** Only a merged value can be: what clients send was tried when it was read. */
function unfit(cause: UnfitDocument): Refused {
  return new Refused("INVALID", `the merged record can't be stored: ${cause.path}: ${cause.problem}`, {
    cause,
  });
}

function destroys(field: Field): Refused {
  const advice = "change it where the whole document is at hand";
  return new Refused(
    "UNDECLARED_DATA",
    `the write would destroy data in ${field.name} that the schema doesn't declare: ${advice}`,
  );
}
