// Checks a record by the team's own validation rules.
import { fromBinary } from "@bufbuild/protobuf";
import type { Violation } from "../model/sync-error.ts";
import type { Collection } from "./collection.ts";

/**
 * The broken rules of a whole record; none: it is valid. A rule that can't be evaluated counts as broken (`rule_failed`).
 * @param record canonical bytes.
 */
export function validateRecord({ message, rules }: Collection, record: Uint8Array): Violation[] {
  return rules(fromBinary(message, record));
}
