// The log as of one instant: state, grants and entries read through a LogSnapshot belong together.
// Its errors are few: SnapshotLost (open another and go on), SyncError DATABASE_UNAVAILABLE, or a bug.
import type { ClientSession, Timestamp } from "mongodb";
import type { Feed } from "../model/feed.ts";
import type { Grants } from "../model/principal.ts";
import type { Seq } from "../model/seq.ts";
import { snapshotSession, snapshotTimeOf } from "../mongo/snapshot.ts";
import type { Entry, MainEntry, RecordKey } from "./entry.ts";
import { readGrants, readGrantsOfAll } from "./grants.ts";
import { type Log, readState } from "./log.ts";
import { type Pack, type PackBlock, readPacks } from "./packs.ts";
import {
  countEntries,
  type FeedRange,
  readAllEntries,
  readChangedIds,
  readEntries,
  readMainEntries,
  readPackBlocks,
} from "./read.ts";
import type { LogState } from "./state.ts";
import { translated } from "./translated.ts";

export interface LogSnapshot {
  readonly state: LogState;
  /** The cluster time all reads happen at. */
  readonly time: Timestamp;
  /** What memberships grant a principal. */
  grantsOf(principal: string): Promise<Grants>;
  /** The same for several; principals without a grant are absent. */
  grantsOfAll(principals: readonly string[]): Promise<ReadonlyMap<string, Grants>>;
  /** Batches of entries in ascending seq, each entry once. */
  entries(ranges: readonly FeedRange[], batchSize: number): AsyncGenerator<Entry[], void, undefined>;
  /** Every entry after a seq, whatever its feed. */
  allEntries(after: Seq, batchSize: number): AsyncGenerator<Entry[], void, undefined>;
  mainEntries(keys: readonly RecordKey[]): Promise<MainEntry[]>;
  countEntries(ranges: readonly FeedRange[], max: number): Promise<number>;
  /** Those there are of these feeds, whether they can be used or not. */
  packs(feeds: readonly Feed[]): Promise<Pack[]>;
  /** A pack's blocks in order, from the one on that has records after this seq. */
  packBlocks(pack: Pack, after: Seq): AsyncGenerator<PackBlock, void, undefined>;
  /** Ids of the records that have changed in a feed, or left it, after a seq; undefined: they are more than `max`. */
  changedIds(feed: Feed, after: Seq, max: number): Promise<Set<string> | undefined>;
  /** Whether it was closed: reads then end before their time. */
  readonly isClosed: boolean;
  /** Ends its reads, also those under way, and frees what the database holds for it. Never throws; may be repeated. */
  close(): Promise<void>;
}

/** A snapshot of now, or of the cluster time given. */
export async function openSnapshot(log: Log, at?: Timestamp): Promise<LogSnapshot> {
  const session = snapshotSession(log.client, at);
  try {
    const state = await translated(readState(log, session));
    return new SessionSnapshot(log, session, state);
  } catch (error) {
    await session.endSession();
    throw error;
  }
}

/** A cluster time, and the log's state at it. */
export interface Instant {
  readonly state: LogState;
  readonly time: Timestamp;
}

/** A snapshot of an instant whose state is known: without a read. */
export function snapshotOf(log: Log, { state, time }: Instant): LogSnapshot {
  return new SessionSnapshot(log, snapshotSession(log.client, time), state);
}

class SessionSnapshot implements LogSnapshot {
  readonly state: LogState;
  readonly time: Timestamp;
  readonly #log: Log;
  readonly #session: ClientSession;
  readonly #readers = new Set<AsyncGenerator<unknown, void, undefined>>();
  #closed: Promise<void> | undefined;

  constructor(log: Log, session: ClientSession, state: LogState) {
    this.#log = log;
    this.#session = session;
    this.state = state;
    this.time = snapshotTimeOf(session);
  }

  grantsOf(principal: string): Promise<Grants> {
    return translated(readGrants(this.#log, principal, this.#session));
  }

  grantsOfAll(principals: readonly string[]): Promise<ReadonlyMap<string, Grants>> {
    return translated(readGrantsOfAll(this.#log, principals, this.#session));
  }

  entries(ranges: readonly FeedRange[], batchSize: number): AsyncGenerator<Entry[], void, undefined> {
    return this.#read(readEntries(this.#log, ranges, { session: this.#session, batchSize }));
  }

  allEntries(after: Seq, batchSize: number): AsyncGenerator<Entry[], void, undefined> {
    return this.#read(readAllEntries(this.#log, after, { session: this.#session, batchSize }));
  }

  mainEntries(keys: readonly RecordKey[]): Promise<MainEntry[]> {
    return translated(readMainEntries(this.#log, keys, this.#session));
  }

  countEntries(ranges: readonly FeedRange[], max: number): Promise<number> {
    return translated(countEntries(this.#log, ranges, { session: this.#session, max }));
  }

  packs(feeds: readonly Feed[]): Promise<Pack[]> {
    return translated(readPacks(this.#log, feeds, this.#session));
  }

  packBlocks(pack: Pack, after: Seq): AsyncGenerator<PackBlock, void, undefined> {
    return this.#read(readPackBlocks(this.#log, { pack, after }, this.#session));
  }

  changedIds(feed: Feed, after: Seq, max: number): Promise<Set<string> | undefined> {
    return translated(readChangedIds(this.#log, { feed, after }, { session: this.#session, max }));
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    // A reader in the middle of a round trip ends after it.
    await Promise.allSettled([...this.#readers].map((reader) => reader.return()));
    await this.#session.endSession();
  }

  async *#read<T>(reader: AsyncGenerator<T, void, undefined>): AsyncGenerator<T, void, undefined> {
    this.#readers.add(reader);
    try {
      for (;;) {
        const { value, done } = await translated(reader.next());
        if (done) return;
        yield value;
      }
    } finally {
      this.#readers.delete(reader);
      await reader.return();
    }
  }
}
