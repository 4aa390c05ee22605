// How a stream lives and ends: heartbeats, drain, age, token expiry, abort; and that it leaves nothing behind.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NOT_YET_KNOWN } from "../../src/log/state.ts";
import type { Pull } from "../../src/pull/pull.ts";
import { Device } from "./device.ts";
import { FakeClock } from "./fake-clock.ts";
import { catchUp, type Fixture, followAll, openFixture, principal } from "./fixture.ts";
import { put } from "./world.ts";

let fixture: Fixture;
let clock: FakeClock;
let pull: Pull;
let ana: Device;

beforeEach(async () => {
  fixture = await openFixture();
  clock = new FakeClock();
  pull = fixture.node(clock, { streamAgeMaxMs: WEEK_MS });
  ana = new Device(principal("ana", ["user:ana"]));
});

afterEach(() => fixture.close());

const WEEK_MS = 7 * 86_400_000;
const unsettled = { settledAfter: NOT_YET_KNOWN };

describe("pull: heartbeats", () => {
  it.each([
    [undefined, 15_000],
    [1, 1_000],
    [30_000, 30_000],
    [10_000_000, 300_000],
  ])("asked for %s ms → %i ms, told in Opened and kept", async (heartbeatIntervalMs, granted) => {
    await fixture.write([put("a")]);
    await ana
      .connect(pull, { heartbeatIntervalMs })
      .sees("opened 0/0 +1", "put todos/a@1", "batch 1", "checkpoint 1");
    const opened = ana.frames[0]?.frame;
    expect(opened?.value).toMatchObject({ heartbeatInterval: { seconds: BigInt(granted / 1000) } });
    const next = ana.sees("checkpoint 1");
    clock.advance(granted - 1);
    clock.advance(1);
    await next;
    const another = ana.sees("checkpoint 1");
    clock.advance(granted);
    await another;
  });

  it("before the first checkpoint → empty batches that carry the position", async () => {
    await fixture.write([put("a"), put("b", {}, ["todos/user:ben"])], { state: unsettled });
    await ana.connect(pull).sees("opened 0/0 +1", "put todos/a@1", "batch 1");
    const reading = (async () => {
      while (ana.cursor?.position === 1 && (await ana.next()));
    })();
    await clock.advanceUntil(reading, 1_000);
    expect(ana.frames.at(-1)?.frame).toMatchObject({ case: "batch", value: { changes: [], position: 2n } });
    expect(ana.cursor).toMatchObject({ position: 2, checkpoint: 0 });
  });

  it("unsettled after a checkpoint → empty batches, then checkpoints again", async () => {
    pull.onAppend(await fixture.write([put("a")]));
    await ana.connect(pull).sees("opened 0/0 +1", "put todos/a@1", "batch 1", "checkpoint 1");
    pull.onAppend(await fixture.write([put("a", { votes: 1 })], { state: unsettled }));
    await ana.sees("delta todos/a@2 8", "batch 2");
    const beat = ana.sees("batch 2");
    clock.advance(15_000);
    await beat;
    pull.onAppend(await fixture.write([put("a", { votes: 2 })]));
    await ana.sees("delta todos/a@3 8", "batch 3", "checkpoint 3");
  });

  it("a client that doesn't read → none pile up, nothing spins", async () => {
    await fixture.write([put("a")]);
    await ana.connect(pull).sees("opened 0/0 +1", "put todos/a@1", "batch 1", "checkpoint 1");
    for (let i = 0; i < 10; i++) clock.advance(15_000);
    await ana.sees("checkpoint 1");
    const next = ana.sees("checkpoint 1");
    clock.advance(15_000);
    await next;
  });
});

describe("pull: a log that isn't settled", () => {
  it("CATCH_UP → waits for the checkpoint, with heartbeats", async () => {
    const base = await fixture.write([put("a")], { state: unsettled });
    pull.onAppend(base);
    await ana.connect(pull, catchUp).sees("opened 0/0 +1", "put todos/a@1", "batch 1");
    const beat = ana.sees("batch 1");
    clock.advance(15_000);
    await beat;
    const end = ana.sees("checkpoint 1", "closed CAUGHT_UP");
    pull.onAppend(await fixture.write([]));
    clock.advance(100);
    await end;
    await ana.ends();
  });
});

describe("pull: the end of a stream", () => {
  beforeEach(async () => {
    await fixture.write([put("a")]);
  });

  const opening = ["opened 0/0 +1", "put todos/a@1", "batch 1", "checkpoint 1"];

  it("drain → Closed(RECONNECT) with the time to wait; new calls are refused", async () => {
    await ana.connect(pull).sees(...opening);
    const end = ana.sees("closed RECONNECT 500ms");
    pull.drain(500);
    await end;
    await ana.ends();
    await ana.connect(pull).fails("SHUTTING_DOWN");
    const list = { ...followAll, waitMs: 0 };
    await expect(pull.listChanges(ana.principal, list, new AbortController().signal)).rejects.toMatchObject({
      reason: "SHUTTING_DOWN",
      details: { retryAfterMs: 500 },
    });
  });

  it("an old stream → Closed(RECONNECT)", async () => {
    await ana.connect(pull, { heartbeatIntervalMs: 300_000 }).sees(...opening);
    const end = ana.sees("closed RECONNECT");
    clock.advance(WEEK_MS);
    await end;
    await ana.ends();
  });

  it("an expired token → TOKEN_EXPIRED, after what was delivered", async () => {
    ana.principal = principal("ana", ["user:ana"], clock.nowMs() + 60_000);
    await ana.connect(pull).sees(...opening);
    const end = ana.fails("TOKEN_EXPIRED");
    clock.advance(60_000);
    await end;
    expect(ana.cursor).toMatchObject({ position: 1, checkpoint: 1 });
  });

  it("an aborted call → the stream just ends, also in the middle", async () => {
    await ana.connect(pull).sees(...opening);
    const end = ana.ends();
    ana.disconnect();
    await end;
    const other = new Device(ana.principal).connect(pull);
    await other.sees("opened 0/0 +1");
    other.disconnect();
    await other.ends();
  });

  it("aborted before its first frame → ends", async () => {
    ana.connect(pull).disconnect();
    await ana.ends();
  });
});
