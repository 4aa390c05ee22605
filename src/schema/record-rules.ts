// The team's validation rules (buf.validate), as protovalidate evaluates them.
import { create, type DescMessage, type Registry } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, type Validator } from "@bufbuild/protovalidate";
import type { RecordRules } from "./collection.ts";

/** One for a whole schema: it keeps what it compiled. */
export function schemaValidator(registry: Registry): Validator {
  return createValidator({ registry });
}

/** What keeps the rules of a message from being compiled; undefined: nothing. */
export function faultOfRules(validator: Validator, message: DescMessage): string | undefined {
  const { kind, error } = validator.validate(message, create(message));
  return kind === "error" && error.name === "CompilationError" ? error.message : undefined;
}

/** A rule that fails to evaluate counts as broken: what it guards against can't be ruled out. */
export function recordRules(validator: Validator, message: DescMessage): RecordRules {
  return (record) => {
    const { kind, error, violations } = validator.validate(message, record);
    if (kind === "valid") return [];
    if (kind === "error") return [{ path: "", ruleId: "rule_failed", message: error.message }];
    return violations.map(({ field, ruleId, message: text }) => ({
      path: pathToString(field),
      ruleId,
      message: text,
    }));
  };
}
