// Cluster times as ingest compares them, and where in the stream it stands.
import { Timestamp } from "mongodb";
import { invariant } from "../model/invariant.ts";

/** A point of the change stream up to which everything has been taken. */
export interface Position {
  readonly time: Timestamp;
  /** Resumes after it; undefined: start at `time`. */
  readonly token: unknown;
}

/** The later of two. */
export function later(a: Timestamp, b: Timestamp | undefined): Timestamp {
  return b?.greaterThan(a) ? b : a;
}

/**
 * The cluster time of a resume token: its `_data` is a key string in hexadecimal, whose first element is the
 * timestamp (type byte 82, then seconds and increment, 32 bits each).
 */
export function tokenTime(token: unknown): Timestamp {
  const data = typeof token === "object" && token !== null && "_data" in token ? token._data : undefined;
  invariant(typeof data === "string" && /^82[0-9A-F]{16}/.test(data), "a resume token begins with its time");
  return new Timestamp({
    t: Number.parseInt(data.slice(2, 10), 16),
    i: Number.parseInt(data.slice(10, 18), 16),
  });
}

/** In ms since 1970, to the second. */
export function millisecondsOf(time: Timestamp): number {
  return time.getHighBitsUnsigned() * 1000;
}
