// The ledger: one receipt per mutation id, kept for RECEIPT_DAYS, and the floor below which receipts may be gone.
// The unique `_id` decides between two copies of a mutation. Receipts and floor are read in one snapshot: a receipt that
// is gone there has raised the floor before it went.
import { type ClientSession, type Collection, Long, type MongoClient } from "mongodb";
import { type CommitClock, commitClockOf } from "../model/commit-clock.ts";
import { invariant } from "../model/invariant.ts";
import { classOf } from "../mongo/error-class.ts";
import type { GraveDocument } from "./graves.ts";
import { isReceipt, receiptIndexes } from "./read-receipts.ts";
import {
  type ReceiptDocument,
  receiptDocument,
  type StoredReceipt,
  storedReceiptOf,
} from "./stored-receipt.ts";

export interface Ledger {
  readonly client: MongoClient;
  readonly receipts: Collection<ReceiptDocument>;
  /** The same collection: the floor is one document beside the receipts, and no UUID. */
  readonly floors: Collection<FloorDocument>;
  /** See graves.ts. */
  readonly graves: Collection<GraveDocument>;
  /** Empty but within transactions; see `holdRequest`. */
  readonly holds: Collection<{ _id: string }>;
  readonly receiptDays: number;
}

export interface FloorDocument {
  _id: typeof FLOOR;
  clock: Long | number;
}

const FLOOR = "floor";

/** There is a receipt already under one of the mutation ids. */
export class ReceiptExists extends Error {
  override readonly name = "ReceiptExists";
}

const RECEIPT_DAYS = 90;
const DAY_MS = 86_400_000;
/** How far a node's clock, and a slow commit, may lie from the database's time: the floor keeps this distance. */
const CLOCK_TOLERANCE_MS = 3_600_000;

/** Makes indexes where they are missing. `databaseName` is the change log's database: ingest watches the ledger there. */
export async function openLedger(
  client: MongoClient,
  databaseName: string,
  receiptDays: number = RECEIPT_DAYS,
): Promise<Ledger> {
  const ledger = ledgerIn(client, databaseName, receiptDays);
  const options = { partialFilterExpression: isReceipt };
  await ledger.receipts.createIndexes([
    { key: { at: 1 }, ...options },
    { key: receiptIndexes.device, ...options },
    { key: receiptIndexes.record, ...options },
  ]);
  await ledger.graves.createIndex({ at: 1 });
  // So that it is there: made within a transaction, it would be a conflict of its own.
  await ledger.holds.createIndex({ _id: 1 });
  return ledger;
}

/** The ledger for reading: nothing is made where something is missing. */
export function ledgerIn(
  client: MongoClient,
  databaseName: string,
  receiptDays: number = RECEIPT_DAYS,
): Ledger {
  const db = client.db(databaseName, { writeConcern: { w: "majority" } });
  return {
    client,
    receipts: db.collection("ledger"),
    floors: db.collection("ledger"),
    graves: db.collection("graves"),
    holds: db.collection("holds"),
    receiptDays,
  };
}

export interface FoundReceipts {
  readonly receipts: ReadonlyMap<string, StoredReceipt>;
  /** Operation time of the read: whatever was found had been committed by then. */
  readonly readAt: CommitClock;
}

/** The receipts that exist under these mutation ids, as a majority has them. */
export async function findReceipts(ledger: Ledger, mutationIds: readonly string[]): Promise<FoundReceipts> {
  const session = ledger.client.startSession();
  try {
    const filter = { _id: { $in: [...mutationIds] } };
    const found = await ledger.receipts.find(filter, { session, readConcern: "majority" }).toArray();
    invariant(session.operationTime, "a read in a session has an operation time");
    const receipts = new Map(found.map((document) => [document._id, storedReceiptOf(document)]));
    return { receipts, readAt: commitClockOf(session.operationTime) };
  } finally {
    await session.endSession();
  }
}

/**
 * The same and the floor, as the session's transaction sees them: in one read. Receipts of mutations committed at or
 * before the floor may be gone; 0n: none ever went.
 */
export async function findReceiptsAndFloor(
  { receipts }: Ledger,
  mutationIds: readonly string[],
  session: ClientSession,
): Promise<{ readonly receipts: ReadonlyMap<string, StoredReceipt>; readonly floor: CommitClock }> {
  const filter = { _id: { $in: [...mutationIds, FLOOR] } };
  const found = await receipts.find(filter, { session, batchSize: mutationIds.length + 2 }).toArray();
  const stored = new Map<string, StoredReceipt>();
  let floor: CommitClock = 0n;
  for (const document of found) {
    if ("clock" in document) floor = clockOf(document.clock as FloorDocument["clock"]);
    else stored.set(document._id, storedReceiptOf(document));
  }
  return { receipts: stored, floor };
}

/**
 * Inserts receipts in the session's transaction.
 * @throws ReceiptExists when a mutation id is taken; the transaction is then over.
 */
export async function insertReceipts(
  ledger: Ledger,
  receipts: readonly StoredReceipt[],
  session: ClientSession,
): Promise<void> {
  if (receipts.length === 0) return;
  try {
    const [first, ...others] = receipts.map(receiptDocument);
    invariant(first, "there are receipts");
    await ledger.receipts.insertMany([{ ...first, first: true }, ...others], { session });
  } catch (error) {
    if (classOf(error) !== "duplicate-key") throw error;
    throw new ReceiptExists("a mutation has a receipt", { cause: error });
  }
}

/**
 * Inserts a receipt, in the session's transaction or else by itself.
 * @throws ReceiptExists when its mutation id is taken; a transaction it was part of is then over.
 */
export async function insertReceipt(
  ledger: Ledger,
  receipt: StoredReceipt,
  session?: ClientSession,
): Promise<void> {
  try {
    await ledger.receipts.insertOne({ ...receiptDocument(receipt), first: true }, session ? { session } : {});
  } catch (error) {
    if (classOf(error) !== "duplicate-key") throw error;
    throw new ReceiptExists(`mutation ${receipt.mutationId} has a receipt`, { cause: error });
  }
}

/**
 * Makes the session's transaction conflict with any other that holds the same request and began before this one ended,
 * though the two write nothing else in common.
 * @param mutationId of the request's first mutation.
 */
export async function holdRequest(
  { holds }: Ledger,
  mutationId: string,
  session: ClientSession,
): Promise<void> {
  const document = { _id: mutationId };
  await holds.bulkWrite([{ insertOne: { document } }, { deleteOne: { filter: document } }], { session });
}

function clockOf(stored: FloorDocument["clock"]): CommitClock {
  return BigInt(stored.toString());
}

/**
 * Deletes the receipts, and graves, older than the ledger's days, raising the floor first. Returns how many receipts went. A clock ahead of
 * the database's counts as the database's: a floor raised into the future would never come back.
 */
export async function expireReceipts(ledger: Ledger, nowMs: number): Promise<number> {
  const beforeMs = Math.min(nowMs, await databaseMs(ledger)) - ledger.receiptDays * DAY_MS;
  const floor = commitClockOf({ t: Math.ceil((beforeMs + CLOCK_TOLERANCE_MS) / 1000), i: 0 });
  await ledger.floors.updateOne(
    { _id: FLOOR },
    { $max: { clock: Long.fromBigInt(floor) } },
    { upsert: true },
  );
  const { deletedCount } = await ledger.receipts.deleteMany({ at: { $lt: new Date(beforeMs) } });
  await ledger.graves.deleteMany({ at: { $lt: new Date(beforeMs) } });
  return deletedCount;
}

async function databaseMs({ client }: Ledger): Promise<number> {
  const { operationTime } = await client.db("admin").command({ ping: 1 });
  return operationTime.t * 1000;
}
