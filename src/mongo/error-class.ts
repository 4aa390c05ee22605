// What a MongoDB error means for whoever must go on: one closed list of classes, decided by code, name and
// label, never by message. The only place that knows error codes.
import { MongoError, MongoErrorLabel } from "mongodb";
import { type ErrorReason, SyncError } from "../model/sync-error.ts";

/**
 * - `transient`: the same work may succeed if done again at once (a conflict with another transaction);
 * - `snapshot-lost`: the read's cluster time is gone or never was readable: read at a newer one;
 * - `history-lost`: the change stream can't resume from its token: load anew;
 * - `duplicate-key`: a unique index has the key already;
 * - `document-refused`: the server will never take this document (validator, size, an index that can't hold it);
 * - `unavailable`: no primary, no connection, no time: wait, then try again;
 * - `other`: anything else.
 */
export type ErrorClass =
  | "transient"
  | "snapshot-lost"
  | "history-lost"
  | "duplicate-key"
  | "document-refused"
  | "unavailable"
  | "other";

const CLASS_OF_CODE: ReadonlyMap<number, ErrorClass> = new Map([
  ...codes("snapshot-lost", [
    239, // SnapshotTooOld
    246, // SnapshotUnavailable: also a collection younger than the snapshot
  ]),
  ...codes("history-lost", [
    136, // CappedPositionLost: the oplog rolled over under the cursor
    222, // CloseChangeStream
    260, // InvalidResumeToken
    280, // ChangeStreamFatalError
    286, // ChangeStreamHistoryLost
  ]),
  ...codes("duplicate-key", [11_000, 11_001, 12_582]),
  ...codes("document-refused", [
    121, // DocumentValidationFailure
    171, // CannotIndexParallelArrays
    10_334, // BSONObjectTooLarge
    16_755, // a 2dsphere index can't extract the shape
    17_280, // KeyTooLong
    17_419, // the document after an update is too large
    17_420, // the document after an upsert is too large
  ]),
  ...codes("transient", [
    24, // LockTimeout
    46, // LockBusy
    112, // WriteConflict
    117, // ConflictingOperationInProgress
    225, // TransactionTooOld
    251, // NoSuchTransaction
    267, // PreparedTransactionInProgress
  ]),
  ...codes("unavailable", [
    6, // HostUnreachable
    7, // HostNotFound
    50, // MaxTimeMSExpired
    64, // WriteConcernFailed: the majority did not confirm in time
    89, // NetworkTimeout
    91, // ShutdownInProgress
    133, // FailedToSatisfyReadPreference
    134, // ReadConcernMajorityNotAvailableYet
    189, // PrimarySteppedDown
    262, // ExceededTimeLimit
    9001, // SocketException
    10_058, // not primary, before 4.4's names
    10_107, // NotWritablePrimary
    11_600, // InterruptedAtShutdown
    11_602, // InterruptedDueToReplStateChange
    13_435, // NotPrimaryNoSecondaryOk
    13_436, // NotPrimaryOrSecondary
  ]),
]);

function codes(errorClass: ErrorClass, list: readonly number[]): [number, ErrorClass][] {
  return list.map((code) => [code, errorClass]);
}

/** How runTransaction and connectMongo tell that they have given up. */
const CLASS_OF_REASON: { readonly [R in ErrorReason]?: ErrorClass } = {
  CONTENTION: "transient",
  DATABASE_UNAVAILABLE: "unavailable",
};

/** By name, because the driver exports only some of these classes. */
const DISCONNECT_NAMES: ReadonlySet<string> = new Set([
  "MongoNetworkError",
  "MongoNetworkTimeoutError",
  "MongoServerSelectionError",
  "MongoNotConnectedError",
  "MongoTopologyClosedError",
  "MongoClientClosedError",
  "MongoServerClosedError",
  "MongoStalePrimaryError",
  "MongoPoolClearedError",
  "MongoPoolClosedError",
  "PoolClearedOnNetworkError",
  "MongoWaitQueueTimeoutError",
  "MongoOperationTimeoutError",
]);

/** The class of whatever a driver call or `runTransaction` threw, `connectMongo` included. */
export function classOf(error: unknown): ErrorClass {
  if (error instanceof SyncError) return CLASS_OF_REASON[error.reason] ?? "other";
  if (!(error instanceof MongoError)) return "other";
  const byCode = CLASS_OF_CODE.get(Number(error.code));
  if (byCode !== undefined) return byCode;
  // In a bulk the driver wraps whatever kept it from an answer.
  if (error.name === "MongoBulkWriteError" && error.code === undefined) return "unavailable";
  if (DISCONNECT_NAMES.has(error.name)) return "unavailable";
  if (error.hasErrorLabel(MongoErrorLabel.TransientTransactionError)) return "transient";
  if (error.hasErrorLabel(MongoErrorLabel.RetryableWriteError)) return "unavailable";
  return "other";
}

/** BSONObjectTooLarge, and the document after an update or upsert. */
const TOO_LARGE_CODES: ReadonlySet<number> = new Set([10_334, 17_419, 17_420]);

/** Whether a `document-refused` is for its size alone. */
export function isTooLarge(error: MongoError): boolean {
  return TOO_LARGE_CODES.has(Number(error.code));
}

const INTERRUPTED = 11_601;

/** An operation was ended from outside, as when its session is; the server doesn't call that transient. */
export function isInterrupted(error: unknown): boolean {
  return error instanceof MongoError && error.code === INTERRUPTED;
}
