// Who listens to what: subscribers that hold the same feeds form an audience; a step wakes the audiences it touches.
import type { Feed } from "../model/feed.ts";
import type { Selection } from "../model/pull-request.ts";
import type { Step, Variant } from "./step.ts";
import type { Standing } from "./subscription.ts";

/** One stream, from its first pass to its end; `wake` must be cheap and never throw. */
export interface Listener {
  readonly principalId: string;
  wake(): void;
}

/** Subscribers that hold the same feeds. */
export interface Audience {
  readonly held: ReadonlyMap<Feed, Standing>;
  /** The revision of the last step that touched its feeds, or before which none is known not to have. */
  readonly touchedAt: number;
  /** For subscribers that want their frames alike, the same object. */
  variant(recordForm: Selection["recordForm"], batchBytesMax: number): Variant;
}

export class Audiences {
  readonly #groups = new Map<string, Group>();
  readonly #byFeed = new Map<Feed, Set<Group>>();
  readonly #groupOf = new Map<Listener, Group>();

  /**
   * From now on the listener is woken by steps that touch these feeds.
   * @param revision of the last step: whether those before it touched these feeds, nobody has noted.
   */
  join(listener: Listener, feeds: readonly Feed[], revision: number): Audience {
    this.leave(listener);
    const sorted = [...feeds].sort();
    // Whatever characters scopes hold, no two lists of feeds are spelled alike (P6).
    const name = JSON.stringify(sorted);
    const group = this.#groups.get(name) ?? this.#open(name, sorted, revision);
    group.listeners.add(listener);
    this.#groupOf.set(listener, group);
    return group;
  }

  leave(listener: Listener): void {
    const group = this.#groupOf.get(listener);
    if (!group) return;
    this.#groupOf.delete(listener);
    group.listeners.delete(listener);
    if (group.listeners.size > 0) return;
    this.#groups.delete(group.name);
    for (const feed of group.held.keys()) {
      const groups = this.#byFeed.get(feed);
      groups?.delete(group);
      if (groups?.size === 0) this.#byFeed.delete(feed);
    }
  }

  wakeTouched(step: Step): void {
    const touched = new Set<Group>();
    for (const feed of step.feeds) for (const group of this.#byFeed.get(feed) ?? []) touched.add(group);
    // All of them before anybody reads on.
    for (const group of touched) group.touchedAt = step.revision;
    for (const group of touched) for (const listener of group.listeners) listener.wake();
  }

  wakeAll(): void {
    for (const listener of this.#groupOf.keys()) listener.wake();
  }

  #open(name: string, feeds: readonly Feed[], revision: number): Group {
    const group = new Group(name, feeds, revision);
    this.#groups.set(name, group);
    for (const feed of feeds) {
      const groups = this.#byFeed.get(feed);
      if (groups) groups.add(group);
      else this.#byFeed.set(feed, new Set([group]));
    }
    return group;
  }
}

class Group implements Audience {
  readonly name: string;
  readonly held: ReadonlyMap<Feed, Standing>;
  readonly listeners = new Set<Listener>();
  touchedAt: number;
  readonly #variants: Variant[] = [];

  constructor(name: string, feeds: readonly Feed[], revision: number) {
    this.name = name;
    this.held = new Map(feeds.map((feed) => [feed, AT_THE_HEAD]));
    this.touchedAt = revision;
  }

  variant(recordForm: Selection["recordForm"], batchBytesMax: number): Variant {
    const isIt = (one: Variant) => one.recordForm === recordForm && one.batchBytesMax === batchBytesMax;
    const known = this.#variants.find(isIt);
    if (known) return known;
    const made = { audience: this, recordForm, batchBytesMax };
    this.#variants.push(made);
    // Clients choose their batches' size: no list of all there ever were.
    if (this.#variants.length > VARIANTS_MAX) this.#variants.shift();
    return made;
  }
}

/** More are not shared, that is all. */
const VARIANTS_MAX = 16;

/** All of the feed is delivered; so any entry beyond the position is due. */
const AT_THE_HEAD: Standing = { floor: 0, join: 0, cover: 0 };
