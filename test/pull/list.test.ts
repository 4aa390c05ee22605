// Pages: the same frames as a stream's, one page at a time, with and without waiting.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NOT_YET_KNOWN } from "../../src/log/state.ts";
import type { Cursor, ListRequest } from "../../src/model/pull-request.ts";
import type { Page, Pull } from "../../src/pull/pull.ts";
import { FakeClock } from "./fake-clock.ts";
import { decoded, type Fixture, followAll, openFixture, principal } from "./fixture.ts";
import { linesOf } from "./frame-text.ts";
import { put } from "./world.ts";

let fixture: Fixture;
let clock: FakeClock;
let pull: Pull;

const WEEK_MS = 7 * 86_400_000;

beforeEach(async () => {
  fixture = await openFixture();
  clock = new FakeClock();
  // Time runs faster here than the database: passes and streams don't age.
  pull = fixture.node(clock, { passTimeMaxMs: WEEK_MS, streamAgeMaxMs: WEEK_MS });
  await fixture.write([put("a"), put("b"), put("c")]);
});

afterEach(() => fixture.close());

function list(request: Partial<ListRequest> = {}, signal = new AbortController().signal): Promise<Page> {
  return pull.listChanges(principal("ana", ["user:ana"]), { ...followAll, waitMs: 0, ...request }, signal);
}

function lines({ frames }: Page): string[] {
  return frames.flatMap((frame) => linesOf(decoded(frame)));
}

async function caughtUp(): Promise<Cursor> {
  return (await list()).cursor;
}

describe("pull: pages", () => {
  it("all in one page → a Checkpoint is its last frame; the cursor stands there", async () => {
    const page = await list();
    expect(lines(page)).toEqual([
      ...["opened 0/0 +3", "put todos/a@1", "put todos/b@2", "put todos/c@3", "batch 3", "checkpoint 3"],
    ]);
    expect(page.cursor).toMatchObject({ position: 3, checkpoint: 3 });
  });

  it("max_batch_bytes → page by page, each with a cursor to go on from", async () => {
    const first = await list({ batchBytesMax: 60 });
    expect(lines(first)).toEqual(["opened 0/0 +3", "put todos/a@1", "put todos/b@2", "batch 2"]);
    const second = await list({ batchBytesMax: 60, cursor: first.cursor });
    expect(lines(second)).toEqual(["opened 2/0 +1", "put todos/c@3", "batch 3", "checkpoint 3"]);
  });

  it("nothing new and no wait → Opened and Checkpoint at once", async () => {
    expect(lines(await list({ cursor: await caughtUp() }))).toEqual(["opened 3/3 +0", "checkpoint 3"]);
  });

  it("waiting → answers with the next change", async () => {
    const cursor = await caughtUp();
    const page = list({ cursor, waitMs: 30_000 });
    await fixture.write([put("d", {}, ["todos/user:ben"])]);
    await fixture.write([put("a", { votes: 1 })]);
    expect(lines(await page).slice(-3)).toEqual(["delta todos/a@5 8", "batch 5", "checkpoint 5"]);
  });

  it("waiting in vain → answers when the wait is over, at most a minute", async () => {
    const page = list({ cursor: await caughtUp(), waitMs: 3_600_000 });
    const before = clock.nowMs();
    await clock.advanceUntil(page, 1_000);
    expect(lines(await page)).toEqual(["opened 3/3 +0", "checkpoint 3"]);
    expect(clock.nowMs() - before).toBeGreaterThanOrEqual(60_000);
  });

  it("an unsettled log → what there is, without a checkpoint", async () => {
    const cursor = await caughtUp();
    await fixture.write([put("a", { votes: 1 })], { state: { settledAfter: NOT_YET_KNOWN } });
    const page = await list({ cursor });
    expect(lines(page)).toEqual(["opened 3/3 +1", "delta todos/a@4 8", "batch 4"]);
    expect(page.cursor).toMatchObject({ position: 4, checkpoint: 3 });
  });

  it("drained while waiting → the page as it is", async () => {
    const cursor = await caughtUp();
    const page = list({ cursor, waitMs: 60_000 });
    // It has only just begun, so there is nothing in it; a page asked for after the drain is refused.
    pull.drain(100);
    expect(lines(await page)).toEqual([]);
    expect((await page).cursor).toEqual(cursor);
  });

  it("withheld while a page is being made → the page holds nothing of it", async () => {
    pull = fixture.node(clock, { readEntriesMax: 1, passTimeMaxMs: WEEK_MS, streamAgeMaxMs: WEEK_MS });
    await fixture.write(Array.from({ length: 600 }, (_, n) => put(`old${n}`)));
    let isDone = false;
    const page = list({ batchBytesMax: 2 ** 20 }).finally(() => {
      isDone = true;
    });
    const todos = { name: "todos", generation: 2, fingerprint: "new", oldestReadable: 2, load: undefined };
    fixture.world.generation = 2;
    const appended = await fixture.write([put("new")], { state: { collections: [todos] } });
    expect(isDone).toBe(false);
    pull.onAppend(appended);
    expect(lines(await page)).toEqual([
      "opened 0/0 +604",
      "put todos/new@604",
      "batch 604",
      "checkpoint 604",
    ]);
  });
});
