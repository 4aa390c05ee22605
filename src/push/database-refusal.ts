// What a client is told when the database itself refuses a write: a unique index, a validator, a size. Only what the
// client may know: names of visible fields, never an index's or a validator's text.
import type { Logger } from "../model/logger.ts";
import type { DocumentRefused } from "../mongo/source-document.ts";
import { type Decision, rejected } from "./decide.ts";
import type { ReadMutation } from "./read-mutation.ts";
import { Refused } from "./refused.ts";

/** The decision a refusal of the database amounts to. */
export function decisionOfRefusal(logger: Logger, read: ReadMutation, error: DocumentRefused): Decision {
  const { collection, mutation } = read;
  // Never the database's own words: they quote values of the record.
  const facts = { collection: collection.name, mutationId: mutation.mutationId, refusal: error.refusal };
  logger.warn(facts, "the database refused a mutation");
  return rejected(refusedAs(read, error).rejection);
}

function refusedAs({ collection }: ReadMutation, { refusal }: DocumentRefused): Refused {
  if (refusal.kind === "too-large") {
    return new Refused(
      "TOO_LARGE",
      "the document would be larger than the database takes: shorten the record",
    );
  }
  if (refusal.kind === "unfit") {
    return new Refused("DATABASE", "a validator or index of the database doesn't take the document");
  }
  if (refusal.keys.join() === "_id")
    return new Refused("ID_TAKEN", "the record id isn't free: make another one");
  const violations = collection.fields
    .filter(({ access, key }) => access !== "HIDDEN" && refusal.keys.includes(key))
    .map(({ name }) => ({ path: name, ruleId: "unique", message: "another record has this value already" }));
  return new Refused("DATABASE", "a unique index of the database has these values already", { violations });
}
