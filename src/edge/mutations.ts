// Pushed mutations, from the wire to the model. Validation has been: every mutation has a kind.
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Mutation as MutationMessage } from "#gen/tidemark/v1/mutation_pb.js";
import { invariant } from "../model/invariant.ts";
import type { Mutation, MutationKind } from "../model/mutation.ts";
import { seqFromWire } from "../model/seq.ts";
import { SyncError } from "../model/sync-error.ts";
import { recordFormFrom } from "./records.ts";

/**
 * In request order.
 * @throws SyncError INVALID_REQUEST where an id comes twice, or a version no log can have reached is expected.
 */
export function mutationsFrom(messages: readonly MutationMessage[]): Mutation[] {
  const mutations = messages.map(mutationFrom);
  const seen = new Set<string>();
  for (const [index, { mutationId }] of mutations.entries()) {
    if (seen.has(mutationId)) throw refused(index, "mutation_id", "comes twice in one request");
    seen.add(mutationId);
  }
  return mutations;
}

function mutationFrom(message: MutationMessage, index: number): Mutation {
  const expectedVersion = seqFromWire(message.expectedVersion);
  if (expectedVersion === undefined)
    throw refused(index, "expected_version", "is no version the server gave");
  return {
    mutationId: message.mutationId.toLowerCase(),
    collection: message.collection,
    recordId: message.recordId,
    madeAtMs: message.madeAt && msOfTimestamp(message.madeAt),
    madeAfter: message.madeAfter,
    expectedVersion,
    kind: kindFrom(message.kind),
  };
}

function kindFrom(kind: MutationMessage["kind"]): MutationKind {
  switch (kind.case) {
    case "create":
      return { case: "create", record: recordFormFrom(kind.value.record) };
    case "update": {
      const { record, changed, base } = kind.value;
      return { case: "update", record: recordFormFrom(record), changed, base: base && recordFormFrom(base) };
    }
    case "delete": {
      const { base } = kind.value;
      return { case: "delete", base: base && recordFormFrom(base) };
    }
    case undefined:
      invariant(false, "a mutation without a kind is invalid");
  }
}

function msOfTimestamp({ seconds, nanos }: Timestamp): number {
  return Number(seconds) * 1000 + Math.floor(nanos / 1e6);
}

function refused(index: number, field: string, message: string): SyncError {
  const path = `mutations[${index}].${field}`;
  return new SyncError("INVALID_REQUEST", `${path}: ${message}`, {
    violations: [{ path, ruleId: field, message }],
  });
}
