// Makes packs, in the background, of the feeds that clients had to read at length without one: nobody looks for large
// feeds, and what is never read from its beginning never costs anything. One at a time on a node; of several nodes one.
import { encodePut } from "../frames/change.ts";
import { pack } from "../frames/packed.ts";
import type { Log } from "../log/log.ts";
import {
  abandonPack,
  claimPack,
  dropPack,
  isUsable,
  type Pack,
  type PackClaim,
  publishPack,
  writePackBlock,
} from "../log/packs.ts";
import { type LogSnapshot, openSnapshot } from "../log/snapshot.ts";
import { collectionState, isSettled } from "../log/state.ts";
import type { Clock } from "../model/clock.ts";
import { collectionOfFeed, type Feed, isWholeFeed } from "../model/feed.ts";
import type { Logger } from "../model/logger.ts";
import type { Seq } from "../model/seq.ts";
import type { PackSource } from "./pack-reading.ts";
import type { PullSettings } from "./settings.ts";

export interface PackMakerOptions {
  readonly log: Log;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: Pick<PullSettings, "packRecordsMin" | "packChangedShareMax">;
}

/** Feeds waiting to be looked at; the next reader names those forgotten again. */
const WAITING_MAX = 1_000;
const SMALL_KNOWN_MAX = 100_000;
const BLOCK_RECORDS_MAX = 1_000;
/** A stream's batches are as large, unless it asks otherwise. */
const BLOCK_BYTES_MAX = 131_072;
const READ_ENTRIES = 1_000;
/** A pack isn't made again before this many times as long has passed as it took. */
const REST_FACTOR = 20;

export class PackMaker implements PackSource {
  readonly #options: PackMakerOptions;
  readonly #waiting = new Set<Feed>();
  /** Feeds that were small, and the head from which on they may no longer be. */
  readonly #small = new Map<Feed, Seq>();
  #making: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: PackMakerOptions) {
    this.#options = options;
  }

  get changedShareMax(): number {
    return this.#options.settings.packChangedShareMax;
  }

  /** Whether a client that lacks this much may be read to from packs. */
  isWorthFor(backlog: number): boolean {
    const { packRecordsMin } = this.#options.settings;
    return packRecordsMin > 0 && backlog >= packRecordsMin;
  }

  consider(feed: Feed, head: Seq): void {
    // All of a collection: services read it seldom, and its feeds' packs would be kept twice.
    if (this.#isClosed || isWholeFeed(feed) || head < (this.#small.get(feed) ?? 0)) return;
    if (this.#waiting.size < WAITING_MAX) this.#waiting.add(feed);
    this.#making ??= this.#makeAll().finally(() => {
      this.#making = undefined;
    });
  }

  discard(pack: Pack): Promise<void> {
    this.#options.logger.error({ feed: pack.feed }, "a feed's pack is broken and is dropped");
    return dropPack(this.#options.log, pack);
  }

  /** Resolves when nothing is being made. */
  async idle(): Promise<void> {
    await this.#making;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#waiting.clear();
    await this.#making;
  }

  async #makeAll(): Promise<void> {
    for (const feed of this.#waiting) {
      this.#waiting.delete(feed);
      try {
        await this.#make(feed);
      } catch (error) {
        this.#options.logger.warn({ err: error, feed }, "a feed's pack could not be made");
      }
    }
  }

  async #make(feed: Feed): Promise<void> {
    const { log } = this.#options;
    const snapshot = await openSnapshot(log);
    try {
      if (!isSettled(snapshot.state) || !(await this.#isWanted(feed, snapshot))) return;
      const claim = await claimPack(log, feed, this.#options.clock.nowMs());
      if (claim) await this.#makeFrom(snapshot, claim);
    } finally {
      await snapshot.close();
    }
  }

  async #isWanted(feed: Feed, snapshot: LogSnapshot): Promise<boolean> {
    const { clock, settings } = this.#options;
    const { packRecordsMin, packChangedShareMax } = settings;
    const { state } = snapshot;
    const [pack] = await snapshot.packs([feed]);
    if (pack && isUsable(pack, state)) {
      if (clock.nowMs() < pack.madeAtMs + REST_FACTOR * pack.tookMs) return false;
      const fewest = Math.floor((pack.records * packChangedShareMax) / 2) + 1;
      const changed = await snapshot.countEntries([{ feeds: [feed], after: pack.seq }], fewest);
      if (changed < fewest) return false;
    }
    const count = await snapshot.countEntries([{ feeds: [feed], after: 0 }], packRecordsMin);
    if (count >= packRecordsMin) return true;
    if (this.#small.size >= SMALL_KNOWN_MAX) this.#small.clear();
    this.#small.set(feed, state.head + packRecordsMin - count);
    return false;
  }

  async #makeFrom(snapshot: LogSnapshot, claim: PackClaim): Promise<void> {
    const { log, clock, logger } = this.#options;
    const startedMs = clock.nowMs();
    try {
      const written = await this.#write(snapshot, claim);
      if (!written) return await abandonPack(log, claim);
      const { epoch, head: seq } = snapshot.state;
      const madeAtMs = clock.nowMs();
      const tookMs = madeAtMs - startedMs;
      const isPublished = await publishPack(log, { ...claim, epoch, seq, ...written, madeAtMs, tookMs });
      if (!isPublished) return await abandonPack(log, claim);
      const { records } = written;
      logger.info({ feed: claim.feed, records, seq, tookMs }, "packed a feed for first syncs");
    } catch (error) {
      await abandonPack(log, claim).catch(() => {});
      throw error;
    }
  }

  /** Undefined: the feed can't be packed, or the node ends. */
  async #write(
    snapshot: LogSnapshot,
    claim: PackClaim,
  ): Promise<Pick<Pack, "last" | "schema" | "records"> | undefined> {
    const { log } = this.#options;
    const { feed } = claim;
    const readable = collectionState(snapshot.state, collectionOfFeed(feed))?.oldestReadable ?? 0;
    const block = new BlockFiller();
    let [last, records, schema] = [0, 0, Number.POSITIVE_INFINITY];
    for await (const entries of snapshot.entries([{ feeds: [feed], after: 0 }], READ_ENTRIES)) {
      for (const entry of entries) {
        if (entry.kind === "leaver") continue;
        const { key, recordId, seq, record } = entry;
        const change = encodePut({ collection: key.c, recordId, version: seq, record, changed: [] });
        // A record that goes in parts: they aren't changes of a batch.
        if (change.kind !== "inline" || entry.schema < readable || this.#isClosed) return undefined;
        if (!block.hasRoomFor(change.bytes)) await writePackBlock(log, claim, block.take());
        block.add(change.bytes, seq);
        schema = Math.min(schema, entry.schema);
        last = seq;
        records++;
      }
    }
    // Nothing but traces of records that left.
    if (records === 0) return undefined;
    await writePackBlock(log, claim, block.take());
    return { last, schema, records };
  }
}

class BlockFiller {
  #changes: Uint8Array[] = [];
  #bytes = 0;
  #after: Seq = 0;
  #last: Seq = 0;

  hasRoomFor({ length }: Uint8Array): boolean {
    const isFirst = this.#changes.length === 0;
    return isFirst || (this.#bytes + length <= BLOCK_BYTES_MAX && this.#changes.length < BLOCK_RECORDS_MAX);
  }

  add(change: Uint8Array, seq: Seq): void {
    this.#changes.push(change);
    this.#bytes += change.length;
    this.#last = seq;
  }

  take() {
    const block = { after: this.#after, last: this.#last, changes: pack(this.#changes, this.#last) };
    this.#changes = [];
    this.#bytes = 0;
    this.#after = this.#last;
    return block;
  }
}
