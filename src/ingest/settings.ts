// Settings of ingest: times and sizes, each with the reason for its default. Tests shorten the times.

export interface IngestSettings {
  /** A leader that has not renewed its lease for this long is taken to be gone. */
  readonly leaseMs: number;
  /**
   * A node whose schema is older than the log's takes the lead only when nobody has led for this long: then the newer
   * schema was rolled back, and no newer node will come.
   */
  readonly rollbackAfterMs: number;
  /** How long the stream is awaited when there is nothing else to do; bounds how late a close is noticed. */
  readonly awaitMs: number;
  /** An advance of the clock alone is stored this often; each store is a write that moves the clock again. */
  readonly idlePersistMs: number;
  /** Leavers and unused feed sets are kept this long. */
  readonly tombstoneDays: number;
  /** How often old leavers are looked for. */
  readonly upkeepEveryMs: number;
  /** Waits after failures double from the first to the last. */
  readonly backoffMsMin: number;
  readonly backoffMsMax: number;
  /** Records read and appended at once, at most: below, round trips dominate; above, latency and memory. */
  readonly recordsMax: number;
  /** Encoded bytes in one append, about. */
  readonly appendBytesMax: number;
}

export const defaultIngestSettings: IngestSettings = {
  leaseMs: 5_000,
  rollbackAfterMs: 60_000,
  awaitMs: 200,
  idlePersistMs: 5_000,
  tombstoneDays: 30,
  upkeepEveryMs: 3_600_000,
  backoffMsMin: 100,
  backoffMsMax: 5_000,
  recordsMax: 2_000,
  appendBytesMax: 8_000_000,
};
