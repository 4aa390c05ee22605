// Checks a record by the team's own validation rules.
import type { Message } from "@bufbuild/protobuf";
import type { Violation } from "../model/sync-error.ts";
import type { Collection } from "./collection.ts";

/**
 * The broken rules of a whole record; none: it is valid. A rule that can't be evaluated counts as broken (`rule_failed`).
 * @param message of `collection.message`.
 */
export function validateRecord(collection: Collection, message: Message): Violation[] {
  return collection.rules(message);
}
