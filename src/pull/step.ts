// A step: what the log went on by, as live subscribers get it. Each variant of a change is encoded once, each batch
// made once for all who stand alike, when the first of them asks.
import { BatchCutter } from "../frames/batch.ts";
import type { EncodedChange } from "../frames/change.ts";
import { checkpointFrame, type Frame } from "../frames/frame.ts";
import type { Entry, LeaverEntry, MainEntry } from "../log/entry.ts";
import { isSettled, type LogState } from "../log/state.ts";
import { type CommitClock, commitClockOf } from "../model/commit-clock.ts";
import type { Feed } from "../model/feed.ts";
import type { Grants } from "../model/principal.ts";
import type { Selection } from "../model/pull-request.ts";
import type { Seq } from "../model/seq.ts";
import type { Schema } from "../schema/schema.ts";
import type { Audience } from "./audiences.ts";
import { type Due, encodeDue, recordName } from "./due.ts";
import { feedsOf, isHeld, putDue, removeDue, type Subscription } from "./subscription.ts";

/** How a subscriber wants its frames. Those who stand alike and want them alike share them. */
export interface Variant {
  readonly audience: Audience;
  readonly recordForm: Selection["recordForm"];
  readonly batchBytesMax: number;
}

/** A time up to which a client has everything, and the frames that tell it. */
export interface Checkpoint {
  readonly clock: CommitClock;
  readonly frames: Portion;
}

/** What a step sends in one go: at most about a mebibyte, or one frame. Never changed, never empty. */
export type Portion = readonly Frame[];

export interface StepSource {
  /** The revision this goes on from. */
  readonly base: number;
  readonly before: Seq;
  readonly state: LogState;
  /** All in (before, state.head]. */
  readonly entries: readonly Entry[];
  /** What memberships grant each principal asked about; undefined: no grant changed. */
  readonly grants: ReadonlyMap<string, Grants> | undefined;
}

export class Step {
  readonly source: StepSource;
  readonly #schema: Schema;
  readonly #onGrowth: (bytes: number) => void;
  /** Of those who stand where the step begins, with deltas and without. */
  readonly #withDeltas = new Map<Variant, readonly Portion[] | undefined>();
  readonly #whole = new Map<Variant, readonly Portion[] | undefined>();
  /** Of the others, by where they stand. */
  readonly #further = new Map<string, Map<Variant, readonly Portion[] | undefined>>();
  readonly #changes = new Map<string, EncodedChange>();
  readonly #entriesByFeed = new Map<Feed, Entry[]>();
  readonly #mains = new Map<string, MainEntry>();
  readonly #checkpoint: Checkpoint | undefined;

  /** @param onGrowth told of the bytes of frames made later. */
  constructor(source: StepSource, schema: Schema, onGrowth: (bytes: number) => void) {
    this.source = source;
    this.#schema = schema;
    this.#onGrowth = onGrowth;
    for (const entry of source.entries) this.#index(entry);
    const clock = settledClock(source.state);
    const { head } = source.state;
    this.#checkpoint = clock === undefined ? undefined : { clock, frames: [checkpointFrame(head, clock)] };
  }

  get revision(): number {
    return this.source.state.revision;
  }

  get head(): Seq {
    return this.source.state.head;
  }

  /** Feeds with entries in it. */
  get feeds(): Iterable<Feed> {
    return this.#entriesByFeed.keys();
  }

  /** What it takes in memory before any frame is made. */
  get sourceBytes(): number {
    const recordBytes = (entry: Entry) => (entry.kind === "main" ? entry.record.length : 0);
    return this.source.entries.reduce((sum, entry) => sum + ENTRY_BYTES + recordBytes(entry), ENTRY_BYTES);
  }

  /** The same for all who have this step; undefined: the log is not settled, so there is none. */
  get checkpoint(): Checkpoint | undefined {
    return this.#checkpoint;
  }

  /**
   * What a subscriber is sent, its checkpoint last; none: nothing of the step concerns it. Undefined: something in it
   * concerns this subscriber alone. The same objects for all who stand alike.
   * @param after the subscriber has everything up to here.
   * @param deltas it has all of its feeds up to there, so fields that changed since will do.
   */
  portionsFor(variant: Variant, after: Seq, deltas: boolean): readonly Portion[] | undefined {
    const known = this.#knownFor(after, deltas);
    const made = known.get(variant);
    if (made !== undefined || known.has(variant)) return made;
    const portions = this.#make(variant, after, deltas);
    known.set(variant, portions);
    return portions;
  }

  #knownFor(after: Seq, deltas: boolean): Map<Variant, readonly Portion[] | undefined> {
    if (after === this.source.before) return deltas ? this.#withDeltas : this.#whole;
    const name = `${after} ${deltas}`;
    const known = this.#further.get(name) ?? new Map<Variant, readonly Portion[] | undefined>();
    this.#further.set(name, known);
    return known;
  }

  #make(variant: Variant, after: Seq, deltas: boolean): readonly Portion[] | undefined {
    const frames = this.#makeFrames(variant, after, deltas);
    const portions = frames && this.#inPortions(frames);
    const bytes = (frames ?? []).reduce((sum, frame) => sum + frame.bytes.length, 0);
    // Writers make as much again of them.
    this.#onGrowth(2 * bytes + PORTIONS_BYTES);
    return portions;
  }

  #inPortions(frames: readonly Frame[]): readonly Portion[] {
    if (frames.length === 0) return NO_PORTIONS;
    const portions: Frame[][] = [[]];
    let bytes = 0;
    for (const frame of [...frames, ...(this.#checkpoint?.frames ?? [])]) {
      if (bytes > 0 && bytes + frame.bytes.length > PORTION_BYTES_MAX) {
        portions.push([]);
        bytes = 0;
      }
      portions.at(-1)?.push(frame);
      bytes += frame.bytes.length;
    }
    return portions;
  }

  #index(entry: Entry): void {
    if (entry.kind === "main") this.#mains.set(recordName(entry), entry);
    for (const feed of feedsOf(entry)) {
      const entries = this.#entriesByFeed.get(feed);
      if (entries) entries.push(entry);
      else this.#entriesByFeed.set(feed, [entry]);
    }
  }

  #makeFrames(variant: Variant, after: Seq, deltas: boolean): Frame[] | undefined {
    const { audience, recordForm, batchBytesMax } = variant;
    const subscription = {
      held: audience.held,
      leaving: NONE,
      position: after,
      checkpoint: deltas ? after : 0,
    };
    const cutter = new BatchCutter(batchBytesMax, after);
    const frames: Frame[] = [];
    for (const entry of this.#entriesOf(audience)) {
      const due = this.#dueOf(entry, subscription);
      const change = due && this.#encode(due, recordForm);
      if (change?.kind === "too-large") return undefined;
      if (change) frames.push(...cutter.add(change, entry.seq));
    }
    return [...frames, ...cutter.flush()];
  }

  /** In seq order, each once. */
  #entriesOf({ held }: Audience): readonly Entry[] {
    const [few, many] =
      held.size < this.#entriesByFeed.size ? [held, this.#entriesByFeed] : [this.#entriesByFeed, held];
    const feeds = [...few.keys()].filter((feed) => many.has(feed));
    const entries = feeds.flatMap((feed) => this.#entriesByFeed.get(feed) ?? []);
    return feeds.length === 1 ? entries : [...new Set(entries)].sort((a, b) => a.seq - b.seq);
  }

  #dueOf(entry: Entry, subscription: Subscription): Due | undefined {
    if (entry.kind === "leaver") {
      const isDue = removeDue(subscription, entry) && !this.#holds(subscription, entry);
      return isDue ? { kind: "remove", entry, cause: entry.reason } : undefined;
    }
    const changed = putDue(subscription, entry);
    return changed && { kind: "put", entry, changed };
  }

  /** A record that left a feed and still exists was written in the same append, so it is in this step or nowhere. */
  #holds(subscription: Subscription, leaver: LeaverEntry): boolean {
    const main = this.#mains.get(recordName(leaver));
    return main !== undefined && isHeld(subscription, main);
  }

  #encode(due: Due, recordForm: "PROTO" | "JSON"): EncodedChange {
    const detail = due.kind === "put" ? `${recordForm} ${due.changed.join()}` : due.cause;
    const name = `${due.entry.seq} ${detail}`;
    const known = this.#changes.get(name);
    if (known) return known;
    const change = encodeDue(due, { schema: this.#schema, request: { recordForm, wholeRecords: false } });
    this.#changes.set(name, change);
    this.#onGrowth(ENTRY_BYTES + (change.kind === "inline" ? change.bytes.length : 0));
    return change;
  }
}

/** The time up to which the log equals the source; undefined while it equals it at no single time. */
export function settledClock(state: LogState): CommitClock | undefined {
  return isSettled(state) && state.clock ? commitClockOf(state.clock) : undefined;
}

const NONE: Subscription["leaving"] = new Map();

/** An entry's objects besides its record, roughly. */
const ENTRY_BYTES = 400;
const PORTIONS_BYTES = 200;
const PORTION_BYTES_MAX = 1_048_576;
const NO_PORTIONS: readonly Portion[] = [];
