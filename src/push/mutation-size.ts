// How large a mutation may be: bytes of its records, as they were sent.
import type { Mutation } from "../model/mutation.ts";
import type { RecordForm } from "../model/record-form.ts";
import { Refused } from "./refused.ts";

/**
 * Returns its size.
 * @throws Refused TOO_LARGE, naming limit and size.
 */
export function refuseTooLarge({ kind }: Mutation, bytesMax: number): number {
  const record = kind.case === "delete" ? undefined : kind.record;
  const base = kind.case === "create" ? undefined : kind.base;
  const bytes = sizeOf(record) + sizeOf(base);
  if (bytes <= bytesMax) return bytes;
  const message = `the mutation's records have ${bytes} bytes, and mutation_bytes_max is ${bytesMax}: shorten them`;
  throw new Refused("TOO_LARGE", message, {
    violations: [{ path: kind.case, ruleId: "mutation_bytes_max", message }],
  });
}

/** JSON counts as its text. */
function sizeOf(record: RecordForm | undefined): number {
  if (record === undefined) return 0;
  return record.form === "PROTO" ? record.bytes.length : Buffer.byteLength(JSON.stringify(record.json));
}
