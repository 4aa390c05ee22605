// Reading what is due to a client by packs: where it lacks a large feed, the feed's pack stands for its entries up to the
// pack's seq, without the records that have changed or left since: those come by the log, or not at all (P6).
// Everything comes in seq order, as without packs, so a cursor handed out in between means the same (P5).
import { type PackedChanges, type PackedRun, readPacked, recordIdAt } from "../frames/packed.ts";
import type { Entry } from "../log/entry.ts";
import { isUsable, type Pack, type PackBlock } from "../log/packs.ts";
import type { FeedRange } from "../log/read.ts";
import type { LogSnapshot } from "../log/snapshot.ts";
import { SnapshotLost } from "../log/translated.ts";
import type { Feed } from "../model/feed.ts";
import type { Seq } from "../model/seq.ts";
import { feedsBeforeJoin, rangesToRead, type Subscription } from "./subscription.ts";

/** Where packs come from. */
export interface PackSource {
  /** The share of a pack's records that may have changed for it to be used still. */
  readonly changedShareMax: number;
  /** A feed is read without a pack, or with one that gets old: it may be worth making. */
  consider(feed: Feed, head: Seq): void;
  /** A pack was found broken. */
  discard(pack: Pack): Promise<void>;
}

/** What came next: entries, or runs of packed puts, all of which are due and whole. */
export type HeldRead = readonly Entry[] | readonly PackedRun[];

export interface HeldOptions {
  readonly snapshot: LogSnapshot;
  readonly subscription: Subscription;
  readonly batchSize: number;
  readonly packs: PackSource;
}

/** A client's feeds from where it stands to the snapshot's head, in ascending seq. */
export async function* readHeld(options: HeldOptions): AsyncGenerator<HeldRead, void, undefined> {
  const { snapshot, subscription, batchSize, packs } = options;
  const readers = await chooseAll(options);
  const later = new Map(readers.map(({ pack }) => [pack.feed, pack.seq]));
  const entries = new EntryReader(snapshot.entries(rangesAfter(subscription, later), batchSize));
  try {
    await Promise.all([entries.fill(), ...readers.map((reader) => reader.fill())]);
    yield* merged(entries, readers);
    for (let rest = entries.takeAll(); rest.length > 0; rest = entries.takeAll()) {
      yield rest;
      await entries.fill();
    }
  } catch (error) {
    const broken = readers.find((reader) => reader.isBroken);
    // Whoever closes the snapshot wants nothing of it any more; what was cut short by that is not broken.
    if (!broken || snapshot.isClosed) throw error;
    await packs.discard(broken.pack);
    throw new SnapshotLost("a pack is broken", { cause: error });
  } finally {
    await Promise.all([entries.close(), ...readers.map((reader) => reader.close())]);
  }
}

async function* merged(
  entries: EntryReader,
  packs: readonly PackReader[],
): AsyncGenerator<HeldRead, void, undefined> {
  for (;;) {
    const least = leastOf(packs);
    if (!least) return;
    const seq = least.next;
    const others = packs.filter((pack) => pack !== least);
    for (const other of others) if (other.next === seq) await other.skip();
    const before = entries.takeUntil(seq);
    if (before.length > 0) yield before;
    await entries.fill();
    if (entries.next < seq) continue;
    if (entries.next === seq) {
      // The record is in a feed without a pack, too.
      await least.skip();
      continue;
    }
    const runs = least.takeUntil(Math.min(entries.next, ...others.map(({ next }) => next)));
    if (runs.length > 0) yield runs;
    await least.fill();
  }
}

/** The one with the lowest seq, of those that aren't at their end. */
function leastOf(packs: readonly PackReader[]): PackReader | undefined {
  let least: PackReader | undefined;
  for (const pack of packs) if (pack.next < (least?.next ?? END)) least = pack;
  return least;
}

const END = Number.POSITIVE_INFINITY;

/** The packs there are for what the client lacks. */
async function chooseAll({ snapshot, subscription, packs }: HeldOptions): Promise<PackReader[]> {
  const { state } = snapshot;
  const starts = feedsBeforeJoin(subscription);
  if (starts.size === 0) return [];
  const found = new Map((await snapshot.packs([...starts.keys()])).map((pack) => [pack.feed, pack]));
  const readers: PackReader[] = [];
  for (const [feed, { after, join }] of starts) {
    const pack = found.get(feed);
    if (!pack || !isUsable(pack, state)) {
      packs.consider(feed, state.head);
      continue;
    }
    // Of records that left by then it might have to be told, and a pack has nothing to tell of them.
    if (pack.seq <= after || pack.seq > join) continue;
    const max = Math.floor(pack.records * packs.changedShareMax);
    const changed = await snapshot.changedIds(feed, pack.seq, Math.min(max, CHANGED_MAX));
    if (!changed || changed.size > max / 2) packs.consider(feed, state.head);
    if (changed) readers.push(new PackReader({ pack, after, changed, snapshot }));
  }
  return readers;
}

/** Ids held in memory for a client that reads a pack. */
const CHANGED_MAX = 100_000;

function rangesAfter(subscription: Subscription, later: ReadonlyMap<Feed, Seq>): FeedRange[] {
  return rangesToRead(subscription).flatMap(({ feeds, after }) => {
    const others = feeds.filter((feed) => !later.has(feed));
    const packed = feeds.flatMap((feed) => {
      const seq = later.get(feed);
      return seq === undefined ? [] : [{ feeds: [feed], after: seq }];
    });
    return others.length > 0 ? [{ feeds: others, after }, ...packed] : packed;
  });
}

/** Entries, of which some may be taken at a time. */
class EntryReader {
  readonly #source: AsyncGenerator<Entry[], void, undefined>;
  #batch: readonly Entry[] = [];
  #at = 0;
  #isDone = false;

  constructor(source: AsyncGenerator<Entry[], void, undefined>) {
    this.#source = source;
  }

  /** The seq of the first not yet taken; right after `fill`. */
  get next(): Seq {
    return this.#batch[this.#at]?.seq ?? END;
  }

  /** Makes `next` right. */
  async fill(): Promise<void> {
    while (this.#at === this.#batch.length && !this.#isDone) {
      const { value, done } = await this.#source.next();
      this.#isDone = done === true;
      this.#batch = value ?? [];
      this.#at = 0;
    }
  }

  /** Those at hand below a seq. */
  takeUntil(seq: Seq): readonly Entry[] {
    let end = this.#at;
    while ((this.#batch[end]?.seq ?? END) < seq) end++;
    const taken = this.#batch.slice(this.#at, end);
    this.#at = end;
    return taken;
  }

  takeAll(): readonly Entry[] {
    return this.takeUntil(END);
  }

  async close(): Promise<void> {
    await this.#source.return();
  }
}

interface PackReaderOptions {
  readonly pack: Pack;
  readonly after: Seq;
  /** Records the log has a later word of. */
  readonly changed: ReadonlySet<string>;
  readonly snapshot: LogSnapshot;
}

/** A pack's records, of which some may be taken at a time. */
class PackReader {
  readonly pack: Pack;
  /** What was read is not what was written. */
  isBroken = false;
  readonly #after: Seq;
  readonly #changed: ReadonlySet<string>;
  readonly #source: AsyncGenerator<PackBlock, void, undefined>;
  #ahead: Promise<IteratorResult<PackBlock, void>> | undefined;
  #block: PackedChanges | undefined;
  #at = 0;
  /** The last seq of the blocks read; undefined: none was. */
  #read: Seq | undefined;
  #isDone = false;

  constructor({ pack, after, changed, snapshot }: PackReaderOptions) {
    this.pack = pack;
    this.#after = after;
    this.#changed = changed;
    this.#source = snapshot.packBlocks(pack, after);
  }

  /** The seq of the first record not yet taken; right after `fill`. */
  get next(): Seq {
    return this.#block?.versions[this.#at] ?? END;
  }

  /** Makes `next` right. */
  async fill(): Promise<void> {
    while (this.next === END && !this.#isDone) {
      const { value } = await (this.#ahead ?? this.#source.next());
      if (value) this.#take(value);
      else this.#end();
    }
  }

  async skip(): Promise<void> {
    this.#at++;
    await this.fill();
  }

  /** Those at hand below a seq that haven't changed since. */
  takeUntil(seq: Seq): PackedRun[] {
    const block = this.#block;
    if (!block) return [];
    const runs: PackedRun[] = [];
    let from = this.#at;
    let at = from;
    for (; (block.versions[at] ?? END) < seq; at++) {
      if (this.#changed.size === 0 || !this.#changed.has(recordIdAt(block, at))) continue;
      if (at > from) runs.push({ of: block, from, to: at });
      from = at + 1;
    }
    if (at > from) runs.push({ of: block, from, to: at });
    this.#at = at;
    return runs;
  }

  async close(): Promise<void> {
    await this.#source.return();
  }

  #take({ after, last, changes }: PackBlock): void {
    this.#ahead = this.#source.next();
    // Its failure is met by whoever awaits it, if anybody still does.
    this.#ahead.catch(() => {});
    this.#expect(this.#read === undefined ? after <= this.#after : after === this.#read);
    const block = this.#reading(() => readPacked(changes));
    this.#expect(block.versions.at(-1) === last);
    this.#block = block;
    this.#read = last;
    this.#at = block.versions.findIndex((version) => version > this.#after);
  }

  #end(): void {
    this.#isDone = true;
    this.#ahead = undefined;
    this.#expect(this.pack.last <= this.#after || this.#read === this.pack.last);
  }

  #expect(isWhole: boolean): void {
    this.#reading(() => {
      if (!isWhole) throw new RangeError("blocks are missing");
    });
  }

  #reading<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.isBroken = true;
      throw error;
    }
  }
}
