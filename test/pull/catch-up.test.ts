// What a client that catches up is sent: each line of the contract, frame by frame, on a real log.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Pull } from "../../src/pull/pull.ts";
import { Device, hex } from "./device.ts";
import { FakeClock } from "./fake-clock.ts";
import { catchUp, type Fixture, openFixture, principal } from "./fixture.ts";
import { ANA, put, remove, TEAM, todo } from "./world.ts";

let fixture: Fixture;
let clock: FakeClock;
let pull: Pull;
let ana: Device;

beforeEach(async () => {
  fixture = await openFixture();
  clock = new FakeClock();
  pull = fixture.node(clock);
  ana = new Device(principal("ana", ["user:ana"]));
});

afterEach(() => fixture.close());

describe("pull: catching up", () => {
  it("an empty log → Opened, Checkpoint, Closed", async () => {
    await fixture.write([]);
    await ana.connect(pull, catchUp).sees("opened 0/0 +0", "checkpoint 0", "closed CAUGHT_UP");
    await ana.ends();
  });

  it("a fresh client → whole records in seq order, then a checkpoint at the source's time", async () => {
    const { state } = await fixture.write([put("a", { title: "A" }), put("b"), put("c", {}, [TEAM])]);
    await ana
      .connect(pull, catchUp)
      .sees(
        ...["opened 0/0 +2", "put todos/a@1", "put todos/b@2", "batch 2", "checkpoint 3", "closed CAUGHT_UP"],
      );
    const checkpoint = ana.frames.at(-2)?.frame;
    expect(checkpoint?.value).toMatchObject({
      commitClock: (BigInt((state.clock?.t ?? 0) - 1_600_000_000) << 32n) | 1n,
      time: { seconds: BigInt(state.clock?.t ?? 0) },
    });
    expect(ana.bytesOf("todos/a")).toBe(hex(todo("a", { title: "A" })));
  });

  it("nothing new since the cursor → Opened and a checkpoint", async () => {
    await fixture.write([put("a")]);
    await ana.catchUp(pull);
    await ana.connect(pull, catchUp).sees("opened 1/1 +0", "checkpoint 1", "closed CAUGHT_UP");
  });

  it("fields changed since the checkpoint → a delta of all of them; cleared ones listed without a value", async () => {
    await fixture.write([put("a", { title: "A", notes: "n", votes: 1 })]);
    await ana.catchUp(pull);
    await fixture.write([put("a", { title: "A", notes: "n", votes: 2 })]);
    await fixture.write([put("a", { title: "A", votes: 3 })]);
    await ana.connect(pull, catchUp).sees("opened 1/1 +1", "delta todos/a@3 3,8", "batch 3", "checkpoint 3");
    expect(ana.bytesOf("todos/a")).toBe(hex(todo("a", { title: "A", votes: 3 })));
  });

  it("whole_records → no delta", async () => {
    await fixture.write([put("a")]);
    await ana.catchUp(pull);
    await fixture.write([put("a", { votes: 1 })]);
    await ana
      .connect(pull, { ...catchUp, wholeRecords: true })
      .sees("opened 1/1 +1", "put todos/a@2", "batch 2");
  });

  it("deleted, or moved out of sight → a remove with its reason", async () => {
    await fixture.write([put("a"), put("b")]);
    await ana.catchUp(pull);
    await fixture.write([remove("a"), put("b", {}, [TEAM])]);
    await ana
      .connect(pull, catchUp)
      .sees(
        "opened 2/2 +2",
        "remove todos/a@3 DELETED",
        "remove todos/b@4 LEFT_SCOPE",
        "batch 4",
        "checkpoint 5",
      );
    expect(ana.holds).toEqual([]);
  });

  it("moved from one held feed to another → no remove, and whole: it entered a feed", async () => {
    ana.principal = principal("ana", ["user:ana", "user:team"]);
    await fixture.write([put("a")]);
    await ana.catchUp(pull);
    await fixture.write([put("a", { votes: 1 }, [TEAM])]);
    await ana.connect(pull, catchUp).sees("opened 1/1 +2", "put todos/a@3", "batch 3", "checkpoint 3");
  });

  it("deleted and created again → whole, no remove", async () => {
    await fixture.write([put("a", { votes: 1 })]);
    await ana.catchUp(pull);
    await fixture.write([remove("a")]);
    await fixture.write([put("a")]);
    await ana.connect(pull, catchUp).sees("opened 1/1 +1", "put todos/a@3", "batch 3", "checkpoint 3");
  });

  it("nothing visible changed but the feeds → whole, since an empty delta would say just that", async () => {
    ana.principal = principal("ana", ["user:ana", "user:team"]);
    await fixture.write([put("a", {}, [ANA, TEAM])]);
    await ana.catchUp(pull);
    await fixture.write([put("a", {}, [ANA])]);
    await ana.connect(pull, catchUp).sees("opened 1/1 +2", "put todos/a@3", "batch 3", "checkpoint 3");
  });

  it("changes beyond max_batch_bytes → several batches, each with its position", async () => {
    await fixture.write([put("a", { notes: "x".repeat(80) }), put("b", { notes: "x".repeat(80) }), put("c")]);
    await ana
      .connect(pull, { ...catchUp, batchBytesMax: 100 })
      .sees(
        ...[
          "opened 0/0 +3",
          "put todos/a@1",
          "batch 1",
          "put todos/b@2",
          "batch 2",
          "put todos/c@3",
          "batch 3",
        ],
      );
  });

  it("more entries than one read takes → all of them", async () => {
    const small = fixture.node(clock, { readEntriesMax: 3 });
    const ids = Array.from({ length: 20 }, (_, n) => `r${n}`);
    await fixture.write(ids.map((id) => put(id)));
    ana.connect(small, catchUp);
    while (await ana.next());
    expect(ana.holds).toEqual(ids.map((id) => `todos/${id}`).sort());
  });
});

describe("pull: byte budget", () => {
  const budget = { ...catchUp, totalBytesMax: 60 };

  it("one whole change, however large, then Closed(BYTES_SPENT); resuming goes on", async () => {
    await fixture.write([put("a", { notes: "x".repeat(500) }), put("b"), put("c")]);
    await ana.connect(pull, budget).sees("opened 0/0 +3", "put todos/a@1", "batch 1", "closed BYTES_SPENT");
    await ana.ends();
    await ana.connect(pull, budget).sees("opened 1/0 +2", "put todos/b@2", "put todos/c@3", "batch 3");
    await ana.sees("checkpoint 3", "closed CAUGHT_UP");
  });

  it("removes of a feed taken away → progress is kept in the cursor", async () => {
    await fixture.write(["a", "b", "c"].map((id) => put(id)));
    await ana.catchUp(pull);
    ana.principal = principal("ana", []);
    const tiny = { ...catchUp, totalBytesMax: 1 };
    await ana
      .connect(pull, tiny)
      .sees("opened 3/3 +3", "remove todos/a@1 REVOKED", "batch 3", "opened 3/3 +0", "closed BYTES_SPENT");
    await ana
      .connect(pull, tiny)
      .sees("opened 3/3 +2", "remove todos/b@2 REVOKED", "batch 3", "opened 3/3 +0", "closed BYTES_SPENT");
    await ana
      .connect(pull, tiny)
      .sees("opened 3/3 +1", "remove todos/c@3 REVOKED", "batch 3", "opened 3/3 +0", "checkpoint 3");
    expect(ana.holds).toEqual([]);
  });
});

describe("pull: large records", () => {
  const notes = "x".repeat(2_500_000);

  it("PROTO form → contiguous parts, then a batch that moves the position", async () => {
    await fixture.write([put("a"), put("b", { notes }), put("c")]);
    const total = todo("b", { notes }).length;
    await ana
      .connect(pull, { ...catchUp, batchBytesMax: 1_048_576 })
      .sees(
        ...["opened 0/0 +3", "put todos/a@1", "batch 1", `part todos/b@2 0+1048576/${total}`],
        ...[
          `part todos/b@2 1048576+1048576/${total}`,
          `part todos/b@2 2097152+${total - 2_097_152}/${total}`,
        ],
        ...["batch 2", "put todos/c@3", "batch 3", "checkpoint 3", "closed CAUGHT_UP"],
      );
    expect(ana.client.records.get("todos/b")?.bytes.length).toBe(total);
  });

  it("a large delta → parts that list what changed", async () => {
    await fixture.write([put("a", { title: "A" })]);
    await ana.catchUp(pull);
    await fixture.write([put("a", { title: "A", notes })]);
    await ana.catchUp(pull);
    expect(
      ana.frames.flatMap(({ frame }) => (frame.case === "part" ? [frame.value.changed] : [])),
    ).toContainEqual([3]);
    expect(ana.bytesOf("todos/a")).toBe(hex(todo("a", { title: "A", notes })));
  });
});
