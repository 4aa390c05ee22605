// Pull requests, from the wire to the model. What the contract leaves unspecified gets its documented default here.

import { create } from "@bufbuild/protobuf";
import { type Cursor as CursorMessage, CursorSchema } from "#gen/tidemark/v1/cursor_pb.js";
import type { ListChangesRequest } from "#gen/tidemark/v1/list_changes_pb.js";
import { type PullChangesRequest, PullMode } from "#gen/tidemark/v1/pull_changes_pb.js";
import type { Cursor, ListRequest, PullRequest } from "../model/pull-request.ts";
import { type Seq, seqFromWire } from "../model/seq.ts";
import { type Codec, recordFormOf } from "./codec.ts";
import { msOfDuration } from "./durations.ts";

const BATCH_BYTES = 131_072;
const WAIT_MS_MAX = 60_000;

export function pullRequestFrom(request: PullChangesRequest, codec: Codec): PullRequest {
  return {
    ...commonFrom(request, codec),
    mode: request.mode === PullMode.CATCH_UP ? "CATCH_UP" : "FOLLOW",
    totalBytesMax: seqOrMax(request.maxTotalBytes),
    heartbeatIntervalMs: request.heartbeatInterval && msOfDuration(request.heartbeatInterval),
  };
}

export function listRequestFrom(request: ListChangesRequest, codec: Codec): ListRequest {
  const waitMs = request.wait ? Math.min(WAIT_MS_MAX, msOfDuration(request.wait)) : 0;
  return { ...commonFrom(request, codec), waitMs };
}

export function cursorMessage({ subscription, position, checkpoint }: Cursor): CursorMessage {
  return create(CursorSchema, {
    subscription,
    position: BigInt(position),
    checkpoint: BigInt(checkpoint),
  });
}

function commonFrom(request: PullChangesRequest | ListChangesRequest, codec: Codec) {
  return {
    collections: [...new Set(request.selections.map(({ collection }) => collection))],
    cursor: request.cursor && cursorFrom(request.cursor),
    recordForm: recordFormOf(request.options?.recordForm, codec),
    wholeRecords: request.options?.wholeRecords ?? false,
    batchBytesMax: Number(request.maxBatchBytes) || BATCH_BYTES,
  };
}

function cursorFrom({ subscription, position, checkpoint }: CursorMessage): Cursor {
  return { subscription, position: seqOrMax(position), checkpoint: seqOrMax(checkpoint) };
}

/** A number no log can have reached stays one: pull answers a cursor from the future by a Reset. */
function seqOrMax(value: bigint): Seq {
  return seqFromWire(value) ?? Number.MAX_SAFE_INTEGER;
}
