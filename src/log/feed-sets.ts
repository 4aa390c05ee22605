// Feed sets too long for a cursor's token, stored once by the hash of their content and touched daily while used;
// one not used for TOMBSTONE_DAYS is dropped, and its cursors start over.
import { createHash } from "node:crypto";
import { Binary } from "mongodb";
import { type Log, readIn } from "./log.ts";

export interface FeedSetDocument {
  _id: string;
  content: Binary;
  used_at: Date;
}

const TOUCH_AFTER_MS = 86_400_000;

/** Stores the content if it isn't there; returns its hash (base64url SHA-256). */
export async function storeFeedSet(log: Log, content: Uint8Array, nowMs: number): Promise<string> {
  const hash = createHash("sha256").update(content).digest("base64url");
  await log.feedSets.updateOne(
    { _id: hash },
    { $setOnInsert: { content: new Binary(content) }, $max: { used_at: new Date(nowMs) } },
    { upsert: true },
  );
  return hash;
}

/** The content of a hash, or undefined if it was never stored or has been dropped. */
export async function readFeedSet(log: Log, hash: string, nowMs: number): Promise<Uint8Array | undefined> {
  const found = await log.feedSets.findOne({ _id: hash }, readIn(undefined));
  if (!found) return undefined;
  if (found.used_at.getTime() < nowMs - TOUCH_AFTER_MS) {
    await log.feedSets.updateOne({ _id: hash }, { $max: { used_at: new Date(nowMs) } });
  }
  return new Uint8Array(found.content.buffer.subarray(0, found.content.position));
}

/** Drops the sets not used since. */
export async function dropFeedSetsBefore(log: Log, timeMs: number): Promise<void> {
  await log.feedSets.deleteMany({ used_at: { $lt: new Date(timeMs) } });
}
