// Requests against the limits the contract itself declares (protovalidate rules).
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, type Violation } from "@bufbuild/protovalidate";
import { invariant } from "../model/invariant.ts";
import { SyncError } from "../model/sync-error.ts";
import { withoutStack } from "../model/without-stack.ts";

/** Of a request of 1,000 wrong mutations, as many violations as help. */
const VIOLATIONS_MAX = 20;

const validator = createValidator();

/** @throws SyncError INVALID_REQUEST with the violations. */
export function validate<D extends DescMessage>(schema: D, message: MessageShape<D>): void {
  const { kind, violations, error } = withoutStack(() => validator.validate(schema, message));
  if (kind === "valid") return;
  invariant(kind === "invalid", `the contract's rules compile: ${error?.message}`);
  const told = violations.slice(0, VIOLATIONS_MAX).map(violationOf);
  const first = told[0];
  const more = violations.length > 1 ? `, and ${violations.length - 1} more` : "";
  const text = `${first?.path}: ${first?.message}${more}`;
  throw withoutStack(() => new SyncError("INVALID_REQUEST", text, { violations: told }));
}

function violationOf({ field, ruleId, message }: Violation) {
  return { path: pathToString(field), ruleId, message };
}
