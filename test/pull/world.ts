// A world for tests of pull: what the source holds, and the log entries that the design's rules make of it.
// Written anew here, apart from ingest, so that the two can be held against each other.
import { create, toBinary } from "@bufbuild/protobuf";
import { type Todo, TodoSchema } from "#gen/demo/v1/todo_pb.js";
import type { Append } from "../../src/log/append.ts";
import type { Entry, LeaverEntry, LeaverKey, MainEntry, RecordKey } from "../../src/log/entry.ts";
import { type Feed, wholeFeedOf } from "../../src/model/feed.ts";
import type { Seq } from "../../src/model/seq.ts";
import { fieldSpans } from "../../src/schema/wire-fields.ts";

/** A record as the source has it; undefined: deleted. */
export type Row = { readonly feeds: readonly Feed[]; readonly record: Uint8Array } | undefined;

export interface Write {
  readonly collection: string;
  readonly id: string;
  readonly row: Row;
}

export type LogChange = Required<Pick<Append, "entries" | "drops">>;

/** Planted faults: each breaks one rule of how entries are made. */
export interface WorldFaults {
  readonly recreationDropsLeavers?: boolean;
}

export class World {
  readonly mains = new Map<string, MainEntry>();
  readonly leavers = new Map<string, LeaverEntry>();
  head: Seq = 0;
  generation = 1;
  readonly #faults: WorldFaults;

  constructor(faults: WorldFaults = {}) {
    this.#faults = faults;
  }

  /** Makes the entries of an append; they are the world's from now on. */
  write(writes: readonly Write[]): LogChange {
    const changes = writes.map((write) => this.#writeOne(write));
    return {
      entries: changes.flatMap(({ entries }) => entries),
      drops: changes.flatMap(({ drops }) => drops),
    };
  }

  /** Takes all leavers away, as old ones are: their keys. */
  forgetLeavers(): LeaverKey[] {
    const keys = [...this.leavers.values()].map(({ key }) => key);
    this.leavers.clear();
    return keys;
  }

  /** All entries in seq order. */
  entries(): Entry[] {
    return [...this.mains.values(), ...this.leavers.values()].sort((a, b) => a.seq - b.seq);
  }

  /** The records in some of these feeds, by `<collection>/<id>`. */
  visible(feeds: Iterable<Feed>): Map<string, Uint8Array> {
    const held = new Set(feeds);
    const isSeen = ({ key, feeds }: MainEntry) =>
      [...feeds, wholeFeedOf(key.c)].some((feed) => held.has(feed));
    const seen = [...this.mains.values()].filter(isSeen);
    return new Map(seen.map((main) => [nameOf(main.key), main.record]));
  }

  #writeOne({ collection, id, row }: Write): LogChange {
    const key = { c: collection, k: id };
    const old = this.mains.get(nameOf(key));
    const before = old?.feeds ?? [];
    const after = row?.feeds ?? [];
    const joined = after.filter((feed) => !before.includes(feed));
    const left = before.filter((feed) => !after.includes(feed));
    const changed = old && row ? changedNumbers(old.record, row.record) : [];
    if (joined.length + left.length + changed.length === 0) return { entries: [], drops: [] };
    const leavers = left.map((feed) =>
      this.#leave(key, feed, after.length > 0 || row ? "LEFT_SCOPE" : "DELETED"),
    );
    const drops: Array<RecordKey | LeaverKey> = this.#rejoin(key, old ? joined : after, old === undefined);
    if (after.length === 0 || !row) {
      this.mains.delete(nameOf(key));
      return { entries: leavers, drops: [...drops, key] };
    }
    const main = this.#main({ key, row, old, isEntering: joined.length > 0, changed });
    return { entries: [...leavers, main], drops };
  }

  #leave(key: RecordKey, feed: Feed, reason: LeaverEntry["reason"]): LeaverEntry {
    const leaverKey = { ...key, f: feed };
    const base = { kind: "leaver", key: leaverKey, recordId: String(key.k), seq: ++this.head } as const;
    const leaver: LeaverEntry = { ...base, reason, atMs: 1_700_000_000_000, schema: this.generation };
    this.leavers.set(leaverName(leaverKey), leaver);
    return leaver;
  }

  #rejoin(key: RecordKey, feeds: readonly Feed[], isNew: boolean): LeaverKey[] {
    const gone = [...this.leavers.values()].filter(
      (leaver) =>
        nameOf(leaver.key) === nameOf(key) &&
        (feeds.includes(leaver.key.f) || (isNew && this.#faults.recreationDropsLeavers === true)),
    );
    for (const leaver of gone) this.leavers.delete(leaverName(leaver.key));
    return gone.map((leaver) => leaver.key);
  }

  #main(change: {
    key: RecordKey;
    row: NonNullable<Row>;
    old: MainEntry | undefined;
    isEntering: boolean;
    changed: readonly number[];
  }): MainEntry {
    const { key, row, old, isEntering, changed } = change;
    const seq = ++this.head;
    const marks = new Map([...(old?.marks ?? []), ...changed.map((field): [number, Seq] => [field, seq])]);
    const since = isEntering || !old ? seq : old.since;
    const feeds = [...row.feeds];
    const { record } = row;
    const base = { kind: "main", key, recordId: String(key.k), feeds, record, seq, since, marks } as const;
    const main: MainEntry = { ...base, schema: this.generation, load: 0 };
    this.mains.set(nameOf(key), main);
    return main;
  }
}

export const ANA = "todos/user:ana";
export const TEAM = "todos/user:team";

/** A todo, ana's own unless told otherwise. */
export function put(id: string, fields: TodoFields = {}, feeds: readonly Feed[] = [ANA]): Write {
  return { collection: "todos", id, row: { feeds, record: todo(id, fields) } };
}

export function remove(id: string): Write {
  return { collection: "todos", id, row: undefined };
}

type TodoFields = Partial<Omit<Todo, "$typeName" | "$unknown" | "id">>;

/** A todo's record, as ingest would encode it. */
export function todo(id: string, fields: TodoFields = {}): Uint8Array {
  return toBinary(TodoSchema, create(TodoSchema, { id, ...fields }));
}

export function nameOf({ c, k }: RecordKey): string {
  return `${c}/${k}`;
}

function leaverName(key: LeaverKey): string {
  return `${nameOf(key)} ${key.f}`;
}

function changedNumbers(before: Uint8Array, after: Uint8Array): number[] {
  const texts = (record: Uint8Array) =>
    new Map(
      fieldSpans(record).map(({ number, start, end }) => [
        number,
        Buffer.from(record.subarray(start, end)).toString("hex"),
      ]),
    );
  const [old, now] = [texts(before), texts(after)];
  return [...new Set([...old.keys(), ...now.keys()])].filter((number) => old.get(number) !== now.get(number));
}
