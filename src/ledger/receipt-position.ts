// Where a page of receipts ends, as clients send it back: opaque to them, and no secret. It grants nothing: what is
// told of what lies beyond is decided anew for each page.
import { SyncError } from "../model/sync-error.ts";

export interface ReceiptPosition {
  readonly atMs: number;
  readonly mutationId: string;
}

const POSITION = /^(\d{1,15}) ([0-9a-f-]{36})$/;

export function pageTokenOf({ atMs, mutationId }: ReceiptPosition): string {
  return Buffer.from(`${atMs} ${mutationId}`).toString("base64url");
}

/** @throws SyncError INVALID_REQUEST for what `pageTokenOf` didn't make. */
export function positionOf(pageToken: string): ReceiptPosition {
  const text = Buffer.from(pageToken, "base64url").toString("latin1");
  const [, at, mutationId] = POSITION.exec(text) ?? [];
  const position =
    at === undefined || mutationId === undefined ? undefined : { atMs: Number(at), mutationId };
  // Decoding passes over what isn't base64url.
  if (position === undefined || pageTokenOf(position) !== pageToken) throw unreadable();
  return position;
}

function unreadable(): SyncError {
  const [path, message] = ["page_token", "is none this server gave: send the last page's next_page_token"];
  return new SyncError("INVALID_REQUEST", `${path}: ${message}`, {
    violations: [{ path, ruleId: "page_token", message }],
  });
}
