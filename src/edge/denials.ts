// Denials told within answers that succeed: mutations rejected as FORBIDDEN, and collections a pull may not have.
import { fromBinary } from "@bufbuild/protobuf";
import { UnavailableReason } from "#gen/tidemark/v1/frame_pb.js";
import { PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import type { Mutation } from "../model/mutation.ts";
import type { Receipt } from "../model/receipt.ts";
import type { Call } from "./call.ts";

/** @param receipts of the mutations, in their order. */
export function auditReceipts(
  call: Call,
  mutations: readonly Mutation[],
  receipts: readonly Receipt[],
): void {
  for (const [index, { rejection, recordId, replayed }] of receipts.entries()) {
    if (rejection?.reason !== "FORBIDDEN" || replayed) continue;
    const collection = mutations[index]?.collection ?? "";
    call.audit.denied(call, { reason: "FORBIDDEN", collection, recordId });
  }
}

/**
 * Looks into the frames that tell what is unavailable; a collection counts once.
 * @returns what takes a call's frames that tell it, in order.
 */
export function frameAuditor(call: Call): (frames: readonly { readonly bytes: Uint8Array }[]) => void {
  const told = new Set<string>();
  return (frames) => {
    for (const { bytes } of frames) {
      const { frame } = fromBinary(PullChangesResponseSchema, bytes);
      for (const { collection, recordId, reason } of frame.case === "opened" ? frame.value.unavailable : []) {
        if (reason !== UnavailableReason.FORBIDDEN || recordId !== "" || told.has(collection)) continue;
        told.add(collection);
        call.audit.denied(call, { reason: "FORBIDDEN", collection });
      }
    }
  };
}
