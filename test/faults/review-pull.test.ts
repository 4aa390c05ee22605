// Faults a review of pull found, each a promise broken once: kept so that they stay mended.
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { Timestamp } from "mongodb";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TodoSchema } from "#gen/demo/v1/todo_pb.js";
import { PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import { NOT_YET_KNOWN } from "../../src/log/state.ts";
import { Audiences, type Listener } from "../../src/pull/audiences.ts";
import type { Pull } from "../../src/pull/pull.ts";
import { Device } from "../pull/device.ts";
import { FakeClock } from "../pull/fake-clock.ts";
import { type Fixture, openFixture, principal } from "../pull/fixture.ts";
import { put } from "../pull/world.ts";

let fixture: Fixture;
let clock: FakeClock;
let pull: Pull;
let ana: Device;
let ben: Device;

beforeEach(async () => {
  fixture = await openFixture();
  clock = new FakeClock();
  pull = fixture.node(clock);
  ana = new Device(principal("ana", ["user:ana"]));
  ben = new Device(principal("ben", ["user:ana"]));
  await fixture.write([put("a", { title: "A", notes: "n" })]);
});

afterEach(() => fixture.close());

/** What a leader writes whose schema hides a field. */
const hiding = {
  state: {
    settledAfter: NOT_YET_KNOWN,
    collections: [{ name: "todos", generation: 2, fingerprint: "", oldestReadable: 2, load: undefined }],
  },
};
const unsettled = { state: { settledAfter: NOT_YET_KNOWN } };

function titleAndVotes(device: Device): [string, number] {
  const { title, votes } = fromBinary(
    TodoSchema,
    Uint8Array.from(device.client.records.get("todos/a")?.bytes ?? []),
  );
  return [title, votes];
}

function wasSent(device: Device, text: string): boolean {
  return device.frames.some((frame) =>
    Buffer.from(toBinary(PullChangesResponseSchema, frame)).includes(text),
  );
}

describe("pull: a generation withheld", () => {
  it("a pass went by an edit in it → the record encoded anew brings that edit, live too (P2)", async () => {
    await ana.catchUp(pull);
    await ben.connect(pull).sees("opened 0/0 +1", "put todos/a@1", "batch 1", "checkpoint 1");
    pull.onAppend(await fixture.write([put("a", { title: "A", notes: "n", votes: 5 })]));
    pull.onAppend(await fixture.write([], hiding));
    await ana.connect(pull, { heartbeatIntervalMs: 1_000 }).sees("opened 1/1 +1");
    // Heartbeats tell when the pass is over.
    const passed = (async () => {
      while (ana.client.cursor?.position !== 2n) if (!(await ana.next())) return;
    })();
    await clock.advanceUntil(passed, 100);
    const next = ana.next();
    fixture.world.generation = 2;
    pull.onAppend(await fixture.write([put("a", { title: "B", votes: 5 })], unsettled));
    await next;
    expect(titleAndVotes(ana)).toEqual(["B", 5]);
  });

  it("an append from before, read together with the hiding → not sent", async () => {
    pull.onAppend(await fixture.write([put("b")]));
    await ben
      .connect(pull)
      .sees("opened 0/0 +2", "put todos/a@1", "put todos/b@2", "batch 2", "checkpoint 2");
    pull.onAppend(await fixture.write([put("b", { votes: 1 })]));
    await ben.sees("delta todos/b@3 8", "batch 3", "checkpoint 3");
    await fixture.write([put("a", { title: "A", notes: "secret" })]);
    pull.onAppend(await fixture.write([], hiding));
    fixture.world.generation = 2;
    const sent = ben.next();
    pull.onAppend(await fixture.write([put("a", { title: "B" })]));
    await sent;
    expect(wasSent(ben, "secret")).toBe(false);
  });

  it("an append from before, not yet taken by a slow client → not sent after the hiding", async () => {
    await ben.connect(pull).sees("opened 0/0 +1", "put todos/a@1", "batch 1", "checkpoint 1");
    pull.onAppend(await fixture.write([put("b")]));
    await ben.sees("put todos/b@2", "batch 2", "checkpoint 2");
    pull.onAppend(await fixture.write([put("a", { title: "A", notes: "secret" })]));
    pull.onAppend(await fixture.write([], hiding));
    fixture.world.generation = 2;
    pull.onAppend(await fixture.write([put("a", { title: "B" })]));
    await ben.next();
    expect(wasSent(ben, "secret")).toBe(false);
  });
});

describe("pull: audiences", () => {
  it("a scope whose name holds a line break → never taken for two feeds of others (P6)", () => {
    const audiences = new Audiences();
    const listener = (id: string): Listener => ({ principalId: id, wake: () => {} });
    const two = audiences.join(listener("ana"), ["todos/team:t7", "todos/user:ana"], 0);
    const one = audiences.join(listener("eve"), ["todos/team:t7\ntodos/user:ana"], 0);
    expect([...one.held.keys()]).toEqual(["todos/team:t7\ntodos/user:ana"]);
    expect(one).not.toBe(two);
  });
});

describe("pull: the hub", () => {
  it("grants of an append whose instant can't be read any more → read as they are now", async () => {
    await ana.connect(pull).sees("opened 0/0 +1", "put todos/a@1", "batch 1", "checkpoint 1");
    pull.onAppend(await fixture.write([put("a", { votes: 1 })]));
    await ana.sees("delta todos/a@2 2,3,8", "batch 2", "checkpoint 2");
    const granted = await fixture.grant("zoe", ["user:zoe"], [put("a", { votes: 2 })]);
    pull.onAppend({ ...granted, time: new Timestamp({ t: 1, i: 1 }) });
    // Heartbeats come in between; a hub that is stuck lets the stream grow old.
    const told = (async () => {
      while (ana.client.cursor?.checkpoint !== 3n) if (!(await ana.next())) return;
    })();
    await clock.advanceUntil(told, 100);
    expect(ana.client.cursor?.checkpoint).toBe(3n);
    expect(titleAndVotes(ana)[1]).toBe(2);
  });
});

describe("pull: byte budgets", () => {
  it("nothing spent yet, a long append while live → one whole change, not all of it", async () => {
    await ana.catchUp(pull);
    await ana.connect(pull, { totalBytesMax: 150 }).sees("opened 1/1 +0", "checkpoint 1");
    const notes = "x".repeat(100);
    pull.onAppend(await fixture.write([put("c", { notes }), put("d", { notes }), put("e", { notes })]));
    await ana.sees("put todos/c@2", "batch 2", "closed BYTES_SPENT");
  });
});
