// Seq: the dense number of a log entry; a record's `version` is its seq. Kept as a safe integer in memory
// (2^53 appends outlast any deployment), as int64 in MongoDB and on the wire.

/** A log position: 0 is before the first entry. */
export type Seq = number;

/** Reads a wire int64 as a Seq; numbers no log can have reached become `undefined`. */
export function seqFromWire(value: bigint): Seq | undefined {
  return value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
}
