// Checks rules of merging where they meet: the members of a oneof are one value and need one rule, and a rule inside a
// message counts only where merging goes field by field: lists and maps merge as one value, whatever is in them.
import type { Merge } from "./collection.ts";
import type { CollectionDraft } from "./read-collection.ts";
import type { Faults } from "./schema-error.ts";
import { type FieldShape, type MessageShape, reachable } from "./shape.ts";

/** A message merged field by field, and the rule for those of its fields that have none. */
interface MergedMessage {
  readonly shape: MessageShape;
  readonly inherited: Merge;
}

export function checkMerges(collections: readonly CollectionDraft[], faults: Faults): void {
  const merged = mergedMessages(collections);
  for (const message of merged) checkOneofs(message, faults);
  const reached = new Set(merged.map(({ shape }) => shape.desc));
  for (const { desc, fields } of new Set(collections.flatMap(({ shape }) => reachable(shape)))) {
    if (!reached.has(desc)) for (const field of fields) checkReached(field, faults);
  }
}

/** All there are, records first; the same message once for each rule it inherits. */
function mergedMessages(collections: readonly CollectionDraft[]): MergedMessage[] {
  const found: MergedMessage[] = [];
  const known = new Map<MessageShape, Set<Merge>>();
  const add = (message: MergedMessage) => {
    const rules = known.get(message.shape) ?? new Set();
    if (rules.has(message.inherited)) return;
    known.set(message.shape, rules.add(message.inherited));
    found.push(message);
  };
  for (const { shape, merge } of collections) add({ shape, inherited: merge });
  // Grows while it is walked.
  for (const { shape, inherited } of found) {
    for (const { value, cardinality, merge } of shape.fields) {
      if (value.kind !== "message" || cardinality !== "explicit") continue;
      add({ shape: value.shape, inherited: merge ?? inherited });
    }
  }
  return found;
}

function checkOneofs({ shape, inherited }: MergedMessage, faults: Faults): void {
  for (const [oneof, members] of Map.groupBy(shape.fields, ({ desc }) => desc.oneof)) {
    const ruled = members.map(({ name, merge }) => ({ name, merge: merge ?? inherited }));
    const [first] = ruled;
    const other = ruled.find(({ merge }) => merge !== first?.merge);
    if (oneof === undefined || first === undefined || other === undefined) continue;
    const found = `${first.name} has ${first.merge}, ${other.name} has ${other.merge}`;
    const problem = `the members of ${shape.desc.name}.${oneof.name} merge as one value, but ${found}`;
    faults.add(oneof, `${problem}: give them all the same rule`);
  }
}

function checkReached({ desc, name, merge }: FieldShape, faults: Faults): void {
  if (merge === undefined) return;
  const where = `${desc.parent.name} lies only in lists and maps, which merge as one value`;
  faults.add(
    desc,
    `merge never decides about ${desc.parent.name}.${name}, since ${where}: leave it out`,
    [3],
  );
}
