// Cursors a client may bring, its own and others', true and lying: what is accepted, what starts over, what is told.
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { dropFeedSetsBefore } from "../../src/log/feed-sets.ts";
import type { Cursor } from "../../src/model/pull-request.ts";
import type { Pull } from "../../src/pull/pull.ts";
import { Device } from "./device.ts";
import { FakeClock } from "./fake-clock.ts";
import { catchUp, type Fixture, openFixture, principal } from "./fixture.ts";
import { put, remove, TEAM } from "./world.ts";

let fixture: Fixture;
let pull: Pull;
let ana: Device;
let clock: FakeClock;

beforeEach(async () => {
  fixture = await openFixture();
  clock = new FakeClock();
  pull = fixture.node(clock);
  ana = new Device(principal("ana", ["user:ana"]));
  await fixture.write([put("a"), put("b")]);
  await ana.catchUp(pull);
});

afterEach(() => fixture.close());

/** As the device has it, with changes. */
function cursorWith(changes: Partial<Cursor>): { cursor: Cursor } {
  if (!ana.cursor) throw new Error("no cursor yet");
  return { cursor: { ...ana.cursor, ...changes } };
}

const fromTheStart = [
  "opened 0/0 +2",
  "put todos/a@1",
  "put todos/b@2",
  "batch 2",
  "checkpoint 2",
  "closed CAUGHT_UP",
];

describe("pull: cursors", () => {
  it("garbled anywhere → reset CURSOR, or EPOCH where the epoch is", async () => {
    const token = ana.cursor?.subscription ?? "";
    for (let at = 0; at < token.length; at += 5) {
      const garbled = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
      const device = new Device(ana.principal);
      device.connect(pull, { ...catchUp, ...cursorWith({ subscription: garbled }) });
      const reset = (await device.next())?.frame;
      expect(reset?.case, `character ${at}`).toBe("reset");
      device.disconnect();
    }
  });

  it.each([
    ["empty", ""],
    ["short", "x"],
    ["long", "A".repeat(1024)],
    ["too long", "A".repeat(5000)],
    ["not base64", "\u0000é"],
  ])("a token that is %s → reset CURSOR", async (_, subscription) => {
    await ana
      .connect(pull, { ...catchUp, ...cursorWith({ subscription }) })
      .sees("reset CURSOR", ...fromTheStart);
  });

  it("of another principal → reset CURSOR", async () => {
    const ben = new Device(principal("ben", ["user:ana"]));
    await ben.connect(pull, { ...catchUp, ...cursorWith({}) }).sees("reset CURSOR", ...fromTheStart);
  });

  it("of another epoch → reset EPOCH", async () => {
    await fixture.log.states.updateOne({ _id: "log" }, { $set: { epoch: randomUUID() } });
    await ana.connect(pull, catchUp).sees("reset EPOCH", ...fromTheStart);
    expect(ana.holds).toEqual(["todos/a", "todos/b"]);
  });

  it.each([{ position: 3 }, { checkpoint: 3 }, { position: Number.MAX_SAFE_INTEGER }])(
    "beyond the head (%j) → reset CURSOR",
    async (ahead) => {
      await ana.connect(pull, { ...catchUp, ...cursorWith(ahead) }).sees("reset CURSOR", ...fromTheStart);
    },
  );

  it("below the horizon → reset HORIZON; records not put again go at the checkpoint", async () => {
    await fixture.write([remove("a")]);
    await fixture.write([], { drops: fixture.world.forgetLeavers(), state: { horizon: 3 } });
    await ana
      .connect(pull, catchUp)
      .sees("reset HORIZON", "opened 0/0 +1", "put todos/b@2", "batch 2", "checkpoint 3", "closed CAUGHT_UP");
    expect(ana.holds).toEqual(["todos/b"]);
  });

  it("at the horizon → goes on", async () => {
    await fixture.write([], { state: { horizon: 2 } });
    await ana.connect(pull, catchUp).sees("opened 2/2 +0", "checkpoint 2", "closed CAUGHT_UP");
  });

  it("of a forgotten feed set → reset CURSOR", async () => {
    const many = Array.from({ length: 300 }, (_, n) => `user:${n}-with-a-rather-long-name`);
    ana.principal = principal("ana", ["user:ana", ...many]);
    await ana.catchUp(pull);
    await ana.connect(pull, catchUp).sees("opened 2/2 +0", "checkpoint 2");
    ana.disconnect();
    await dropFeedSetsBefore(fixture.log, clock.nowMs() + 1);
    await ana.connect(pull, catchUp).sees("reset CURSOR", ...fromTheStart);
  });
});

describe("pull: a lying client learns nothing (P6)", () => {
  beforeEach(async () => {
    await fixture.write([put("secret", {}, [TEAM]), put("kept", {}, [TEAM])]);
    await fixture.write([remove("secret")]);
    await fixture.grant("ana", ["user:team"]);
    await ana.catchUp(pull);
  });

  it("back at position 0 → no id of a record that left before the feed was held", async () => {
    await ana
      .connect(pull, { ...catchUp, ...cursorWith({ position: 0 }) })
      .sees("opened 0/5 +2", "put todos/kept@4", "batch 4", "checkpoint 5", "closed CAUGHT_UP");
  });

  it("a checkpoint it never had → at worst a delta of what it may see whole", async () => {
    await fixture.write([put("kept", { title: "T", votes: 1 }, [TEAM])]);
    await ana
      .connect(pull, { ...catchUp, ...cursorWith({ position: 0, checkpoint: 0 }) })
      .sees("opened 0/0 +2", "put todos/kept@6", "batch 6", "checkpoint 6", "closed CAUGHT_UP");
  });

  it("its token of yesterday, the scope revoked today → only ids of records of that feed", async () => {
    const before = cursorWith({});
    await fixture.grant("ana", [], [put("kept", { notes: "private" }, [TEAM])]);
    await ana.catchUp(pull);
    await ana
      .connect(pull, { ...catchUp, ...before, cursor: { ...before.cursor, position: 0, checkpoint: 0 } })
      .sees(
        ...["opened 0/0 +2", "remove todos/kept@6 REVOKED", "batch 0"],
        ...["opened 0/0 +0", "checkpoint 6", "closed CAUGHT_UP"],
      );
  });
});
