// The three-way merge of an update: which of the fields it names it may write, and how. A field the source still has at
// its base is written as proposed, without a look at its rule; the members of a oneof are one field.
import { fromBinary, type Message } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import type { StoredConflict } from "../ledger/stored-receipt.ts";
import { invariant } from "../model/invariant.ts";
import type { SourceDocument } from "../mongo/source-document.ts";
import type { Collection, Field } from "../schema/collection.ts";
import { encodeField } from "../schema/encode-document.ts";
import type { FieldBytes } from "../schema/pushed-record.ts";
import type { Intent } from "./intent.ts";
import { mergeUnit } from "./three-way.ts";

type Update = Extract<Intent, { kind: "update" }>;

export interface Merged {
  readonly writes: readonly FieldWrite[];
  /** The fields both sides had changed. */
  readonly conflicts: readonly StoredConflict[];
  /** One of them forbids the whole update. */
  readonly isRejected: boolean;
}

export interface FieldWrite {
  readonly field: Field;
  /** Of the collection's message: what the field should be. */
  readonly message: Message;
}

/** @throws Refused where a counter's sum is more than its field holds. */
export function mergeFields(collection: Collection, update: Update, current: SourceDocument): Merged {
  const writes: FieldWrite[] = [];
  const conflicts: StoredConflict[] = [];
  let isRejected = false;
  for (const fields of unitsOf(collection, update)) {
    const sides = sidesOf(collection, update, { fields, current });
    const write = (message: Message) => writes.push(...fields.map((field) => ({ field, message })));
    if (update.base === undefined) {
      if (sides.some((side) => !equal(side.current, side.proposed))) write(update.message);
    } else if (sides.every((side) => equal(side.base, side.proposed))) {
      // Named but left as it was isn't an edit: what the source has since become stays.
    } else if (sides.every((side) => equal(side.base, side.current))) write(update.message);
    else {
      const result = mergeBoth(collection, fields, sides);
      if (result.isConflict) conflicts.push(...sides.filter((side) => !equal(side.base, side.current)));
      isRejected ||= result.isRejected;
      write(result.merged.message);
    }
  }
  return { writes, conflicts, isRejected };
}

interface Side {
  readonly field: number;
  readonly base: Uint8Array;
  readonly current: Uint8Array;
  readonly proposed: Uint8Array;
}

interface UnitNow {
  readonly fields: readonly Field[];
  readonly current: SourceDocument;
}

function sidesOf(collection: Collection, { base, values }: Update, { fields, current }: UnitNow): Side[] {
  return fields.map((field) => ({
    field: field.number,
    base: base?.get(field.number) ?? NOTHING,
    current: encodeField(collection, field, current),
    proposed: values.get(field.number) ?? NOTHING,
  }));
}

/** A field at its default. */
const NOTHING = new Uint8Array();

function mergeBoth(collection: Collection, fields: readonly Field[], sides: readonly Side[]) {
  const [first] = fields;
  invariant(first, "a unit has a field");
  const decoded = (side: (of: Side) => Uint8Array) => {
    const bytes = Buffer.concat(sides.map(side));
    return reflect(collection.message, fromBinary(collection.message, bytes));
  };
  return mergeUnit(
    { fields: fields.map(({ shape }) => shape), rule: first.merge },
    {
      base: decoded(({ base }) => base),
      current: decoded(({ current }) => current),
      proposed: decoded(({ proposed }) => proposed),
    },
  );
}

export interface Difference {
  readonly field: number;
  readonly a: Uint8Array;
  readonly b: Uint8Array;
}

/** Those of the fields whose values differ from a document's, with both values. */
export function differingFields(
  collection: Collection,
  { fields, values }: { readonly fields: readonly Field[]; readonly values: FieldBytes },
  document: SourceDocument,
): Difference[] {
  return fields
    .map((field) => ({
      field: field.number,
      a: values.get(field.number) ?? NOTHING,
      b: encodeField(collection, field, document),
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
function unitsOf(collection: Collection, { fields, values }: Update): Field[][] {
  const units = new Map<string | Field, Field[]>();
  for (const field of fields) {
    const { oneof } = field;
    if (oneof === undefined) {
      units.set(field, [field]);
      continue;
    }
    const members = collection.fields.filter((member) => member.oneof === oneof && member.settable);
    const isSet = members.some(({ number }) => (values.get(number)?.length ?? 0) > 0);
    units.set(oneof, isSet ? members : members.filter((member) => fields.includes(member)));
  }
  return [...units.values()];
}
