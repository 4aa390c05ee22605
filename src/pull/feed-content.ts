// A subscription's feeds as compact bytes: feeds that stand alike together, by collection. Pure; the content of a
// token, or of a stored feed set. Strict when reading: what this file didn't write is refused as a whole.
import { collectionOfFeed, type Feed, feedOf, scopeOfFeed } from "../model/feed.ts";
import type { Seq } from "../model/seq.ts";
import type { Leaving, Standing, Subscription } from "./subscription.ts";

export type Feeds = Pick<Subscription, "held" | "leaving">;

export function writeFeeds({ held, leaving }: Feeds): Uint8Array {
  const groups = new Map<string, Group>();
  for (const [feed, { floor, join, cover }] of held) addTo(groups, [HELD, floor, join, cover], feed);
  for (const [feed, { done, join }] of leaving) addTo(groups, [LEAVING, done, join], feed);
  const out = new ByteWriter();
  for (const { numbers, collections } of groups.values()) {
    for (const number of numbers) out.number(number);
    out.number(collections.size);
    for (const [collection, scopes] of collections) {
      out.text(collection);
      out.number(scopes.length);
      for (const scope of scopes.sort()) out.text(scope);
    }
  }
  return out.bytes();
}

/** Undefined: not a feed content. */
export function readFeeds(bytes: Uint8Array): Feeds | undefined {
  const held = new Map<Feed, Standing>();
  const leaving = new Map<Feed, Leaving>();
  const from = new ByteReader(bytes);
  while (!from.isDone) {
    const kind = from.number();
    if (kind === HELD) {
      const standing = { floor: from.number(), join: from.number(), cover: from.number() };
      for (const feed of readGroup(from)) held.set(feed, standing);
    } else if (kind === LEAVING) {
      const standing = { done: from.number(), join: from.number() };
      for (const feed of readGroup(from)) leaving.set(feed, standing);
    } else return undefined;
    if (from.isBroken) return undefined;
  }
  return { held, leaving };
}

const HELD = 1;
const LEAVING = 2;

/** Feeds of equal standing. */
interface Group {
  /** The kind, and the standing's seqs. */
  readonly numbers: readonly Seq[];
  /** Collection → scopes. */
  readonly collections: Map<string, string[]>;
}

function addTo(groups: Map<string, Group>, numbers: readonly Seq[], feed: Feed): void {
  const name = numbers.join();
  const group = groups.get(name) ?? { numbers, collections: new Map<string, string[]>() };
  groups.set(name, group);
  const collection = collectionOfFeed(feed);
  const scopes = group.collections.get(collection);
  if (scopes) scopes.push(scopeOfFeed(feed));
  else group.collections.set(collection, [scopeOfFeed(feed)]);
}

function* readGroup(from: ByteReader): Generator<Feed, void, undefined> {
  for (let collections = from.number(); collections > 0 && !from.isBroken; collections--) {
    const collection = from.text();
    for (let scopes = from.number(); scopes > 0 && !from.isBroken; scopes--)
      yield feedOf(collection, from.text());
  }
}

class ByteWriter {
  readonly #pieces: Uint8Array[] = [];

  /** A non-negative safe integer, as a varint. */
  number(value: number): void {
    const piece: number[] = [];
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) piece.push((rest % 0x80) | 0x80);
    piece.push(rest);
    this.#pieces.push(Uint8Array.from(piece));
  }

  text(value: string): void {
    const bytes = Buffer.from(value);
    this.number(bytes.length);
    this.#pieces.push(bytes);
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#pieces);
  }
}

/** Reads past the end give zeros and empty texts, and leave it broken. */
class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;
  isBroken = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isDone(): boolean {
    return this.#at >= this.#bytes.length || this.isBroken;
  }

  number(): number {
    let value = 0;
    for (let unit = 1; unit <= Number.MAX_SAFE_INTEGER; unit *= 0x80) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) break;
      value += (byte & 0x7f) * unit;
      if (byte < 0x80 && Number.isSafeInteger(value)) return value;
    }
    this.isBroken = true;
    return 0;
  }

  text(): string {
    const length = this.number();
    const end = this.#at + length;
    if (end > this.#bytes.length) this.isBroken = true;
    if (this.isBroken) return "";
    const text = Buffer.from(this.#bytes.subarray(this.#at, end)).toString();
    this.#at = end;
    return text;
  }
}
