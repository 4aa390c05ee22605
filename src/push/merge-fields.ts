// The three-way merge of an update, field by field and by value: base as the client saw it, current as the source has
// it, proposed as the client wants it. The members of a oneof are one field. Default rule: LAST_WRITER, the last to reach
// the server, told as a conflict where it overwrites what the client had not seen.
import type { StoredConflict } from "../ledger/stored-receipt.ts";
import type { SourceDocument } from "../mongo/source-document.ts";
import type { Collection, Field } from "../schema/collection.ts";
import { encodeField } from "../schema/encode-document.ts";
import type { Intent } from "./intent.ts";

export interface Merged {
  /** To be written with the proposed values. */
  readonly writes: readonly Field[];
  readonly conflicts: readonly StoredConflict[];
}

export function mergeFields(
  collection: Collection,
  intent: Extract<Intent, { kind: "update" }>,
  current: SourceDocument,
): Merged {
  const writes: Field[] = [];
  const conflicts: StoredConflict[] = [];
  const { base, document } = intent;
  for (const unit of unitsOf(collection, intent)) {
    const sides = unit.map((field) => ({
      field: field.number,
      base: base && encodeField(collection, field, base),
      current: encodeField(collection, field, current),
      proposed: encodeField(collection, field, document),
    }));
    const wanted = sides.some((side) => !equal(side.current, side.proposed));
    const edited = sides.some((side) => side.base === undefined || !equal(side.base, side.proposed));
    // A field named but left as it was on the client isn't an edit: what the source has since become stays.
    if (!wanted || !edited) continue;
    writes.push(...unit);
    conflicts.push(...sides.filter((side) => side.base !== undefined && !equal(side.base, side.current)));
  }
  return { writes, conflicts };
}

export interface Difference {
  readonly field: number;
  readonly a: Uint8Array;
  readonly b: Uint8Array;
}

/** Those of the fields whose values differ between two documents, with both values. */
export function differingFields(
  collection: Collection,
  fields: readonly Field[],
  [a, b]: readonly [SourceDocument, SourceDocument],
): Difference[] {
  return fields
    .map((field) => ({
      field: field.number,
      a: encodeField(collection, field, a),
      b: encodeField(collection, field, b),
    }))
    .filter((difference) => !equal(difference.a, difference.b));
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/**
 * The fields named, each by itself; of a oneof that gets a member, all members clients can set together: setting one
 * clears the others, whether the client named them or not.
 */
function unitsOf(
  collection: Collection,
  { fields, document }: Extract<Intent, { kind: "update" }>,
): Field[][] {
  const units = new Map<string | Field, Field[]>();
  for (const field of fields) {
    const { oneof } = field;
    if (oneof === undefined) {
      units.set(field, [field]);
      continue;
    }
    const members = collection.fields.filter(
      (member) => member.oneof === oneof && member.access === "READ_WRITE",
    );
    const isSet = members.some((member) => encodeField(collection, member, document).length > 0);
    units.set(oneof, isSet ? members : members.filter((member) => fields.includes(member)));
  }
  return [...units.values()];
}
