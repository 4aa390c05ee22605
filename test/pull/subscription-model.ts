// The subscription's rules in a world without a database: random writes, grants, selections, page sizes, budgets and
// crashes, against a client that stores cursor and records together. Each fault leaves one rule out.
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { TodoSchema } from "#gen/demo/v1/todo_pb.js";
import type { LeaverEntry, MainEntry } from "../../src/log/entry.ts";
import { collectionOfFeed, type Feed, wholeFeedOf } from "../../src/model/feed.ts";
import {
  align,
  checkpointed,
  feedsBeforeJoin,
  isHeld,
  left,
  moved,
  NOTHING,
  narrow,
  putDue,
  rangesLeaving,
  rangesToRead,
  removeDue,
  removedUpTo,
  revokeDue,
  type Subscription,
} from "../../src/pull/subscription.ts";
import { pickFields } from "../../src/schema/delta.ts";
import { fieldSpans } from "../../src/schema/wire-fields.ts";
import type { Random } from "../support/random.ts";
import { nameOf, todo, World, type WorldFaults } from "./world.ts";

/** Rules left out, one at a time. */
export interface Faults extends WorldFaults {
  /** A leaver is sent though the record is held through another feed. */
  readonly noSuppression?: boolean;
  /** A delta needs only an old `since`, in whatever feed. */
  readonly noCover?: boolean;
  /** Adding a feed leaves the position where it is. */
  readonly noBackfill?: boolean;
  /** The token forgets a feed taken away before its removes are sent. */
  readonly forgetsAtOnce?: boolean;
  /** A feed taken away stays in the token as if nothing had happened until its removes are sent. */
  readonly noLeavingMark?: boolean;
  /** The horizon is not looked at. */
  readonly noHorizon?: boolean;
  /** Leavers from before the client held their feed are sent. */
  readonly noJoin?: boolean;
  /** What left its feeds counts as gone from all of its collection, though it may be in another. */
  readonly goneFromOne?: boolean;
  /** Records that changed or left since their feed was packed are sent from the pack all the same. */
  readonly noPackExclusion?: boolean;
  /** A pack is used though the client may have records that left the feed before. */
  readonly noPackJoin?: boolean;
  /** A pack is used though traces of what left since are gone. */
  readonly noPackHorizon?: boolean;
}

/** A feed's records as they were at a seq. */
interface ModelPack {
  readonly seq: number;
  readonly entries: readonly MainEntry[];
}

const FEEDS = ["todos/a", "todos/b", "todos/c", "cities/a", "cities/b"];
/** What services hold, and nothing else. */
const WHOLE = ["todos/", "cities/"];
const IDS = ["r1", "r2", "r3"];

interface Disk {
  readonly records: ReadonlyMap<string, Uint8Array>;
  readonly cursor: Subscription | undefined;
  /** After a reset: those not put again yet. */
  readonly awaited: ReadonlySet<string>;
  readonly wanted: readonly string[];
}

export class Model {
  readonly #random: Random;
  readonly #faults: Faults;
  readonly #world: World;
  readonly #packs = new Map<Feed, ModelPack>();
  #granted: Feed[] = [];
  #horizon = 0;
  #wanted: readonly string[] = ["todos", "cities"];
  #records = new Map<string, Uint8Array>();
  #cursor: Subscription | undefined;
  #awaited = new Set<string>();
  #disk: Disk = { records: new Map(), cursor: undefined, awaited: new Set(), wanted: ["todos", "cities"] };
  /** Feeds each record was ever in while the client held them: what a remove may name. */
  readonly #mayName = new Set<string>();
  readonly broken = new Set<string>();

  constructor(random: Random, faults: Faults) {
    this.#random = random;
    this.#faults = faults;
    this.#world = new World(faults);
  }

  run(steps: number): void {
    for (let i = 0; i < steps; i++) this.#step();
    this.#connect({ entries: Number.POSITIVE_INFINITY });
  }

  #step(): void {
    const dice = this.#random.below(20);
    if (dice < 10) this.#write();
    else if (dice < 12)
      this.#granted = this.#random.below(4) ? FEEDS.filter(() => this.#random.below(2)) : WHOLE;
    else if (dice === 12) this.#select();
    else if (dice === 13) this.#forgetLeavers();
    else
      this.#connect({
        entries: this.#random.below(3) ? 1 + this.#random.below(4) : Number.POSITIVE_INFINITY,
      });
    if (this.#random.below(8) === 0) this.#pack(this.#random.of(FEEDS));
    if (this.#random.below(3) === 0) this.#store();
    if (this.#random.below(6) === 0) this.#crash();
  }

  #pack(feed: Feed): void {
    const entries = [...this.#world.mains.values()].filter(({ feeds }) => feeds.includes(feed));
    this.#packs.set(feed, { seq: this.#world.head, entries });
  }

  #write(): void {
    const collection = this.#random.of(["todos", "cities"]);
    const id = `${collection[0]}-${this.#random.of(IDS)}`;
    const feeds = FEEDS.filter((feed) => collectionOfFeed(feed) === collection && this.#random.below(2));
    const record = todo(id, { title: this.#random.of(["", "x", "y"]), votes: this.#random.below(3) });
    const isDeleted = this.#random.below(4) === 0 || feeds.length === 0;
    const old = [...this.#world.mains.values()].find(({ recordId }) => recordId === id);
    if (isDeleted && !old) return;
    this.#world.write([{ collection, id, row: isDeleted ? undefined : { feeds, record } }]);
    this.#noteNames();
  }

  #select(): void {
    this.#wanted = this.#random.of([["todos"], ["cities"], ["todos", "cities"]]);
    // Whoever narrows its selection drops the records itself.
    for (const name of this.#records.keys()) if (!this.#isWanted(name)) this.#records.delete(name);
    for (const name of this.#awaited) if (!this.#isWanted(name)) this.#awaited.delete(name);
    if (this.#cursor) this.#cursor = narrow(this.#cursor, (collection) => this.#wanted.includes(collection));
    this.#store();
  }

  #isWanted(name: string): boolean {
    return this.#wanted.includes(name.slice(0, name.indexOf("/")));
  }

  #forgetLeavers(): void {
    const seqs = [...this.#world.leavers.values()].map(({ seq }) => seq).sort((a, b) => a - b);
    const last = seqs[this.#random.below(seqs.length + 1)];
    if (last === undefined) return;
    for (const [name, { seq }] of this.#world.leavers) if (seq <= last) this.#world.leavers.delete(name);
    this.#horizon = Math.max(this.#horizon, last);
  }

  #store(): void {
    const [records, awaited] = [new Map(this.#records), new Set(this.#awaited)];
    this.#disk = { records, cursor: this.#cursor, awaited, wanted: this.#wanted };
  }

  #crash(): void {
    this.#records = new Map(this.#disk.records);
    this.#cursor = this.#disk.cursor;
    this.#awaited = new Set(this.#disk.awaited);
    this.#wanted = this.#disk.wanted;
  }

  /** One connection that delivers so many entries at most: reset, opened, removes, opened, entries, checkpoint. */
  #connect(budget: { entries: number }): void {
    const feeds = this.#granted.filter((feed) => this.#wanted.includes(collectionOfFeed(feed)));
    const before = this.#cursor ?? NOTHING;
    const horizon = this.#faults.noHorizon ? 0 : this.#horizon;
    const { subscription, reset } = align(before, { head: this.#world.head, horizon, feeds });
    if (reset) this.#reset(reset);
    const opened = this.#withFaults(subscription, before);
    this.#cursor = this.#faults.noLeavingMark && subscription.leaving.size > 0 ? before : opened;
    this.#noteNames(opened);
    let now = this.#faults.forgetsAtOnce ? left(opened) : opened;
    if (this.#faults.forgetsAtOnce) this.#cursor = now;
    if (this.#random.below(5) === 0) return;
    if (now.leaving.size > 0) {
      now = this.#revoke(now, budget);
      if (now.leaving.size > 0) return;
    }
    this.#deliver(now, budget);
  }

  #withFaults(now: Subscription, before: Subscription): Subscription {
    const standings = [...now.held].map(([feed, standing]) => {
      const cover = this.#faults.noCover ? 0 : standing.cover;
      return [feed, { ...standing, cover, join: this.#faults.noJoin ? 0 : standing.join }] as const;
    });
    const position = this.#faults.noBackfill ? Math.max(before.position, now.position) : now.position;
    return { ...now, held: new Map(standings), position };
  }

  #reset(collections: readonly string[] | "all"): void {
    for (const name of this.#records.keys()) {
      if (collections === "all" || collections.includes(name.slice(0, name.indexOf("/"))))
        this.#awaited.add(name);
    }
  }

  #revoke(start: Subscription, budget: { entries: number }): Subscription {
    let now = start;
    for (const entry of this.#read(rangesLeaving(start))) {
      if (budget.entries-- <= 0) {
        if (!this.#faults.noLeavingMark) this.#cursor = now;
        return now;
      }
      const isHeldElsewhere = entry.kind === "leaver" && this.#holdsMain(now, entry);
      if (revokeDue(now, entry) && !isHeldElsewhere) this.#remove(entry);
      now = removedUpTo(now, entry.seq);
    }
    this.#cursor = left(now);
    return left(now);
  }

  #deliver(start: Subscription, budget: { entries: number }): void {
    let now = start;
    for (const { entry, isPacked } of this.#readHeld(start)) {
      if (budget.entries-- <= 0) return;
      if (entry.kind === "main") this.#put(now, entry, isPacked);
      else if (removeDue(now, entry) && (this.#faults.noSuppression || !this.#holdsMain(now, entry)))
        this.#remove(entry);
      now = moved(now, entry.seq);
      this.#cursor = now;
    }
    this.#cursor = checkpointed(now, this.#world.head);
    for (const name of this.#awaited) this.#records.delete(name);
    this.#awaited.clear();
    this.#compare(this.#cursor);
  }

  /** Entries in seq order; those of feeds with a pack that can stand for them, up to its seq, from there. */
  #readHeld(now: Subscription) {
    const packed = new Map<number, MainEntry>();
    const starts = new Map(
      rangesToRead(now).flatMap(({ feeds, after }) => feeds.map((feed) => [feed, after])),
    );
    for (const [feed, { after, join }] of feedsBeforeJoin(now)) {
      const pack = this.#packs.get(feed);
      if (!pack || pack.seq <= after) continue;
      if (pack.seq > join && !this.#faults.noPackJoin) continue;
      if (pack.seq < this.#horizon && !this.#faults.noPackHorizon) continue;
      const later = this.#read([{ feeds: [feed], after: pack.seq }]).map(({ key }) => nameOf(key));
      const isLater = (entry: MainEntry) =>
        !this.#faults.noPackExclusion && later.includes(nameOf(entry.key));
      for (const entry of pack.entries)
        if (entry.seq > after && !isLater(entry)) packed.set(entry.seq, entry);
      starts.set(feed, pack.seq);
    }
    const read = this.#read([...starts].map(([feed, after]) => ({ feeds: [feed], after })));
    const others = [...packed.values()].filter(({ seq }) => read.every((entry) => entry.seq !== seq));
    return [
      ...read.map((entry) => ({ entry, isPacked: false })),
      ...others.map((entry) => ({ entry, isPacked: true })),
    ].sort((a, b) => a.entry.seq - b.entry.seq);
  }

  #read(ranges: ReturnType<typeof rangesToRead>) {
    return this.#world
      .entries()
      .filter(({ seq, ...entry }) =>
        ranges.some(({ feeds, after }) => seq > after && feedsOf(entry).some((feed) => feeds.includes(feed))),
      );
  }

  #put(now: Subscription, entry: MainEntry, isPacked: boolean): void {
    const changed = isPacked ? [] : putDue(now, entry);
    if (!changed) return;
    const name = nameOf(entry.key);
    if (!isHeld(now, entry) || !feedsOf(entry).some((feed) => this.#granted.includes(feed)))
      this.broken.add("leak");
    if (changed.length === 0) this.#records.set(name, entry.record);
    else {
      const held = this.#records.get(name);
      if (!held || this.#awaited.has(name)) this.broken.add("delta without base");
      const kept = fieldSpans(held ?? new Uint8Array())
        .map(({ number }) => number)
        .filter((n) => !changed.includes(n));
      const parts = [pickFields(held ?? new Uint8Array(), kept), pickFields(entry.record, changed)];
      this.#records.set(name, toBinary(TodoSchema, fromBinary(TodoSchema, Buffer.concat(parts))));
    }
    this.#awaited.delete(name);
  }

  #remove(entry: MainEntry | LeaverEntry): void {
    const name = nameOf(entry.key);
    if (!this.#mayName.has(name)) this.broken.add("remove of a record never visible");
    this.#records.delete(name);
    this.#awaited.delete(name);
  }

  #holdsMain(now: Subscription, { key }: LeaverEntry): boolean {
    const main = this.#world.mains.get(nameOf(key));
    if (main && this.#faults.goneFromOne) return main.feeds.some((feed) => now.held.has(feed));
    return main !== undefined && isHeld(now, main);
  }

  /** P6: a remove may name only what was in a feed while a cursor of the client's held it, in memory or on disk. */
  #noteNames(now = this.#cursor): void {
    const cursors = [now, this.#disk.cursor].filter((cursor) => cursor !== undefined);
    const feeds = cursors.flatMap(({ held, leaving }) => [...held.keys(), ...leaving.keys()]);
    for (const name of this.#world.visible(feeds).keys()) this.#mayName.add(name);
  }

  #compare({ held }: Subscription): void {
    const want = [...this.#world.visible(held.keys())].map(line).sort().join();
    const got = [...this.#records].map(line).sort().join();
    if (want !== got) this.broken.add("checkpoint ≠ source");
  }
}

function feedsOf(
  entry: Pick<MainEntry, "kind" | "key" | "feeds"> | Pick<LeaverEntry, "kind" | "key">,
): readonly Feed[] {
  const own = entry.kind === "main" ? entry.feeds : [entry.key.f];
  return [...own, wholeFeedOf(entry.key.c)];
}

function line([name, record]: readonly [string, Uint8Array]): string {
  return `${name}=${Buffer.from(record).toString("hex")}`;
}
