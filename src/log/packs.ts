// Packs: copies of a large feed's whole puts up to one seq, many to a document, in the form they are sent. Read in the
// pass's own snapshot; published by one write, last, so that a half-made one is never read. Never the truth: without one
// a first sync takes longer, and nothing else.
import { Binary, type Document, Long, MaxKey, ObjectId } from "mongodb";
import { collectionOfFeed, type Feed } from "../model/feed.ts";
import type { Seq } from "../model/seq.ts";
import { classOf } from "../mongo/error-class.ts";
import { type Log, readIn } from "./log.ts";
import { collectionState, type LogState } from "./state.ts";

export interface Pack {
  readonly feed: Feed;
  readonly id: ObjectId;
  readonly epoch: string;
  /** It holds the records that were in the feed when this was the log's head, each as its entry then was. */
  readonly seq: Seq;
  /** Of its last record. */
  readonly last: Seq;
  /** The oldest generation its entries were encoded by. */
  readonly schema: number;
  readonly records: number;
  readonly madeAtMs: number;
  readonly tookMs: number;
}

/** Some of a pack's records, in ascending seq. */
export interface PackBlock {
  /** The last seq before them in the pack; 0: there is none. */
  readonly after: Seq;
  readonly last: Seq;
  /** As src/frames packs them. */
  readonly changes: Uint8Array;
}

/** The right to make a feed's pack. It ends by itself if its owner is killed. */
export interface PackClaim {
  readonly feed: Feed;
  readonly id: ObjectId;
}

export interface PackDocument {
  _id: Feed;
  making: { by: ObjectId; until: Date } | null;
  made: MadeDocument | null;
}

interface MadeDocument {
  id: ObjectId;
  epoch: string;
  seq: Long | number;
  last: Long | number;
  schema: number;
  records: number;
  at: Date;
  took_ms: number;
}

export interface PackBlockDocument {
  /** Feed, pack, last seq: read in this order. */
  _id: { f: Feed; p: ObjectId; s: Long };
  after: Long | number;
  changes: Binary;
}

/** Making one takes seconds; this is also as long as a killed node's claim holds. */
const CLAIM_MS = 600_000;

/** Whether what the pack has and what the log says it lacks are, together, the feed in this state. */
export function isUsable({ feed, epoch, seq, schema }: Pack, state: LogState): boolean {
  const { oldestReadable } = collectionState(state, collectionOfFeed(feed)) ?? { oldestReadable: 0 };
  // Leavers up to the horizon are gone, so it must not have records that left before.
  return epoch === state.epoch && state.horizon <= seq && schema >= oldestReadable;
}

export async function readPacks(
  log: Log,
  feeds: readonly Feed[],
  session?: Parameters<typeof readIn>[0],
): Promise<Pack[]> {
  const rows = await log.packs
    .find({ _id: { $in: [...feeds] }, made: { $ne: null } }, { ...readIn(session) })
    .toArray();
  return rows.flatMap(packOf);
}

/** Undefined: somebody is making it. */
export async function claimPack(log: Log, feed: Feed, nowMs: number): Promise<PackClaim | undefined> {
  const id = new ObjectId();
  const isFree = { _id: feed, $or: [{ making: null }, { "making.until": { $lt: new Date(nowMs) } }] };
  const making = { by: id, until: new Date(nowMs + CLAIM_MS) };
  try {
    const update = { $set: { making }, $setOnInsert: { made: null } };
    const options = { upsert: true, returnDocument: "before" } as const;
    const before = await log.packs.findOneAndUpdate(isFree, update, options);
    // Of one who was killed in the middle.
    if (before?.making) await deleteBlocks(log, { feed, id: before.making.by });
    return { feed, id };
  } catch (error) {
    if (classOf(error) === "duplicate-key") return undefined;
    throw error;
  }
}

export async function writePackBlock(log: Log, { feed, id }: PackClaim, block: PackBlock): Promise<void> {
  await log.packBlocks.insertOne({
    _id: { f: feed, p: id, s: Long.fromNumber(block.last) },
    after: Long.fromNumber(block.after),
    changes: new Binary(block.changes),
  });
}

/** Puts a pack in the place of the one before. False: the claim had ended. */
export async function publishPack(log: Log, pack: Pack): Promise<boolean> {
  const { feed, id, epoch, seq, last, schema, records, madeAtMs, tookMs } = pack;
  const made: MadeDocument = {
    id,
    epoch,
    seq: Long.fromNumber(seq),
    last: Long.fromNumber(last),
    schema,
    records,
    at: new Date(madeAtMs),
    took_ms: tookMs,
  };
  const mine = { _id: feed, "making.by": id };
  const before = await log.packs.findOneAndUpdate(mine, { $set: { made, making: null } });
  if (!before) return false;
  // Those of the pack before and no others: somebody may have begun the next by now. Passes under way read them still,
  // since snapshots see what was there.
  if (before.made) await deleteBlocks(log, { feed, id: before.made.id });
  return true;
}

/** Ends a claim that came to nothing, with the blocks written by it. */
export async function abandonPack(log: Log, { feed, id }: PackClaim): Promise<void> {
  await deleteBlocks(log, { feed, id });
  await log.packs.updateOne({ _id: feed, "making.by": id }, { $set: { making: null } });
  await log.packs.deleteOne({ _id: feed, making: null, made: null });
}

/** Makes a pack unreadable for all snapshots from now on. */
export async function dropPack(log: Log, { feed, id }: Pick<Pack, "feed" | "id">): Promise<void> {
  const { modifiedCount } = await log.packs.updateOne({ _id: feed, "made.id": id }, { $set: { made: null } });
  if (modifiedCount === 0) return;
  await deleteBlocks(log, { feed, id });
  await log.packs.deleteOne({ _id: feed, making: null, made: null });
}

/** Drops the packs nobody can use any more. */
export async function dropUnusablePacks(log: Log, state: LogState): Promise<void> {
  const rows = await log.packs.find({ made: { $ne: null } }, { ...readIn(undefined) }).toArray();
  const isGone = (pack: Pack) => collectionState(state, collectionOfFeed(pack.feed)) === undefined;
  for (const pack of rows.flatMap(packOf))
    if (isGone(pack) || !isUsable(pack, state)) await dropPack(log, pack);
}

/** A pack's blocks from the one on that has records after this seq. */
export function blocksOf({ feed, id }: Pick<Pack, "feed" | "id">, after: Seq): Document {
  const from = { f: feed, p: id, s: Long.fromNumber(after) };
  return { _id: { $gt: from, $lt: { f: feed, p: id, s: new MaxKey() } } };
}

export function blockOf({ _id, after, changes }: PackBlockDocument): PackBlock {
  const bytes = changes.buffer.subarray(0, changes.position);
  return { after: Number(after), last: Number(_id.s), changes: bytes };
}

async function deleteBlocks(log: Log, { feed, id }: Pick<Pack, "feed" | "id">): Promise<void> {
  await log.packBlocks.deleteMany(blocksOf({ feed, id }, 0));
}

function packOf({ _id: feed, made }: PackDocument): Pack[] {
  if (!made) return [];
  const { id, epoch, schema, records } = made;
  const seqs = { seq: Number(made.seq), last: Number(made.last) };
  return [{ feed, id, epoch, schema, records, ...seqs, madeAtMs: made.at.getTime(), tookMs: made.took_ms }];
}
