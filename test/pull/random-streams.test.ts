// Random streams on a real log: writes, grants and selections change while clients follow, stop reading, crash and
// resume on two nodes with tiny limits. At each checkpoint a client's records must be those of its feeds at that head.
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TodoSchema } from "#gen/demo/v1/todo_pb.js";
import type { Append } from "../../src/log/append.ts";
import type { MainEntry } from "../../src/log/entry.ts";
import { NOT_YET_KNOWN } from "../../src/log/state.ts";
import { realClock } from "../../src/main.ts";
import { feedOf, wholeFeedOf } from "../../src/model/feed.ts";
import { grantsHeld, type Principal } from "../../src/model/principal.ts";
import type { Pull } from "../../src/pull/pull.ts";
import { feedsHeld } from "../../src/schema/scopes.ts";
import { PullClient, type Stored } from "../support/pull-client.ts";
import { type Random, randomOf, seedOf } from "../support/random.ts";
import { Device, hex } from "./device.ts";
import { demoSchema, type Fixture, openFixture, principal } from "./fixture.ts";
import { put, todo, type World } from "./world.ts";

const APPENDS = 120;
const CLIENTS = 4;
const OWN = "user:ana";
const SCOPES = [OWN, "user:b", "user:c", "public"];
const COLLECTIONS = ["todos", "cities"];
const IDS = ["r1", "r2", "r3", "r4"];

/** Everything small, so that every edge is met often. */
const settings = {
  readEntriesMax: 3,
  ringBytesMax: 8_000,
  passTimeMaxMs: 20,
  quietCheckpointMs: 2,
  packRecordsMin: 1,
  packChangedShareMax: 1,
};

let fixture: Fixture;
let history: History;

beforeEach(async () => {
  fixture = await openFixture(() => history.note(fixture.world));
  history = new History();
  history.note(fixture.world);
});

afterEach(() => fixture.close());

interface GrantNote {
  readonly head: number;
  readonly who: string;
  readonly scopes: readonly string[];
}

/** What the log showed at each head, and who held which scopes then. */
class History {
  readonly #states = new Map<number, ReadonlyMap<string, Pick<MainEntry, "feeds" | "record">>>();
  readonly #grants: GrantNote[] = [];
  /** Comes with the append under way. */
  granting: Omit<GrantNote, "head"> | undefined;

  note({ mains, head }: World): void {
    this.#states.set(head, new Map([...mains].map(([name, { feeds, record }]) => [name, { feeds, record }])));
    if (this.granting) this.#grants.push({ head, ...this.granting });
    this.granting = undefined;
  }

  /** Each thing a principal may have seen at a head: an append that only changes grants leaves the head as it is. */
  visible(head: number, who: Principal, collections: readonly string[]): string[] {
    const state = this.#states.get(head);
    if (!state) throw new Error(`a checkpoint at ${head}, where no append ended`);
    const own = this.#grants.filter((grant) => grant.who === who.id);
    const before = own.filter((grant) => grant.head < head).at(-1)?.scopes ?? [];
    const during = own.filter((grant) => grant.head === head).map(({ scopes }) => scopes);
    return [before, ...during].map((scopes) => {
      const memberships = new Map(scopes.map((scope) => [scope, "READ" as const]));
      const held = new Set(feedsHeld(demoSchema, grantsHeld(who, memberships), collections));
      const seen = [...state].filter(([name, { feeds }]) => {
        const whole = wholeFeedOf(name.slice(0, name.indexOf("/")));
        return who.isService ? held.has(whole) : feeds.some((feed) => held.has(feed));
      });
      return linesOf(seen.map(([name, { record }]) => [name, record]));
    });
  }
}

function linesOf(records: ReadonlyArray<readonly [string, Uint8Array]>): string {
  const lines = records.map(
    ([name, bytes]) => `${name} ${hex(toBinary(TodoSchema, fromBinary(TodoSchema, bytes)))}`,
  );
  return lines.sort().join("\n");
}

/** A client that follows, checks itself at every checkpoint, and crashes now and then. */
class Follower {
  readonly device: Device;
  readonly #random: Random;
  readonly #nodes: readonly Pull[];
  #stored: { at: Stored; collections: readonly string[] };
  #collections: readonly string[] = COLLECTIONS;
  checkpoints = 0;

  constructor(name: string, random: Random, nodes: readonly Pull[]) {
    this.device = new Device(principal(name, [OWN]));
    this.#random = random;
    this.#nodes = nodes;
    this.#stored = { at: this.device.client.store(), collections: COLLECTIONS };
  }

  /** Follows until it stands at `head` and `isOver`. */
  async run(isOver: () => number | undefined): Promise<void> {
    for (;;) {
      this.#connect();
      for (let frames = 3 + this.#random.below(60); ; frames--) {
        const response = await this.device.next();
        if (!response) break;
        if (response.frame.case === "opened") this.#dropUnselected();
        if (response.frame.case === "checkpoint") {
          this.check(Number(response.frame.value.position));
          if (Number(response.frame.value.position) === isOver()) return this.device.disconnect();
        }
        if (this.#random.below(4) === 0) this.#store();
        if (frames <= 0 && isOver() === undefined) break;
      }
      this.device.disconnect();
      if (this.#random.below(2)) this.#crash();
      if (this.#random.below(3) === 0) this.#select();
    }
  }

  /** Each time with a new token, which may make a service of it or no longer does. */
  #connect(): void {
    this.device.principal = { ...this.device.principal, isService: this.#random.below(4) === 0 };
    this.device.connect(this.#random.of(this.#nodes), {
      collections: this.#collections,
      batchBytesMax: this.#random.of([1, 60, 131_072]),
      totalBytesMax: this.#random.of([0, 0, 0, 100]),
      wholeRecords: this.#random.below(6) === 0,
      mode: this.#random.below(4) === 0 ? "CATCH_UP" : "FOLLOW",
    });
  }

  #store(): void {
    this.#stored = { at: this.device.client.store(), collections: this.#collections };
  }

  #crash(): void {
    this.device.client = PullClient.restored(this.#stored.at);
    this.#collections = this.#stored.collections;
  }

  #select(): void {
    this.#collections = this.#random.of([["todos"], ["cities"], COLLECTIONS]);
  }

  /** Who narrows its selection drops the records itself, with the cursor that no longer has them and not before. */
  #dropUnselected(): void {
    for (const name of this.device.client.records.keys()) {
      if (!this.#collections.includes(name.slice(0, name.indexOf("/"))))
        this.device.client.records.delete(name);
    }
  }

  check(head: number): void {
    this.checkpoints++;
    const got = linesOf([...this.device.client.records].map(([name, { bytes }]) => [name, bytes]));
    expect(history.visible(head, this.device.principal, this.#collections)).toContain(got);
  }
}

async function writeAtRandom(random: Random, tell: Pull): Promise<void> {
  for (let n = 0; n < APPENDS; n++) {
    const writes = Array.from({ length: random.below(4) }, () => {
      const collection = random.of(COLLECTIONS);
      const feeds = SCOPES.filter(() => random.below(2)).map((scope) => feedOf(collection, scope));
      const id = `${collection[0]}-${random.of(IDS)}`;
      const record = todo(id, {
        title: random.of(["", "x", "y"]),
        votes: random.below(3),
        notes: "n".repeat(random.below(90)),
      });
      const isDeleted = random.below(5) === 0 || feeds.length === 0;
      return { collection, id, row: isDeleted ? undefined : { feeds, record } };
    });
    const known = writes.filter(
      ({ id, collection, row }) => row || fixture.world.mains.has(`${collection}/${id}`),
    );
    const once = known.filter(({ id }, index) => known.findIndex((other) => other.id === id) === index);
    const who = `c${random.below(CLIENTS)}`;
    const scopes = SCOPES.filter(() => random.below(2));
    const isGrant = random.below(6) === 0;
    if (isGrant) history.granting = { who, scopes };
    const appended = isGrant
      ? await fixture.grant(who, scopes, once)
      : await fixture.write(once, settling(random, n));
    if (random.below(25) === 0) await forgetLeavers(tell);
    if (random.below(10) > 0) tell.onAppend(appended);
  }
}

/** The oldest leavers go: here, all of them. */
async function forgetLeavers(tell: Pull): Promise<void> {
  const drops = fixture.world.forgetLeavers();
  tell.onAppend(await fixture.write([], { drops, state: { horizon: fixture.world.head } }));
}

/** Now and then an append leaves the log unsettled; never the last. */
function settling(random: Random, n: number): Partial<Append> {
  return n < APPENDS - 1 && random.below(8) === 0 ? { state: { settledAfter: NOT_YET_KNOWN } } : {};
}

describe.each([1, 2, 3, 4, 5])("pull: random streams", (run) => {
  const seed = seedOf(run);

  it(`each checkpoint equals the source at its head, TIDEMARK_SEED=${seed}`, async () => {
    const nodes = [fixture.node(realClock, settings), fixture.node(realClock, settings)];
    const [leader] = nodes;
    if (!leader) throw new Error("no node");
    let end: number | undefined;
    const writing = writeAtRandom(randomOf(seed, "writes"), leader).then(() => {
      end = fixture.world.head;
    });
    const followers = Array.from({ length: CLIENTS }, (_, n) => {
      const random = randomOf(seed, `client ${n}`);
      return new Follower(`c${n}`, random, nodes);
    });
    await Promise.all([writing, ...followers.map((follower) => follower.run(() => end))]);
    expect(Math.min(...followers.map(({ checkpoints }) => checkpoints))).toBeGreaterThan(0);
    expect(await fixture.log.packs.countDocuments()).toBeGreaterThan(0);
  });
});

it("the checker of random streams: a record too few, too many or old → fails", async () => {
  const follower = new Follower("c0", randomOf("planted", "client"), [fixture.node(realClock, settings)]);
  const { head } = (await fixture.write([put("a"), put("b")])).state;
  const { records } = follower.device.client;
  const hold = (id: string, votes = 0) =>
    records.set(`todos/${id}`, { bytes: todo(id, { votes }), version: 1n });
  expect(() => follower.check(head)).toThrow();
  hold("a");
  hold("b");
  follower.check(head);
  hold("b", 1);
  expect(() => follower.check(head)).toThrow();
  hold("b");
  hold("c");
  expect(() => follower.check(head)).toThrow();
});
