// How pull spends time and memory.

export interface PullSettings {
  /** A pass gives its snapshot back after this, however slow the client; MongoDB keeps one for 5 minutes. */
  readonly passTimeMaxMs: number;
  /** Entries per round trip. Two of them may be in memory for a catching-up client. */
  readonly readEntriesMax: number;
  /** Reads of streams that go on at once; fewer than the driver has connections, which pushes and ingest need, too. */
  readonly readsAtOnceMax: number;
  /** Recent appends kept for live subscribers, entries and frames together; who falls out of them catches up. */
  readonly ringBytesMax: number;
  /** About how old a stream gets before it is asked to reconnect, so that new nodes get their share. */
  readonly streamAgeMaxMs: number;
  /** How long a checkpoint may wait for others where nothing changed for a subscriber. */
  readonly quietCheckpointMs: number;
  /** A feed of as many records is packed for first syncs; 0: none is. */
  readonly packRecordsMin: number;
  /** The share of a pack's records that may have changed for it to be used still; at half of it another is made. */
  readonly packChangedShareMax: number;
}

export const defaultPullSettings: PullSettings = {
  passTimeMaxMs: 5_000,
  readEntriesMax: 1_000,
  readsAtOnceMax: 32,
  ringBytesMax: 64 * 2 ** 20,
  streamAgeMaxMs: 3_600_000,
  quietCheckpointMs: 100,
  packRecordsMin: 10_000,
  packChangedShareMax: 0.2,
};
