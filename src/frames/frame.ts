// A frame: one whole PullChangesResponse in protobuf's binary form, ready for the wire, whatever the protocol.
// Frames of batches, parts and checkpoints hold nothing personal: the same object goes to many subscribers, so a
// writer may keep what it derives from one (an envelope, JSON) by its identity.
import { create, toBinary } from "@bufbuild/protobuf";
import { type Duration, DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { ClosedReason, ResetReason, UnavailableReason } from "#gen/tidemark/v1/frame_pb.js";
import { type PullChangesResponse, PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import { type CommitClock, commitClockMs } from "../model/commit-clock.ts";
import type { Cursor } from "../model/pull-request.ts";
import type { Seq } from "../model/seq.ts";

export interface Frame {
  readonly kind: "opened" | "batch" | "part" | "checkpoint" | "reset" | "closed";
  readonly bytes: Uint8Array;
  /** The same with an envelope's head before it, so that large ones are sent without being copied; undefined: made when sent. */
  readonly enveloped: Buffer | undefined;
  /** Meant for one client alone; the others may be shared. */
  readonly isPersonal: boolean;
  /** Where a batch or checkpoint moves the client's cursor; undefined: the other kinds. */
  readonly position: Seq | undefined;
}

/** As tidemark.v1.Unavailable. */
export interface Unavailable {
  readonly collection: string;
  /** undefined: the whole collection. */
  readonly recordId: string | undefined;
  readonly reason: "UNKNOWN_COLLECTION" | "FORBIDDEN" | "RECORD_TOO_LARGE";
}

export interface OpenedFields {
  readonly cursor: Cursor;
  readonly head: Seq;
  readonly backlog: number;
  /** undefined: there are none. */
  readonly heartbeatIntervalMs: number | undefined;
  readonly unavailable: readonly Unavailable[];
  /** The schema's fingerprint. */
  readonly schema: string;
}

export function openedFrame({ cursor, ...fields }: OpenedFields): Frame {
  return frameOf({
    case: "opened",
    value: {
      $typeName: "tidemark.v1.Opened",
      cursor: {
        $typeName: "tidemark.v1.Cursor",
        subscription: cursor.subscription,
        position: BigInt(cursor.position),
        checkpoint: BigInt(cursor.checkpoint),
      },
      head: BigInt(fields.head),
      backlog: BigInt(fields.backlog),
      ...(fields.heartbeatIntervalMs === undefined
        ? {}
        : { heartbeatInterval: durationOfMs(fields.heartbeatIntervalMs) }),
      unavailable: fields.unavailable.map(({ collection, recordId, reason }) => ({
        $typeName: "tidemark.v1.Unavailable",
        collection,
        recordId: recordId ?? "",
        reason: UnavailableReason[reason],
      })),
      schema: fields.schema,
    },
  });
}

/** A promise to everyone who stands at `position`: the source's state at `clock` is delivered. */
export function checkpointFrame(position: Seq, clock: CommitClock): Frame {
  const time = create(TimestampSchema, { seconds: BigInt(commitClockMs(clock)) / 1000n });
  const value = { $typeName: "tidemark.v1.Checkpoint" as const, position: BigInt(position), time };
  return { ...frameOf({ case: "checkpoint", value: { ...value, commitClock: clock } }), position };
}

/** @param collections the collections concerned; empty: all. */
export function resetFrame(reason: "EPOCH" | "HORIZON" | "CURSOR", collections: readonly string[]): Frame {
  return frameOf({
    case: "reset",
    value: {
      $typeName: "tidemark.v1.Reset",
      reason: ResetReason[reason],
      collections: [...collections],
    },
  });
}

/** @param retryAfterMs undefined: at once. */
export function closedFrame(
  reason: "CAUGHT_UP" | "BYTES_SPENT" | "RECONNECT",
  retryAfterMs?: number | undefined,
): Frame {
  return frameOf({
    case: "closed",
    value: {
      $typeName: "tidemark.v1.Closed",
      reason: ClosedReason[reason],
      ...(retryAfterMs === undefined ? {} : { retryAfter: durationOfMs(retryAfterMs) }),
    },
  });
}

type FrameCase = Exclude<PullChangesResponse["frame"], { case: undefined }>;

export function frameOf(frame: FrameCase): Frame {
  const bytes = toBinary(PullChangesResponseSchema, create(PullChangesResponseSchema, { frame }));
  return {
    kind: frame.case,
    bytes,
    enveloped: undefined,
    isPersonal: frame.case === "opened",
    position: undefined,
  };
}

function durationOfMs(ms: number): Duration {
  const seconds = Math.floor(ms / 1000);
  const nanos = Math.round((ms - seconds * 1000) * 1e6);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos });
}
