// Frames as short lines, for scenarios to compare.
import { type Change, RemoveReason } from "#gen/tidemark/v1/change_pb.js";
import { ClosedReason, type Opened, ResetReason, UnavailableReason } from "#gen/tidemark/v1/frame_pb.js";
import type { PullChangesResponse } from "#gen/tidemark/v1/pull_changes_pb.js";

/**
 * `opened 3/2 +1` (position, checkpoint, backlog), `put todos/a@3`, `delta todos/a@3 2,8`, `remove todos/a@4 DELETED`,
 * `batch 4` after its changes, `part todos/a@3 0+65536/70000`, `checkpoint 4`, `reset HORIZON todos`,
 * `closed RECONNECT 500ms`.
 */
export function linesOf({ frame }: PullChangesResponse): string[] {
  switch (frame.case) {
    case "opened":
      return [openedLine(frame.value), ...frame.value.unavailable.map(unavailableLine)];
    case "batch":
      return [...frame.value.changes.map(changeLine), `batch ${frame.value.position}`];
    case "part": {
      const { collection, recordId, version, offset, data, totalBytes } = frame.value;
      return [`part ${collection}/${recordId}@${version} ${offset}+${data.length}/${totalBytes}`];
    }
    case "checkpoint":
      return [`checkpoint ${frame.value.position}`];
    case "reset":
      return [`reset ${ResetReason[frame.value.reason]} ${frame.value.collections.join()}`.trim()];
    case "closed": {
      const { reason, retryAfter } = frame.value;
      const retryMs = retryAfter ? ` ${Number(retryAfter.seconds) * 1000 + retryAfter.nanos / 1e6}ms` : "";
      return [`closed ${ClosedReason[reason]}${retryMs}`];
    }
    default:
      throw new Error("a frame this test doesn't know");
  }
}

function openedLine({ cursor, backlog }: Opened): string {
  return `opened ${cursor?.position}/${cursor?.checkpoint} +${backlog}`;
}

function unavailableLine({ collection, recordId, reason }: Opened["unavailable"][number]): string {
  return `unavailable ${recordId ? `${collection}/${recordId}` : collection} ${UnavailableReason[reason]}`;
}

function changeLine({ collection, recordId, version, kind }: Change): string {
  const name = `${collection}/${recordId}@${version}`;
  if (kind.case === "remove") return `remove ${name} ${RemoveReason[kind.value.reason]}`;
  if (kind.case !== "put") throw new Error("a change without a kind");
  return kind.value.changed.length > 0 ? `delta ${name} ${kind.value.changed.join()}` : `put ${name}`;
}
