// The subscription: which feeds a client holds, what it has of each, and so what it must be told of an entry.
// Pure. Everything here follows from the token and the two numbers beside it, so a stream and a client that comes
// back with the stored cursor stand alike (P5). Catch-up and live decide by the same functions.
import type { LeaverEntry, MainEntry } from "../log/entry.ts";
import type { FeedRange } from "../log/read.ts";
import { collectionOfFeed, type Feed, wholeFeedOf } from "../model/feed.ts";
import type { Seq } from "../model/seq.ts";

/** How a client stands with one feed it holds. */
export interface Standing {
  /** The feed's entries up to here are delivered, wherever the position is. */
  readonly floor: Seq;
  /**
   * Leavers up to here concern records the client never had through this feed. Kept for as long as the feed is held:
   * a client lying about its position would be told ids of records that left before it came (P6).
   */
  readonly join: Seq;
  /** The feed is covered once the client's checkpoint has reached this: it then has all of the feed up to there. */
  readonly cover: Seq;
}

/** A feed taken from the client, as long as it hasn't been told so of all the feed's records. */
export interface Leaving {
  /** Entries up to here are dealt with. */
  readonly done: Seq;
  /** Leavers up to here concern records the client doesn't have through this feed. */
  readonly join: Seq;
}

export interface Subscription {
  readonly held: ReadonlyMap<Feed, Standing>;
  readonly leaving: ReadonlyMap<Feed, Leaving>;
  readonly position: Seq;
  readonly checkpoint: Seq;
}

/** A client that has nothing. */
export const NOTHING: Subscription = { held: new Map(), leaving: new Map(), position: 0, checkpoint: 0 };

/** What one snapshot says about the feeds a client may hold. */
export interface View {
  readonly head: Seq;
  readonly horizon: Seq;
  /** Granted and asked for. */
  readonly feeds: readonly Feed[];
}

export interface Alignment {
  readonly subscription: Subscription;
  /** Collections to start over; "all"; undefined: none. */
  readonly reset: readonly string[] | "all" | undefined;
}

/**
 * Brings a subscription in line with what is granted now: feeds taken away begin to leave, new ones are held from
 * here on, and what the log no longer can resume starts over. Gives the very same subscription if nothing changed.
 */
export function align(before: Subscription, view: View): Alignment {
  const lost = lostCollections(before, view.horizon);
  const kept = lost.size > 0 ? withoutCollections(before, lost) : before;
  const isEmpty = kept.held.size === 0 && kept.leaving.size === 0;
  if (lost.size > 0 && isEmpty) return { subscription: regrant(NOTHING, view), reset: "all" };
  return { subscription: regrant(kept, view), reset: lost.size > 0 ? [...lost].sort() : undefined };
}

/** Drops the feeds of collections the client no longer asks for: it forgets them itself, and is told nothing. */
export function narrow(before: Subscription, isWanted: (collection: string) => boolean): Subscription {
  const feeds = [...before.held.keys(), ...before.leaving.keys()];
  const unwanted = new Set(feeds.map(collectionOfFeed).filter((name) => !isWanted(name)));
  return unwanted.size > 0 ? withoutCollections(before, unwanted) : before;
}

/**
 * Collections of which the client may have records whose leavers are gone. Even at position 0, and of a feed just
 * added, it may have some: those it kept when another feed of theirs was taken away.
 */
function lostCollections(subscription: Subscription, horizon: Seq): Set<string> {
  const { held, leaving } = subscription;
  const lostHeld = [...held].filter(([, standing]) => removesAfter(subscription, standing) < horizon);
  const lostLeaving = [...leaving].filter(([, { join }]) => join < horizon);
  return new Set([...lostHeld, ...lostLeaving].map(([feed]) => collectionOfFeed(feed)));
}

function withoutCollections(before: Subscription, collections: ReadonlySet<string>): Subscription {
  const isKept = ([feed]: readonly [Feed, unknown]) => !collections.has(collectionOfFeed(feed));
  return {
    ...before,
    held: new Map([...before.held].filter(isKept)),
    leaving: new Map([...before.leaving].filter(isKept)),
  };
}

function regrant(before: Subscription, { head, feeds }: View): Subscription {
  const granted = new Set(feeds);
  const gone = [...before.held].filter(([feed]) => !granted.has(feed));
  const back = [...before.leaving].filter(([feed]) => granted.has(feed));
  const added = feeds.filter((feed) => !before.held.has(feed) && !before.leaving.has(feed));
  if (gone.length + back.length + added.length === 0) return before;
  const held = new Map([...before.held].filter(([feed]) => granted.has(feed)));
  const leaving = new Map([...before.leaving].filter(([feed]) => !granted.has(feed)));
  for (const [feed, standing] of gone) leaving.set(feed, { done: 0, join: removesAfter(before, standing) });
  if (back.length + added.length === 0) return { ...before, held, leaving };
  for (const [feed, standing] of held) held.set(feed, raised(standing, before));
  // Covered by a later checkpoint than the present one, which knew nothing of the feed.
  const cover = Math.max(head, before.checkpoint + 1);
  // Some of its records may have been taken away already: all of them again, and all who left since.
  for (const [feed, { join }] of back) held.set(feed, { floor: 0, join, cover });
  for (const feed of added) held.set(feed, { floor: 0, join: head, cover });
  return { ...before, held, leaving, position: 0 };
}

/** The standing that says the same with the position back at 0; in few words, since tokens are short. */
function raised({ floor, join, cover }: Standing, { position, checkpoint }: Subscription): Standing {
  const delivered = Math.max(position, floor);
  return { floor: delivered, join: join <= delivered ? 0 : join, cover: cover <= checkpoint ? 0 : cover };
}

function removesAfter({ position }: Subscription, { floor, join }: Standing): Seq {
  return Math.max(position, floor, join);
}

/** What must be read to catch up, feeds of the same start together. */
export function rangesToRead({ held, position }: Subscription): FeedRange[] {
  return grouped([...held].map(([feed, { floor }]) => [feed, Math.max(position, floor)]));
}

/**
 * Feeds of which the client lacks what was in them before it came: from where on, and up to where nothing of them but
 * whole records can be due to it.
 */
export function feedsBeforeJoin({ held, position, checkpoint }: Subscription): Map<Feed, FeedStart> {
  const starts = new Map<Feed, FeedStart>();
  for (const [feed, { floor, join, cover }] of held) {
    const after = Math.max(position, floor);
    if (cover > checkpoint && after < join) starts.set(feed, { after, join });
  }
  return starts;
}

export interface FeedStart {
  /** Entries with a higher seq are read. */
  readonly after: Seq;
  readonly join: Seq;
}

/** What must be read to tell of the feeds taken away. */
export function rangesLeaving({ leaving }: Subscription): FeedRange[] {
  return grouped([...leaving].map(([feed, { done }]) => [feed, done]));
}

function grouped(starts: ReadonlyArray<readonly [Feed, Seq]>): FeedRange[] {
  const groups = new Map<Seq, Feed[]>();
  for (const [feed, after] of starts) {
    const feeds = groups.get(after);
    if (feeds) feeds.push(feed);
    else groups.set(after, [feed]);
  }
  return [...groups].map(([after, feeds]) => ({ feeds, after }));
}

/** Whether the record is the client's to see. */
export function isHeld({ held }: Subscription, { key, feeds }: Pick<MainEntry, "key" | "feeds">): boolean {
  return feeds.some((feed) => held.has(feed)) || held.has(wholeFeedOf(key.c));
}

/** The feeds an entry tells of: those it names, and all of its collection. */
export function feedsOf(entry: MainEntry | LeaverEntry): Feed[] {
  const whole = wholeFeedOf(entry.key.c);
  return entry.kind === "main" ? [...entry.feeds, whole] : [entry.key.f, whole];
}

/** How the client stands with those of an entry's feeds that it holds, or that leave it. */
function standingsIn<T>(standings: ReadonlyMap<Feed, T>, entry: MainEntry | LeaverEntry): T[] {
  const found: T[] = [];
  for (const feed of feedsOf(entry)) {
    const standing = standings.get(feed);
    if (standing !== undefined) found.push(standing);
  }
  return found;
}

/** Whether the client has had a checkpoint with each feed it holds. */
export function isCovered({ held, checkpoint }: Subscription): boolean {
  for (const { cover } of held.values()) if (cover > checkpoint) return false;
  return true;
}

const WHOLE: readonly number[] = [];

/** The fields the client must be sent of a record; empty: the whole record; undefined: nothing. */
export function putDue(subscription: Subscription, entry: MainEntry): readonly number[] | undefined {
  const { held, position, checkpoint } = subscription;
  let isDue = false;
  let isCovered = false;
  // One after the other, without a list of them: a first sync asks this of every entry.
  for (let i = 0; i <= entry.feeds.length; i++) {
    const standing = held.get(entry.feeds[i] ?? wholeFeedOf(entry.key.c));
    if (standing === undefined) continue;
    if (entry.seq > Math.max(position, standing.floor)) isDue = true;
    if (standing.cover <= checkpoint) isCovered = true;
  }
  if (!isDue) return undefined;
  return isCovered ? fieldsSince(entry, checkpoint) : WHOLE;
}

/**
 * The fields that changed after `base`, for a client that has all of a feed of the record up to there; empty: the
 * record must be whole, because it is new there, or nothing visible changed and a delta can't say so.
 */
function fieldsSince({ since, marks }: MainEntry, base: Seq): readonly number[] {
  if (since > base) return WHOLE;
  const changed: number[] = [];
  for (const [field, seq] of marks) if (seq > base) changed.push(field);
  return changed.sort((a, b) => a - b);
}

/**
 * Whether the client must hear that a record left this feed, unless it holds the record through another: of all of a
 * collection, too, a record is gone once it has left its feeds and entered none.
 */
export function removeDue(subscription: Subscription, entry: LeaverEntry): boolean {
  const standings = standingsIn(subscription.held, entry);
  return standings.some((standing) => entry.seq > removesAfter(subscription, standing));
}

/** As `removeDue`, for an entry of feeds taken away. A leaver is suppressed if the record is held; see `isHeld`. */
export function revokeDue(subscription: Subscription, entry: MainEntry | LeaverEntry): boolean {
  const standings = standingsIn(subscription.leaving, entry);
  if (entry.kind === "main") {
    return standings.some(({ done }) => entry.seq > done) && !isHeld(subscription, entry);
  }
  return standings.some(({ done, join }) => entry.seq > Math.max(done, join));
}

/** Everything up to `position` is delivered. */
export function moved(before: Subscription, position: Seq): Subscription {
  return position === before.position ? before : { ...before, position };
}

/** The client has heard of everything up to `position`, in feeds taken away, too. */
export function checkpointed(before: Subscription, position: Seq): Subscription {
  return { ...before, position, checkpoint: position };
}

/** The removes of entries up to `seq` are sent. */
export function removedUpTo(before: Subscription, seq: Seq): Subscription {
  const leaving = new Map(
    [...before.leaving].map(([feed, { done, join }]) => [feed, { done: Math.max(done, seq), join }]),
  );
  return { ...before, leaving };
}

/** The last remove is sent: the client has nothing left of the feeds taken away. */
export function left(before: Subscription): Subscription {
  return { ...before, leaving: new Map() };
}
