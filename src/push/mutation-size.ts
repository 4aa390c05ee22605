// How large a mutation may be: bytes of its records, as they were sent, and fields they name.
import type { Mutation } from "../model/mutation.ts";
import type { RecordForm } from "../model/record-form.ts";
import { Refused } from "./refused.ts";

/** Top-level fields of one record, as the contract has it for `Update.changed`. */
export const MUTATION_FIELDS_MAX = 1000;

/** Bytes of its records, as they were sent; JSON counts as its text. */
export function sizeOf({ kind }: Mutation): number {
  return recordsOf(kind).reduce((sum, record) => sum + bytesOf(record), 0);
}

/** @throws Refused TOO_LARGE, naming the limit, its value, and what was sent. */
export function refuseTooManyFields({ kind }: Mutation): void {
  for (const record of recordsOf(kind)) {
    const fields = record.form === "JSON" ? Object.keys(record.json).length : 0;
    if (fields <= MUTATION_FIELDS_MAX) continue;
    throw tooLarge(kind.case, "mutation_fields_max", `${fields} fields, more than ${MUTATION_FIELDS_MAX}`);
  }
}

/** @throws Refused TOO_LARGE, naming the limit, its value, and what was sent. */
export function refuseTooLarge({ kind }: Mutation, bytes: number, bytesMax: number): void {
  if (bytes > bytesMax)
    throw tooLarge(kind.case, "mutation_bytes_max", `${bytes} bytes, more than ${bytesMax}`);
}

function recordsOf(kind: Mutation["kind"]): RecordForm[] {
  const record = kind.case === "delete" ? undefined : kind.record;
  const base = kind.case === "create" ? undefined : kind.base;
  return [record, base].filter((form) => form !== undefined);
}

function bytesOf(record: RecordForm): number {
  return record.form === "PROTO" ? record.bytes.length : Buffer.byteLength(JSON.stringify(record.json));
}

function tooLarge(path: string, limit: string, facts: string): Refused {
  const message = `the mutation has ${facts} (${limit}): make it smaller`;
  return new Refused("TOO_LARGE", message, { violations: [{ path, ruleId: limit, message }] });
}
