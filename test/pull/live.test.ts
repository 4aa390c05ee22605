// Live streams: what follows an append, who shares it, who must go back to catching up.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Frame } from "../../src/frames/frame.ts";
import { NOT_YET_KNOWN } from "../../src/log/state.ts";
import type { Pull } from "../../src/pull/pull.ts";
import { waitFor } from "../support/wait-for.ts";
import { Device, hex } from "./device.ts";
import { FakeClock } from "./fake-clock.ts";
import { type Fixture, followAll, framesOfPull, openFixture, principal } from "./fixture.ts";
import { ANA, put, remove, TEAM, todo } from "./world.ts";

let fixture: Fixture;
let clock: FakeClock;
let pull: Pull;
let ana: Device;

beforeEach(async () => {
  fixture = await openFixture();
  clock = new FakeClock();
  pull = fixture.node(clock);
  ana = new Device(principal("ana", ["user:ana", "user:team"]));
  await fixture.write([put("a", { title: "A", notes: "n" }), put("b")]);
});

afterEach(() => fixture.close());

const opening = ["opened 0/0 +2", "put todos/a@1", "put todos/b@2", "batch 2", "checkpoint 2"];

/** Both ways an append reaches a node: by hand on the leader's, through the database on all others. */
const ways = [
  ["the leader's node", (append: Parameters<Pull["onAppend"]>[0]) => pull.onAppend(append)],
  ["another node", () => {}],
] as const;

describe.each(ways)("pull: live on %s", (_, tell) => {
  it("appends → deltas, puts, removes, each with its checkpoint", async () => {
    await ana.connect(pull).sees(...opening);
    tell(await fixture.write([put("a", { title: "B" })]));
    await ana.sees("delta todos/a@3 2,3", "batch 3", "checkpoint 3");
    expect(ana.bytesOf("todos/a")).toBe(hex(todo("a", { title: "B" })));
    tell(await fixture.write([put("c"), remove("b")]));
    await ana.sees("put todos/c@4", "remove todos/b@5 DELETED", "batch 5", "checkpoint 5");
  });

  it("from one held feed to another → a put, no remove; out of sight → a remove", async () => {
    await ana.connect(pull).sees(...opening);
    tell(await fixture.write([put("b", {}, [TEAM])]));
    await ana.sees("put todos/b@4", "batch 4", "checkpoint 4");
    tell(await fixture.write([put("b", {}, ["todos/user:ben"])]));
    await ana.sees("remove todos/b@5 LEFT_SCOPE", "batch 5", "checkpoint 6");
  });

  it("a scope granted → Opened and a backfill, then live again", async () => {
    await fixture.write([put("theirs", {}, ["todos/user:crew"])]);
    await ana.connect(pull).sees(...opening.slice(0, -1), "checkpoint 3");
    tell(await fixture.grant("ana", ["user:crew"]));
    await ana.sees("opened 0/3 +1", "put todos/theirs@3", "batch 3", "checkpoint 3");
    tell(await fixture.write([put("theirs", { votes: 1 }, ["todos/user:crew"])]));
    // Whole: there was no checkpoint beyond the one before the feed was held.
    await ana.sees("put todos/theirs@4", "batch 4", "checkpoint 4");
    tell(await fixture.write([put("theirs", { votes: 2 }, ["todos/user:crew"])]));
    await ana.sees("delta todos/theirs@5 8", "batch 5", "checkpoint 5");
  });

  it("a scope revoked with the append that changes its records → nothing of the change is sent (P6)", async () => {
    await fixture.grant("ana", ["user:crew"], [put("theirs", {}, ["todos/user:crew"])]);
    await ana
      .connect(pull)
      .sees("opened 0/0 +3", ...opening.slice(1, 3), "put todos/theirs@3", "batch 3", "checkpoint 3");
    tell(await fixture.grant("ana", [], [put("theirs", { notes: "secret" }, ["todos/user:crew"])]));
    await ana.sees(
      "opened 3/3 +1",
      "remove todos/theirs@4 REVOKED",
      "batch 3",
      "opened 3/3 +0",
      "checkpoint 4",
    );
  });

  it("nothing changed for the client but the clock → a checkpoint soon, without other traffic (P4)", async () => {
    await ana.connect(pull).sees(...opening);
    tell(await fixture.write([]));
    const appended = await fixture.write([]);
    tell(appended);
    const seconds = BigInt(appended.state.clock?.t ?? 0) - 1_600_000_000n;
    const reading = (async () => {
      for (;;) {
        const frame = (await ana.next())?.frame;
        if (frame?.case !== "checkpoint") throw new Error(`${frame?.case} instead of a checkpoint`);
        if (frame.value.commitClock >> 32n >= seconds) return;
      }
    })();
    await clock.advanceUntil(reading, 50);
  });
});

describe("pull: live frames", () => {
  async function nextOf(frames: AsyncGenerator<Frame>): Promise<Frame> {
    const { value, done } = await frames.next();
    if (done) throw new Error("the stream has ended");
    return value;
  }

  async function standing(count: number, request = {}): Promise<AsyncGenerator<Frame>[]> {
    const { signal } = new AbortController();
    const streams = Array.from({ length: count }, () =>
      framesOfPull(pull, ana.principal, { ...followAll, ...request }, signal),
    );
    for (const stream of streams) while ((await nextOf(stream)).kind !== "checkpoint");
    return streams;
  }

  it("subscribers with the same feeds, form and variant → the very same frames", async () => {
    const streams = await standing(3);
    pull.onAppend(await fixture.write([put("a", { votes: 1 }), put("c")]));
    const batches = await Promise.all(streams.map(nextOf));
    const checkpoints = await Promise.all(streams.map(nextOf));
    expect(new Set(batches).size).toBe(1);
    expect(new Set(checkpoints).size).toBe(1);
  });

  it("another form or variant → frames of its own", async () => {
    const [one] = await standing(1);
    const [whole] = await standing(1, { wholeRecords: true });
    const [json] = await standing(1, { recordForm: "JSON" });
    pull.onAppend(await fixture.write([put("a", { votes: 1 })]));
    const frames = await Promise.all([one, whole, json].map((stream) => stream && nextOf(stream)));
    expect(new Set(frames.map((frame) => hex(frame?.bytes ?? []))).size).toBe(3);
  });

  it("an unsettled log → batches without checkpoints; deltas from what was delivered", async () => {
    await ana.connect(pull).sees(...opening);
    const state = { settledAfter: NOT_YET_KNOWN };
    pull.onAppend(await fixture.write([put("a", { title: "A" })], { state }));
    await ana.sees("delta todos/a@3 3", "batch 3");
    pull.onAppend(await fixture.write([put("a", { title: "C" })], { state }));
    await ana.sees("delta todos/a@4 2", "batch 4");
    pull.onAppend(await fixture.write([]));
    const seen = ana.sees("checkpoint 4");
    await clock.advanceUntil(seen, 100);
    expect(ana.bytesOf("todos/a")).toBe(hex(todo("a", { title: "C" })));
  });

  it("a long append → batches of about the size asked for", async () => {
    await ana.connect(pull, { batchBytesMax: 150 }).sees(...opening);
    const notes = "x".repeat(80);
    pull.onAppend(
      await fixture.write([put("c", { notes }), put("d", { notes }), put("e", { notes }, [ANA, TEAM])]),
    );
    await ana.sees(
      ...["put todos/c@3", "batch 3", "put todos/d@4", "batch 4", "put todos/e@5", "batch 5", "checkpoint 5"],
    );
  });

  it("a budget spent by live changes → Closed(BYTES_SPENT), resumable", async () => {
    await ana.connect(pull, { totalBytesMax: 150 }).sees(...opening);
    pull.onAppend(await fixture.write([put("c", { notes: "x".repeat(100) })]));
    await ana.sees("closed BYTES_SPENT");
    await ana.connect(pull).sees("opened 2/2 +1", "put todos/c@3", "batch 3", "checkpoint 3");
  });
});

describe("pull: a client that doesn't read", () => {
  it("falls out of the ring → catches up from where it stands; nobody else waits", async () => {
    pull = fixture.node(clock, { ringBytesMax: 5_000 });
    const slow = new Device(ana.principal);
    await slow.connect(pull).sees(...opening);
    await ana.connect(pull).sees(...opening);
    for (let n = 1; n <= 20; n++) {
      pull.onAppend(await fixture.write([put("a", { title: "A", notes: "n".repeat(500), votes: n })]));
      await ana.sees(
        n === 1 ? "delta todos/a@3 3,8" : `delta todos/a@${n + 2} 8`,
        `batch ${n + 2}`,
        `checkpoint ${n + 2}`,
      );
    }
    await slow.sees("delta todos/a@22 3,8", "batch 22", "checkpoint 22");
    pull.onAppend(await fixture.write([put("c")]));
    await slow.sees("put todos/c@23", "batch 23", "checkpoint 23");
  });

  it("in the middle of a pass → the pass is given up; the next goes on without loss", async () => {
    pull = fixture.node(clock, { readEntriesMax: 10, passTimeMaxMs: 1_000 });
    await fixture.write(Array.from({ length: 30 }, (_, n) => put(`r${n}`)));
    await ana.connect(pull, { batchBytesMax: 1 }).sees("opened 0/0 +32", "put todos/a@1", "batch 1");
    clock.advance(1_000);
    await fixture.write([put("r5", { votes: 1 }), remove("r29")]);
    while (ana.client.cursor?.checkpoint === 0n) await ana.next();
    expect(ana.holds).toEqual([...fixture.world.visible([ANA, TEAM]).keys()].sort());
    expect(ana.bytesOf("todos/r5")).toBe(hex(todo("r5", { votes: 1 })));
  });
});

describe("pull: a log rebuilt under live streams", () => {
  it("another epoch → reset EPOCH and everything again, on the same stream", async () => {
    await ana.connect(pull).sees(...opening);
    await fixture.log.states.updateOne({ _id: "log" }, { $set: { epoch: "another" }, $inc: { revision: 1 } });
    await ana.sees("reset EPOCH", ...opening);
  });

  it("the node hears of it while a client has just caught up with the old one → the same", async () => {
    const ben = new Device(ana.principal);
    await ben.connect(pull).sees(...opening);
    await ana.connect(pull).sees(...opening);
    const bens = ben.sees("reset EPOCH", ...opening);
    await fixture.log.states.updateOne({ _id: "log" }, { $set: { epoch: "another" }, $inc: { revision: 1 } });
    await bens;
    await ana.sees("reset EPOCH", ...opening);
  });
});

/** From now on entries of the first generation are withheld. */
function hiding() {
  const collection = { name: "todos", generation: 2, fingerprint: "new", oldestReadable: 2, load: undefined };
  fixture.world.generation = 2;
  return { state: { settledAfter: NOT_YET_KNOWN, collections: [collection] } };
}

const hasHeard = () => waitFor(() => pull.isPresent({ name: "todos", fingerprint: "new" }));

describe("pull: withheld generations", () => {
  it("entries older than the oldest readable generation → not sent until encoded anew", async () => {
    await fixture.write([put("b", { votes: 1 })], hiding());
    await ana.connect(pull).sees("opened 0/0 +2", "put todos/b@3", "batch 3");
    pull.onAppend(await fixture.write([put("a", { title: "A" })]));
    await ana.sees("put todos/a@4", "batch 4", "checkpoint 4");
    expect(ana.holds).toEqual(["todos/a", "todos/b"]);
  });

  it.each(ways)(
    "a pass is open on %s → not a byte more of what is withheld from then on (P6)",
    async (_, tell) => {
      await ana.connect(pull, { batchBytesMax: 1 }).sees("opened 0/0 +2", "put todos/a@1", "batch 1");
      tell(await fixture.write([put("c")], hiding()));
      await hasHeard();
      await ana.sees("put todos/c@3", "batch 3");
      pull.onAppend(await fixture.write([put("b", { votes: 1 }), put("a", { votes: 1 })]));
      await ana.sees("put todos/b@4", "batch 4", "put todos/a@5", "batch 5", "checkpoint 5");
    },
  );

  it.each(ways)("a large record is half sent on %s → the rest of it is not", async (_, tell) => {
    await fixture.write([put("a", { notes: "n".repeat(1_200_000) })]);
    await ana.connect(pull, { batchBytesMax: 131_072 }).sees("opened 0/0 +2", "put todos/b@2", "batch 2");
    expect((await ana.next())?.frame.case).toBe("part");
    tell(await fixture.write([put("c")], hiding()));
    await hasHeard();
    await ana.sees("put todos/c@4", "batch 4");
    expect(ana.holds).toEqual(["todos/b", "todos/c"]);
  });

  it.each(ways)("a live step is half sent on %s → the rest of it is not", async (_, tell) => {
    await ana
      .connect(pull, { batchBytesMax: 1 })
      .sees(...opening.slice(0, 2), "batch 1", "put todos/b@2", "batch 2");
    await ana.sees("checkpoint 2");
    const notes = "n".repeat(700_000);
    tell(await fixture.write([put("c", { notes }), put("d", { notes })]));
    await ana.sees("put todos/c@3", "batch 3");
    tell(await fixture.write([put("e")], hiding()));
    await hasHeard();
    await ana.sees("put todos/e@5", "batch 5");
  });
});
