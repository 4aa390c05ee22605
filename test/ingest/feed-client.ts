// A client of one feed as the log serves it: whole records and deltas by since and marks, removes by leavers. If marks
// or since are wrong, what it holds differs from the entries.
import type { LeaverEntry, MainEntry } from "../../src/log/entry.ts";
import { pickFields } from "../../src/schema/delta.ts";
import type { LogContents } from "./log-checker.ts";

const FIELDS = Array.from({ length: 20 }, (_, index) => index + 1);

/** Field number → its bytes. */
type Held = ReadonlyMap<number, string>;

export class FeedClient {
  readonly #feed: string;
  readonly #held = new Map<string, Held>();
  #checkpoint = 0;

  constructor(feed: string) {
    this.#feed = feed;
  }

  /** Goes on to the log's head; what is wrong with what it then holds. Only for settled logs within the horizon. */
  advance({ state, mains, leavers }: LogContents): string[] {
    const faults: string[] = [];
    const mine = mains.filter(({ feeds }) => feeds.includes(this.#feed));
    const present = new Set(mine.map(({ recordId, key }) => `${key.c}/${recordId}`));
    for (const main of mine) if (main.seq > this.#checkpoint) faults.push(...this.#put(main));
    for (const leaver of leavers) if (this.#isNews(leaver)) this.#remove(leaver, present);
    for (const main of mine) {
      const held = this.#held.get(`${main.key.c}/${main.recordId}`);
      if (textOf(held) !== textOf(fieldsOf(main)))
        faults.push(`a client of ${this.#feed} holds another ${main.recordId}`);
    }
    for (const text of this.#held.keys())
      if (!present.has(text)) faults.push(`a client of ${this.#feed} still holds ${text}`);
    this.#checkpoint = state.head;
    return faults;
  }

  #put(main: MainEntry): string[] {
    const text = `${main.key.c}/${main.recordId}`;
    const now = fieldsOf(main);
    const held = this.#held.get(text);
    if (main.since > this.#checkpoint) {
      this.#held.set(text, now);
      return [];
    }
    if (!held) return [`a client of ${this.#feed} gets a delta of ${text}, which it doesn't hold`];
    const changed = [...main.marks].filter(([, mark]) => mark > this.#checkpoint).map(([field]) => field);
    this.#held.set(
      text,
      new Map([...held, ...changed.map((field): [number, string] => [field, now.get(field) ?? ""])]),
    );
    return [];
  }

  #isNews({ key, seq }: LeaverEntry): boolean {
    return key.f === this.#feed && seq > this.#checkpoint;
  }

  #remove({ key, recordId }: LeaverEntry, present: ReadonlySet<string>): void {
    if (!present.has(`${key.c}/${recordId}`)) this.#held.delete(`${key.c}/${recordId}`);
  }
}

function fieldsOf({ record }: MainEntry): Held {
  return new Map(FIELDS.map((field) => [field, Buffer.from(pickFields(record, [field])).toString("hex")]));
}

function textOf(held: Held | undefined): string {
  return JSON.stringify([...(held ?? [])].filter(([, bytes]) => bytes !== ""));
}
