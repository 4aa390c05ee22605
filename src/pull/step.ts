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
import type { Seq } from "../model/seq.ts";
import type { Schema } from "../schema/schema.ts";
import { type Due, encodeDue, recordName } from "./due.ts";
import { feedsOf, isHeld, putDue, removeDue, type Standing, type Subscription } from "./subscription.ts";

/** Subscribers that hold the same feeds. */
export interface Audience {
  /** Unique among the audiences of a hub. */
  readonly id: number;
  readonly held: ReadonlyMap<Feed, Standing>;
}

/** How a subscriber wants its frames; those with equal variants share them. */
export interface Variant {
  readonly audience: Audience;
  readonly recordForm: "PROTO" | "JSON";
  /** The client has all of its feeds up to `after`, so fields that changed since will do. */
  readonly deltas: boolean;
  readonly batchBytesMax: number;
  /** Where the subscriber stands. */
  readonly after: Seq;
}

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
  readonly #frames = new Map<string, readonly Frame[] | undefined>();
  readonly #changes = new Map<string, EncodedChange>();
  readonly #entriesByFeed = new Map<Feed, Entry[]>();
  readonly #mains = new Map<string, MainEntry>();
  #checkpoint: Frame | undefined;

  /** @param onGrowth told of the bytes of frames made later. */
  constructor(source: StepSource, schema: Schema, onGrowth: (bytes: number) => void) {
    this.source = source;
    this.#schema = schema;
    this.#onGrowth = onGrowth;
    for (const entry of source.entries) this.#index(entry);
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

  /** The time of its checkpoint; undefined: the log is not settled, so there is none. */
  get clock(): CommitClock | undefined {
    return settledClock(this.source.state);
  }

  /** For all who have this step; only if there is a `clock`. */
  checkpoint(clock: CommitClock): Frame {
    this.#checkpoint ??= checkpointFrame(this.head, clock);
    return this.#checkpoint;
  }

  /** The frames of a variant, perhaps none; undefined: something in them concerns one subscriber alone. */
  framesFor(variant: Variant): readonly Frame[] | undefined {
    const { audience, recordForm, deltas, batchBytesMax, after } = variant;
    const name = `${audience.id} ${recordForm} ${deltas} ${batchBytesMax} ${after}`;
    if (this.#frames.has(name)) return this.#frames.get(name);
    const frames = this.#makeFrames(variant);
    this.#frames.set(name, frames);
    this.#onGrowth((frames ?? []).reduce((sum, { bytes }) => sum + bytes.length, name.length + FRAMES_BYTES));
    return frames;
  }

  #index(entry: Entry): void {
    if (entry.kind === "main") this.#mains.set(recordName(entry), entry);
    for (const feed of feedsOf(entry)) {
      const entries = this.#entriesByFeed.get(feed);
      if (entries) entries.push(entry);
      else this.#entriesByFeed.set(feed, [entry]);
    }
  }

  #makeFrames({ audience, recordForm, deltas, batchBytesMax, after }: Variant): Frame[] | undefined {
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
const FRAMES_BYTES = 200;
