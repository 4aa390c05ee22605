// A catch-up pass: what is due to one client by one snapshot, in seq order, a round trip ahead of the client.
// When its time is over it lets go of snapshot and entries, even while the client is not reading; the next pass goes on.
import { lastVersionOf, type PackedRun } from "../frames/packed.ts";
import type { Entry, LeaverEntry } from "../log/entry.ts";
import type { LogSnapshot } from "../log/snapshot.ts";
import { collectionState } from "../log/state.ts";
import { SnapshotLost } from "../log/translated.ts";
import type { Clock } from "../model/clock.ts";
import type { Grants } from "../model/principal.ts";
import type { Seq } from "../model/seq.ts";
import { type Due, recordName } from "./due.ts";
import { type HeldRead, type PackSource, readHeld } from "./pack-reading.ts";
import {
  isHeld,
  putDue,
  rangesLeaving,
  rangesToRead,
  removeDue,
  revokeDue,
  type Subscription,
} from "./subscription.ts";

export interface PassOptions {
  readonly snapshot: LogSnapshot;
  /** What memberships grant the client's principal, in the same snapshot. */
  readonly grants: Grants;
  readonly clock: Clock;
  readonly timeMaxMs: number;
  readonly readEntriesMax: number;
  /** Whether its snapshot shows what is withheld by now. */
  readonly isOutdated: () => boolean;
}

/** Nothing more of the pass may be sent: the next one knows what to leave out. */
export class PassOutdated extends Error {
  override readonly name = "PassOutdated";
}

/** Named, since without a reason each abort makes an error with its stack: 40 µs a stream. */
const CLOSED = "the pass is closed";

type PassReader = AsyncGenerator<HeldRead, void, undefined>;

/** Puts, all due and whole, as a pack has them. */
export interface PackedDue {
  readonly kind: "packed";
  readonly run: PackedRun;
}

function isPacked(read: HeldRead): read is readonly PackedRun[] {
  const [first] = read;
  return first !== undefined && "of" in first;
}

/** What a pass reads: feeds taken away, or feeds held. */
export type PassPhase = "leaving" | "held";

export class Pass {
  readonly snapshot: LogSnapshot;
  readonly grants: Grants;
  readonly #readEntriesMax: number;
  readonly #isOutdated: () => boolean;
  readonly #timer = new AbortController();
  #reader: PassReader | undefined;
  #ahead: Promise<IteratorResult<HeldRead, void>> | undefined;
  #queue: readonly (Due | PackedDue)[] = [];
  #taken = 0;
  #isReading = false;
  #upTo: Seq = 0;
  #isOver = false;
  #isClosed = false;
  #isDropped = false;

  constructor({ snapshot, grants, clock, timeMaxMs, readEntriesMax, isOutdated }: PassOptions) {
    this.snapshot = snapshot;
    this.grants = grants;
    this.#readEntriesMax = readEntriesMax;
    this.#isOutdated = isOutdated;
    void clock.sleep(timeMaxMs, this.#timer.signal).then(() => this.#expire());
  }

  /** Its time is over: take no more from it. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Asked before each frame of records. @throws PassOutdated */
  refuseOutdated(): void {
    if (this.#isOutdated()) throw new PassOutdated("the pass shows what is withheld by now");
  }

  /** It let go of entries that were due: what wasn't taken must be read again. */
  get isDropped(): boolean {
    return this.#isDropped;
  }

  /** Everything up to here is decided; due to the client only what `take` gives. */
  get upTo(): Seq {
    return this.#upTo;
  }

  /** Begins to read a phase; of feeds held, by packs if there is a source of them. */
  start(phase: PassPhase, subscription: Subscription, packs?: PackSource): void {
    this.#upTo = phase === "held" ? subscription.position : 0;
    if (this.#isOver) return;
    const { snapshot } = this;
    const batchSize = this.#readEntriesMax;
    if (phase === "leaving") this.#reader = snapshot.entries(rangesLeaving(subscription), batchSize);
    else if (packs) this.#reader = readHeld({ snapshot, subscription, batchSize, packs });
    else this.#reader = snapshot.entries(rangesToRead(subscription), batchSize);
    this.#ahead = undefined;
  }

  /** Runs work that reads the snapshot, which stays open for it even when the time is over. One at a time. */
  async reading<T>(work: (snapshot: LogSnapshot) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new SnapshotLost("the pass is closed");
    this.#isReading = true;
    try {
      return await work(this.snapshot);
    } finally {
      this.#isReading = false;
    }
  }

  /** Reads on and decides what is due; false: the phase is complete, or the time over. */
  async fill(phase: PassPhase, subscription: Subscription): Promise<boolean> {
    const reader = this.#reader;
    return reader !== undefined && (await this.reading(() => this.#fillFrom(reader, phase, subscription)));
  }

  /** The next that is due, of what was read; undefined: none, or the time is over. */
  take(): Due | PackedDue | undefined {
    return this.#queue[this.#taken++];
  }

  /** Frees everything; may be repeated. */
  close(): void {
    this.#timer.abort(CLOSED);
    this.#isClosed = true;
    this.#isOver = true;
    this.#isDropped ||= this.#taken < this.#queue.length;
    this.#queue = [];
    this.#ahead = undefined;
    this.#reader = undefined;
    void this.snapshot.close();
  }

  #expire(): void {
    if (this.#timer.signal.aborted) return;
    this.#isOver = true;
    // What is being read just now will be delivered a frame's worth, so that each pass gets on.
    if (!this.#isReading) this.close();
  }

  async #fillFrom(reader: PassReader, phase: PassPhase, subscription: Subscription): Promise<boolean> {
    const { value: read, done } = await (this.#ahead ?? reader.next());
    if (done) return false;
    this.#readAhead(reader);
    if (isPacked(read)) {
      this.#queue = read.map((run) => ({ kind: "packed", run }));
      this.#upTo = Math.max(this.#upTo, ...read.map(lastVersionOf));
    } else {
      const decide = phase === "held" ? this.#decide : this.#revoke;
      this.#queue = await decide.call(this, read, subscription);
      this.#upTo = read.at(-1)?.seq ?? this.#upTo;
    }
    this.#taken = 0;
    return true;
  }

  #readAhead(reader: PassReader): void {
    this.#ahead = this.#isOver ? undefined : reader.next();
    // Its failure is met by whoever awaits it, if anybody still does.
    this.#ahead?.catch(() => {});
  }

  async #decide(entries: readonly Entry[], subscription: Subscription): Promise<Due[]> {
    const leavers = entries.filter((entry) => entry.kind === "leaver" && removeDue(subscription, entry));
    const held = await this.#heldOf(leavers, subscription);
    const due: Due[] = [];
    for (const entry of entries) {
      if (!this.#isReadable(entry)) continue;
      if (entry.kind === "main") {
        const changed = putDue(subscription, entry);
        if (changed) due.push({ kind: "put", entry, changed });
      } else if (removeDue(subscription, entry) && !held.has(recordName(entry))) {
        due.push({ kind: "remove", entry, cause: entry.reason });
      }
    }
    return due;
  }

  async #revoke(entries: readonly Entry[], subscription: Subscription): Promise<Due[]> {
    const due = entries.filter((entry) => revokeDue(subscription, entry));
    const leavers = due.filter((entry) => entry.kind === "leaver");
    const held = await this.#heldOf(leavers, subscription);
    return due
      .filter((entry) => entry.kind === "main" || !held.has(recordName(entry)))
      .map((entry) => ({ kind: "remove", entry, cause: "REVOKED" }));
  }

  /**
   * False for what was encoded before a field was hidden or a scope narrowed. Encoded anew it gets a new seq, beyond
   * the position, and there is no checkpoint before that.
   */
  #isReadable(entry: Entry): boolean {
    if (entry.kind === "leaver") return true;
    return entry.schema >= (collectionState(this.snapshot.state, entry.key.c)?.oldestReadable ?? 0);
  }

  /** Names of the records, among those that left a feed, that the client holds through another. */
  async #heldOf(leavers: readonly Entry[], subscription: Subscription): Promise<Set<string>> {
    if (leavers.length === 0) return new Set();
    const keys = leavers
      .filter((entry): entry is LeaverEntry => entry.kind === "leaver")
      .map(({ key }) => key);
    const mains = await this.snapshot.mainEntries(keys);
    return new Set(mains.filter((main) => isHeld(subscription, main)).map(recordName));
  }
}
