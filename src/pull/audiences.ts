// Who listens to what: subscribers that hold the same feeds form an audience; a step wakes the audiences it touches.
import type { Feed } from "../model/feed.ts";
import type { Audience, Step } from "./step.ts";
import type { Standing } from "./subscription.ts";

/** One stream, from its first pass to its end; `wake` must be cheap and never throw. */
export interface Listener {
  readonly principal: string;
  readonly wake: () => void;
}

interface Group extends Audience {
  readonly name: string;
  readonly listeners: Set<Listener>;
}

export class Audiences {
  readonly #groups = new Map<string, Group>();
  readonly #byFeed = new Map<Feed, Set<Group>>();
  readonly #groupOf = new Map<Listener, Group>();
  #nextId = 1;

  /** From now on the listener is woken by steps that touch these feeds. */
  join(listener: Listener, feeds: readonly Feed[]): Audience {
    this.leave(listener);
    const sorted = [...feeds].sort();
    // Whatever characters scopes hold, no two lists of feeds are spelled alike (P6).
    const name = JSON.stringify(sorted);
    const group = this.#groups.get(name) ?? this.#open(name, sorted);
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
    for (const group of touched) for (const listener of group.listeners) listener.wake();
  }

  wakeAll(): void {
    for (const listener of this.#groupOf.keys()) listener.wake();
  }

  #open(name: string, feeds: readonly Feed[]): Group {
    const held = new Map(feeds.map((feed) => [feed, AT_THE_HEAD]));
    const group: Group = { id: this.#nextId++, name, held, listeners: new Set() };
    this.#groups.set(name, group);
    for (const feed of feeds) {
      const groups = this.#byFeed.get(feed);
      if (groups) groups.add(group);
      else this.#byFeed.set(feed, new Set([group]));
    }
    return group;
  }
}

/** All of the feed is delivered; so any entry beyond the position is due. */
const AT_THE_HEAD: Standing = { floor: 0, join: 0, cover: 0 };
