// The commit clock: MongoDB's cluster time as one signed 64-bit integer that compares rightly until 2088:
// (seconds - 1,600,000,000) << 32 | increment. Pure: cluster times come in as {t, i}.

/** A commit clock; 0n: none. */
export type CommitClock = bigint;

/** A cluster time, as the parts of a BSON timestamp: `t` in seconds since 1970, `i` an unsigned increment. */
export interface ClusterTime {
  readonly t: number;
  readonly i: number;
}

const EPOCH_SECONDS = 1_600_000_000;

export function commitClockOf(time: ClusterTime): CommitClock {
  return (BigInt(time.t - EPOCH_SECONDS) << 32n) | BigInt(time.i);
}

/** Inverse of `commitClockOf`. */
export function clusterTimeOf(clock: CommitClock): ClusterTime {
  return { t: Number(clock >> 32n) + EPOCH_SECONDS, i: Number(clock & 0xffff_ffffn) };
}

/** The instant of a commit clock, in ms since 1970, to the second. */
export function commitClockMs(clock: CommitClock): number {
  return clusterTimeOf(clock).t * 1000;
}
