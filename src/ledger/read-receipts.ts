// The ledger as an audit trail: receipts of a principal, a device or a record, the latest first, by pages. Every query
// names the index it runs on. Those whose order comes from the index look at a bounded stretch of it; the receipts of a
// principal on all its devices are put in order by the database, within a time limit.
import { type Filter, MongoServerError } from "mongodb";
import { type CommitClock, commitClockOf } from "../model/commit-clock.ts";
import { invariant } from "../model/invariant.ts";
import { SyncError } from "../model/sync-error.ts";
import type { Ledger } from "./ledger.ts";
import type { ReceiptPosition } from "./receipt-position.ts";
import { type ReceiptDocument, type StoredReceipt, storedReceiptOf } from "./stored-receipt.ts";

export interface ReceiptQuery {
  /** Undefined: anybody's, which only a record's may be. */
  readonly principal: string | undefined;
  /** Undefined: of any. */
  readonly device: string | undefined;
  /** Undefined: any. */
  readonly record: RecordName | undefined;
  /** Empty: any. */
  readonly outcomes: readonly StoredReceipt["outcome"][];
  /** Receipts before this one, in the order of a page; undefined: from the latest. */
  readonly after: ReceiptPosition | undefined;
  /** Receipts wanted, at most. */
  readonly max: number;
}

export interface RecordName {
  readonly collection: string;
  /** Canonical. */
  readonly recordId: string;
}

export interface ReceiptPage {
  /** The latest first. */
  readonly receipts: readonly StoredReceipt[];
  /** Where the next page goes on; undefined: there is nothing more. */
  readonly next: ReceiptPosition | undefined;
  /** Operation time of the read: whatever was found had been committed by then. */
  readonly readAt: CommitClock;
}

/** What the receipts of a device, and those of a record, are found by; `_id` orders those of one millisecond. */
export const receiptIndexes = {
  device: { principal: 1, device: 1, at: -1, _id: -1 },
  record: { collection: 1, record: 1, at: -1, _id: -1 },
} as const;

/** The floor lies in the same collection, and has no time. */
export const isReceipt = { at: { $exists: true } } as const;

const LATEST_FIRST = { at: -1, _id: -1 } as const;
/** Receipts looked at for one page: filters may let few of them through. */
const RECEIPTS_SCANNED_MAX = 10_000;
const READ_MS_MAX = 10_000;

/** @throws SyncError REQUEST_TOO_LARGE where a principal has more receipts than can be put in order in time. */
export async function readReceipts(ledger: Ledger, query: ReceiptQuery): Promise<ReceiptPage> {
  const session = ledger.client.startSession();
  try {
    const scan = scanOf(query);
    const options = { session, readConcern: "majority", hint: scan.index, maxTimeMS: READ_MS_MAX } as const;
    const end = scan.isBounded ? await endOfScan(ledger, scan, options) : undefined;
    const found = await ledger.receipts
      .find({ $and: [scan.range, scan.rest, end ? upTo(end) : {}] }, options)
      .sort(LATEST_FIRST)
      .limit(query.max + 1)
      .toArray();
    invariant(session.operationTime, "a read in a session has an operation time");
    const page = found.slice(0, query.max);
    const last = found.length > page.length ? page.at(-1) : end;
    return {
      receipts: page.map(storedReceiptOf),
      next: last && { atMs: last.at.getTime(), mutationId: last._id },
      readAt: commitClockOf(session.operationTime),
    };
  } catch (error) {
    throw error instanceof MongoServerError && error.code === MAX_TIME_EXPIRED ? tooMany(error) : error;
  } finally {
    await session.endSession();
  }
}

const MAX_TIME_EXPIRED = 50;

/** How many receipts a record has, counting no further than `max`. */
export function countReceipts(ledger: Ledger, record: RecordName, max: number): Promise<number> {
  return ledger.receipts.countDocuments(
    { $and: [ofRecord(record), isReceipt] },
    { hint: receiptIndexes.record, readConcern: "majority", maxTimeMS: READ_MS_MAX, limit: max },
  );
}

interface Scan {
  readonly index: (typeof receiptIndexes)[keyof typeof receiptIndexes];
  /** The stretch of the index there is to look at. */
  readonly range: Filter<ReceiptDocument>;
  /** What is left to tell of what is found there. */
  readonly rest: Filter<ReceiptDocument>;
  /** Of what the index has in the order wanted, only so much is looked at. */
  readonly isBounded: boolean;
}

function scanOf({ principal, device, record, outcomes, after }: ReceiptQuery): Scan {
  const since = after === undefined ? isReceipt : { at: { $lte: new Date(after.atMs) } };
  const beyond = after === undefined ? {} : laterThan(after);
  const wanted = outcomes.length === 0 ? {} : { outcome: { $in: [...outcomes] } };
  const ofPrincipal = principal === undefined ? {} : { principal };
  const ofDevice = device === undefined ? {} : { device };
  const named = record === undefined ? {} : ofRecord(record);
  const byDevice = principal !== undefined && (device !== undefined || record === undefined);
  invariant(byDevice || record !== undefined, "receipts are asked for by principal or by record");
  return byDevice
    ? {
        index: receiptIndexes.device,
        range: { $and: [ofPrincipal, ofDevice, since, beyond] },
        rest: { $and: [named, wanted] },
        isBounded: device !== undefined && (record !== undefined || outcomes.length > 0),
      }
    : {
        index: receiptIndexes.record,
        range: { $and: [named, since, beyond] },
        rest: { $and: [ofPrincipal, ofDevice, wanted] },
        isBounded: principal !== undefined || device !== undefined || outcomes.length > 0,
      };
}

function ofRecord({ collection, recordId }: RecordName): Filter<ReceiptDocument> {
  return { collection, record: recordId };
}

/** Further on in the order of a page, given that it is not of a later time. */
function laterThan({ atMs, mutationId }: ReceiptPosition): Filter<ReceiptDocument> {
  return { $or: [{ at: { $lt: new Date(atMs) } }, { _id: { $lt: mutationId } }] };
}

function upTo({ at, _id }: Pick<ReceiptDocument, "_id" | "at">): Filter<ReceiptDocument> {
  return { at: { $gte: at }, $or: [{ at: { $gt: at } }, { _id: { $gte: _id } }] };
}

type ReadOptions = NonNullable<Parameters<Ledger["receipts"]["find"]>[1]>;

/** The last receipt of the stretch that one page may look at; undefined: it reaches to the end. */
async function endOfScan(
  { receipts }: Ledger,
  { range }: Scan,
  options: ReadOptions,
): Promise<Pick<ReceiptDocument, "_id" | "at"> | undefined> {
  const [end] = await receipts
    .find(range, { ...options, projection: { at: 1 } })
    .sort(LATEST_FIRST)
    .skip(RECEIPTS_SCANNED_MAX - 1)
    .limit(1)
    .toArray();
  return end;
}

function tooMany(cause: unknown): SyncError {
  const message = "there are more receipts than can be put in order in time: name a device or a record";
  return new SyncError("REQUEST_TOO_LARGE", message, { cause });
}
