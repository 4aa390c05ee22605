// A frame as Connect's JSON form has it.
import { fromBinary, toJsonString } from "@bufbuild/protobuf";
import { PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";

/** @param bytes a whole PullChangesResponse. */
export function frameJson(bytes: Uint8Array): Buffer {
  return Buffer.from(toJsonString(PullChangesResponseSchema, fromBinary(PullChangesResponseSchema, bytes)));
}
