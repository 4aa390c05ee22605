// Packs on a real log: first syncs through them show what the log shows, whatever has changed since; they are used, as
// ones that were tampered with tell; and they are made, replaced, given up and dropped as they should be.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readPacked } from "../../src/frames/packed.ts";
import { readState } from "../../src/log/log.ts";
import {
  claimPack,
  dropPack,
  dropUnusablePacks,
  type Pack,
  publishPack,
  readPacks,
  writePackBlock,
} from "../../src/log/packs.ts";
import { silentLogger } from "../../src/model/logger.ts";
import { PackMaker } from "../../src/pull/pack-maker.ts";
import type { Pull } from "../../src/pull/pull.ts";
import { Device, hex } from "./device.ts";
import { FakeClock } from "./fake-clock.ts";
import { catchUp, type Fixture, followAll, framesOfPull, openFixture, principal } from "./fixture.ts";
import { linesOf } from "./frame-text.ts";
import { ANA, put, remove, TEAM, todo } from "./world.ts";

const settings = { packRecordsMin: 3, packChangedShareMax: 1 };
const IDS = ["a", "b", "c", "d", "e"];

let fixture: Fixture;
let clock: FakeClock;
let maker: PackMaker;
let pull: Pull;
let ana: Device;

beforeEach(async () => {
  fixture = await openFixture();
  clock = new FakeClock();
  pull = fixture.node(clock, settings);
  maker = new PackMaker({ log: fixture.log, clock, logger: silentLogger, settings });
  ana = new Device(principal("ana", ["user:ana", "user:team"]));
});

afterEach(async () => {
  await maker.close();
  await fixture.close();
});

/** Has the feed packed, unless there is a reason not to, or somebody else is at it. */
async function tryPack(feed = ANA): Promise<Pack | undefined> {
  maker.consider(feed, fixture.world.head);
  await maker.idle();
  const [made] = await readPacks(fixture.log, [feed]);
  return made;
}

/** The same as of now, whatever the node of the test is making by itself. */
async function pack(feed = ANA): Promise<Pack> {
  for (;;) {
    const made = await tryPack(feed);
    if (made?.seq === fixture.world.head) return made;
    if (made) await dropPack(fixture.log, made);
  }
}

/** Resolves once a pack is published. */
async function nextPack(work: () => Promise<void>): Promise<void> {
  const match = { $match: { "updateDescription.updatedFields.made": { $exists: true } } };
  const published = fixture.log.packs.watch([match]);
  const first = published.next();
  await work();
  await first;
  await published.close();
}

/** Puts a record into the pack that the log doesn't have so. */
async function tamper(): Promise<void> {
  const block = await fixture.log.packBlocks.findOne({});
  if (!block) throw new Error("there is no pack");
  const bytes = Buffer.from(block.changes.buffer);
  bytes.write("PACKED", bytes.indexOf("TITLE!"));
  block.changes.buffer = bytes;
  await fixture.log.packBlocks.replaceOne({ _id: block._id }, { after: block.after, changes: block.changes });
}

async function writeFive(): Promise<void> {
  await fixture.write(IDS.map((id) => put(id, { title: "TITLE!" })));
}

function linesSeen(device: Device): string[] {
  return device.frames.flatMap(linesOf);
}

/** The client's records are those of its feeds. */
function expectAll(device: Device, feeds = [ANA, TEAM]): void {
  const visible = fixture.world.visible(feeds);
  expect(device.holds).toEqual([...visible.keys()].sort());
  for (const [name, bytes] of visible) expect(device.bytesOf(name)).toBe(hex(bytes));
}

describe("pull: packs", () => {
  it("a first sync is sent what the pack has, in one piece, then stands at the head", async () => {
    await writeFive();
    expect(await pack()).toMatchObject({ feed: ANA, seq: 5, last: 5, records: 5, schema: 1 });
    await tamper();
    const puts = IDS.map((id, n) => `put todos/${id}@${n + 1}`);
    await ana
      .connect(pull, catchUp)
      .sees("opened 0/0 +5", ...puts, "batch 5", "checkpoint 5", "closed CAUGHT_UP");
    expect(ana.bytesOf("todos/a")).toBe(hex(todo("a", { title: "PACKED" })));
  });

  it("a client reads at length without one → the node makes it", async () => {
    await writeFive();
    await nextPack(() => ana.catchUp(pull));
    expect(await readPacks(fixture.log, [ANA])).toMatchObject([{ records: 5 }]);
  });

  it.each([
    ["fewer records than the setting", { packRecordsMin: 6 }],
    ["the setting 0", { packRecordsMin: 0 }],
  ])("%s → none is made", async (_, fewer) => {
    const node = fixture.node(clock, { ...settings, ...fewer });
    await writeFive();
    await ana.catchUp(node);
    await node.close();
    expect(await readPacks(fixture.log, [ANA])).toEqual([]);
  });

  it("what changed, left, came back or came anew since → as the log has it, and nothing that left", async () => {
    await writeFive();
    await pack();
    await fixture.write([put("a", { title: "new" }), remove("b"), put("c", {}, ["todos/user:other"])]);
    await fixture.write([put("d", {}, ["todos/user:other"]), put("f")]);
    await fixture.write([put("d", { title: "back" })]);
    await ana.catchUp(pull);
    expectAll(ana);
    expect(linesSeen(ana).join()).not.toMatch(/todos\/[bc]@/);
    expect(linesSeen(ana).filter((line) => line.startsWith("put"))).toHaveLength(4);
  });

  it("records of two held feeds, either packed or both → each once, in seq order", async () => {
    await fixture.write([put("t1", {}, [TEAM]), ...IDS.map((id) => put(id, {}, [ANA, TEAM]))]);
    await fixture.write([put("t2", {}, [TEAM]), put("own"), put("t3", {}, [TEAM])]);
    for (const feed of [ANA, TEAM]) {
      await pack(feed);
      const device = new Device(ana.principal);
      await device.catchUp(pull);
      expectAll(device);
      const versions = linesSeen(device).flatMap((line) => /@(\d+)$/.exec(line)?.[1] ?? []);
      expect(versions).toEqual(["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    }
  });

  it("cut after each frame, with the pack made anew, dropped or kept meanwhile → all the same", async () => {
    await writeFive();
    for (let frames = 1; frames <= 6; frames++) {
      await pack();
      const device = new Device(ana.principal);
      device.connect(pull, { ...catchUp, batchBytesMax: 1 });
      for (let n = 0; n < frames; n++) await device.next();
      device.disconnect();
      await fixture.write([put("b", { votes: frames }), put(`new${frames}`), remove(`new${frames - 1}`)]);
      if (frames % 3 === 1) await fixture.log.packs.deleteMany({});
      if (frames % 3 === 2) await pack();
      await device.catchUp(pull);
      expectAll(device);
    }
  });

  it("the pass' time is over in the middle of a block, batches of one record → the next pass goes on", async () => {
    await fixture.write(Array.from({ length: 1_500 }, (_, n) => put(`r${n}`)));
    await pack();
    ana.connect(pull, { ...catchUp, batchBytesMax: 1 });
    for (let frames = 0; frames < 700; frames++) await ana.next();
    clock.advance(6_000);
    while (await ana.next());
    expectAll(ana);
    expect(ana.client.records.size).toBe(1_500);
    expect(await readPacks(fixture.log, [ANA])).toHaveLength(1);
  });

  it("clients go away while the pack is read to them → it stays", async () => {
    await fixture.write(Array.from({ length: 9_000 }, (_, n) => put(`r${n}`)));
    const made = await pack();
    for (let frames = 1; frames <= 10; frames++) {
      const device = new Device(ana.principal);
      device.connect(pull, catchUp);
      for (let n = 0; n < frames; n++) await device.next();
      device.disconnect();
    }
    await ana.catchUp(pull);
    expectAll(ana);
    expect((await readPacks(fixture.log, [ANA]))[0]?.id).toEqual(made.id);
  });

  it("a byte budget → ends between two packed records", async () => {
    await writeFive();
    await pack();
    await ana
      .connect(pull, { ...catchUp, totalBytesMax: 70 })
      .sees("opened 0/0 +5", "put todos/a@1", "put todos/b@2", "batch 2", "closed BYTES_SPENT");
  });

  it("JSON form → made of each entry, not of the pack", async () => {
    await writeFive();
    await pack();
    await tamper();
    const request = { ...followAll, ...catchUp, recordForm: "JSON" } as const;
    const sent: Buffer[] = [];
    const frames = framesOfPull(pull, ana.principal, request, new AbortController().signal);
    for await (const { bytes } of frames) sent.push(Buffer.from(bytes));
    expect(Buffer.concat(sent).toString("latin1")).toMatch(/TITLE!(?!.*PACKED)/s);
  });

  it("a client that has a checkpoint with the feed → deltas as ever, no pack", async () => {
    await writeFive();
    await ana.catchUp(pull);
    await pack();
    await fixture.write(IDS.map((id) => put(id, { title: "TITLE!", votes: 1 })));
    await ana
      .connect(pull, catchUp)
      .sees("opened 5/5 +5", ...IDS.map((id, n) => `delta todos/${id}@${n + 6} 8`), "batch 10");
  });
});

describe("pull: packs that can't be used", () => {
  /** The log's own word came, not the tampered one. */
  async function expectUnused(): Promise<void> {
    await tamper();
    await ana.catchUp(pull);
    expectAll(ana);
  }

  it("more changed since than the share allows → unused, and made anew", async () => {
    const strict = fixture.node(clock, { ...settings, packChangedShareMax: 0.2 });
    await writeFive();
    await pack();
    await tamper();
    await fixture.write([put("b", { votes: 1 }), put("c", { votes: 1 })]);
    clock.advance(60_000);
    await nextPack(() => ana.catchUp(strict));
    expectAll(ana);
    expect(await readPacks(fixture.log, [ANA])).toMatchObject([{ seq: 7, records: 5 }]);
  });

  it("the horizon has passed it → traces of what left are gone, so it is unused, and upkeep drops it", async () => {
    await writeFive();
    await pack();
    await fixture.write([remove("b")]);
    const drops = fixture.world.forgetLeavers();
    await fixture.write([], { drops, state: { horizon: fixture.world.head } });
    await expectUnused();
    await pull.close();
    await dropUnusablePacks(fixture.log, await readState(fixture.log));
    expect(await fixture.log.packBlocks.countDocuments({ "_id.s": { $lte: 5 } })).toBe(0);
  });

  it("a field hidden since → unused", async () => {
    await writeFive();
    await pack();
    const todos = { name: "todos", generation: 2, fingerprint: "2", oldestReadable: 2, load: undefined };
    fixture.world.generation = 2;
    await fixture.write(
      IDS.map((id) => put(id, { votes: 1 })),
      { state: { collections: [todos] } },
    );
    await expectUnused();
  });

  it("another log → unused", async () => {
    await writeFive();
    await pack();
    await fixture.log.states.updateOne({ _id: "log" }, { $set: { epoch: "another" } });
    await expectUnused();
  });

  it.each(["missing", "cut short"])("a block %s → dropped, and all is read from the log", async (fault) => {
    await writeFive();
    await pack();
    if (fault === "missing") await fixture.log.packBlocks.deleteMany({});
    else {
      const block = await fixture.log.packBlocks.findOne({});
      if (!block) throw new Error("there is no pack");
      block.changes.buffer = block.changes.buffer.subarray(0, 100);
      block.changes.position = 100;
      await fixture.log.packBlocks.updateOne({ _id: block._id }, { $set: { changes: block.changes } });
    }
    await clock.advanceUntil(ana.catchUp(pull), 50);
    expectAll(ana);
    expect(await readPacks(fixture.log, [ANA])).toEqual([]);
  });
});

describe("pull: making packs", () => {
  it("one that is fresh isn't made again; one of which half the share has changed is, after a rest", async () => {
    await writeFive();
    const first = await tryPack();
    expect((await tryPack())?.id).toEqual(first?.id);
    await fixture.write([put("a", { votes: 1 }), put("b", { votes: 1 }), put("c", { votes: 1 })]);
    clock.advance(60_000);
    const second = await tryPack();
    expect(second?.seq).toBe(8);
    expect(await fixture.log.packBlocks.distinct("_id.p")).toEqual([second?.id]);
  });

  it("another node is making it → left to that; killed in the middle → made once its claim is over", async () => {
    await writeFive();
    const claim = await claimPack(fixture.log, ANA, clock.nowMs());
    if (!claim) throw new Error("nobody else makes it");
    await writePackBlock(fixture.log, claim, { after: 0, last: 3, changes: Buffer.from("half") });
    expect(await tryPack()).toBeUndefined();
    await ana.catchUp(fixture.node(clock));
    expectAll(ana);
    clock.advance(601_000);
    const made = await pack();
    expect(made.records).toBe(5);
    expect(await fixture.log.packBlocks.distinct("_id.p")).toEqual([made.id]);
    // The killed one was only slow: too late.
    expect(await publishPack(fixture.log, { ...made, id: claim.id })).toBe(false);
  });

  it("a record that goes in parts → the feed isn't packed, and nothing stays behind", async () => {
    await writeFive();
    await fixture.write([put("huge", { notes: "n".repeat(1_100_000) })]);
    expect(await tryPack()).toBeUndefined();
    expect(await fixture.log.packBlocks.countDocuments()).toBe(0);
    expect(await fixture.log.packs.countDocuments()).toBe(0);
  });

  it("a feed of nothing but traces of what left → not packed", async () => {
    await writeFive();
    await fixture.write(IDS.map(remove));
    expect(await tryPack()).toBeUndefined();
  });

  it("many records → several blocks, each read where the one before ended", async () => {
    await fixture.write(Array.from({ length: 2_500 }, (_, n) => put(`r${n}`, { title: "TITLE!" })));
    expect((await pack()).records).toBe(2_500);
    const blocks = await fixture.log.packBlocks.find().sort({ _id: 1 }).toArray();
    expect(blocks.map(({ changes }) => readPacked(changes.buffer).ends.length)).toEqual([1_000, 1_000, 500]);
    await ana.catchUp(pull);
    expectAll(ana);
  });
});
