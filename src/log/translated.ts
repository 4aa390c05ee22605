// The log's failures as its readers meet them: SnapshotLost (read again), SyncError DATABASE_UNAVAILABLE (tell the
// caller to come back), or what the driver threw, which is then a bug.
import { SyncError } from "../model/sync-error.ts";
import { classOf } from "../mongo/error-class.ts";

/** The instant is no longer, or was never, readable: open another snapshot. */
export class SnapshotLost extends Error {
  override readonly name = "SnapshotLost";
}

/** Waits for a read and translates its failure. */
export async function translated<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    const errorClass = classOf(error);
    if (errorClass === "snapshot-lost" || errorClass === "transient") {
      throw new SnapshotLost("the snapshot can no longer be read", { cause: error });
    }
    throw errorClass === "unavailable" ? unavailable(error) : error;
  }
}

function unavailable(cause: unknown): SyncError {
  const message = "the database can't be reached; try again";
  return new SyncError("DATABASE_UNAVAILABLE", message, { retryAfterMs: 1_000, cause });
}
