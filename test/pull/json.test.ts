// Records in JSON form: whole, as deltas, and too large to be sent.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { PullChangesResponse } from "#gen/tidemark/v1/pull_changes_pb.js";
import type { Frame } from "../../src/frames/frame.ts";
import type { Cursor, PullRequest } from "../../src/model/pull-request.ts";
import type { Pull } from "../../src/pull/pull.ts";
import { FakeClock } from "./fake-clock.ts";
import { decoded, type Fixture, followAll, framesOfPull, openFixture, principal } from "./fixture.ts";
import { linesOf } from "./frame-text.ts";
import { put } from "./world.ts";

let fixture: Fixture;
let pull: Pull;

beforeEach(async () => {
  fixture = await openFixture();
  pull = fixture.node(new FakeClock());
});

afterEach(() => fixture.close());

const TOO_LONG = "x".repeat(3_200_000);
const TWO_MB = "y".repeat(2_000_000);

/** Reads up to a checkpoint; gives what was seen and where the client then stands. */
async function read(
  stream: AsyncGenerator<Frame>,
): Promise<{ lines: string[]; frames: PullChangesResponse["frame"][]; cursor: Cursor }> {
  const frames: PullChangesResponse[] = [];
  let subscription = "";
  for (;;) {
    const { value, done } = await stream.next();
    if (done) throw new Error("the stream has ended");
    const frame = decoded(value);
    frames.push(frame);
    if (frame.frame.case === "opened") subscription = frame.frame.value.cursor?.subscription ?? "";
    if (frame.frame.case !== "checkpoint") continue;
    const at = Number(frame.frame.value.position);
    const cursor = { subscription, position: at, checkpoint: at };
    return { lines: frames.flatMap(linesOf), frames: frames.map((each) => each.frame), cursor };
  }
}

function open(request: Partial<PullRequest> = {}): AsyncGenerator<Frame> {
  const who = principal("ana", ["user:ana"]);
  return framesOfPull(
    pull,
    who,
    { ...followAll, recordForm: "JSON", ...request },
    new AbortController().signal,
  );
}

function recordsIn(frames: readonly PullChangesResponse["frame"][]): unknown[] {
  return frames.flatMap((frame) =>
    frame.case === "batch"
      ? frame.value.changes.map(({ kind }) =>
          kind.case === "put" ? kind.value.record?.form.value : undefined,
        )
      : [],
  );
}

describe("pull: JSON form", () => {
  it("whole records, then deltas in which null clears", async () => {
    await fixture.write([put("a", { title: "A", notes: "n", votes: 7 })]);
    const stream = open();
    const whole = await read(stream);
    expect(recordsIn(whole.frames)).toEqual([{ id: "a", title: "A", notes: "n", votes: 7 }]);
    pull.onAppend(await fixture.write([put("a", { title: "B", votes: 7 })]));
    const live = await read(stream);
    expect(live.lines).toEqual(["delta todos/a@2 2,3", "batch 2", "checkpoint 2"]);
    expect(recordsIn(live.frames)).toEqual([{ title: "B", notes: null }]);
    const later = await read(open({ cursor: whole.cursor }));
    expect(recordsIn(later.frames)).toEqual([{ title: "B", notes: null }]);
  });

  it("a large record → whole, not in parts", async () => {
    await fixture.write([put("a", { notes: TWO_MB })]);
    const { lines } = await read(open());
    expect(lines).toEqual(["opened 0/0 +1", "put todos/a@1", "batch 1", "checkpoint 1"]);
  });

  it("over 3 MiB → told in a further Opened before the position passes it, and the client holds none", async () => {
    await fixture.write([put("a"), put("b", { notes: TOO_LONG }), put("c")]);
    const { lines } = await read(open());
    expect(lines).toEqual([
      ...[
        "opened 0/0 +3",
        "put todos/a@1",
        "batch 1",
        "opened 1/0 +2",
        "unavailable todos/b RECORD_TOO_LARGE",
      ],
      ...["remove todos/b@2 DELETED", "put todos/c@3", "batch 3", "checkpoint 3"],
    ]);
  });

  it("grown over 3 MiB while live, then a small field changed → told each time, never a delta without its base", async () => {
    await fixture.write([put("a")]);
    const stream = open();
    await read(stream);
    const tooLarge = (position: number) => [
      ...[`opened ${position}/${position} +1`, "unavailable todos/a RECORD_TOO_LARGE"],
      ...[`remove todos/a@${position + 1} DELETED`, `batch ${position + 1}`, `checkpoint ${position + 1}`],
    ];
    pull.onAppend(await fixture.write([put("a", { notes: TOO_LONG })]));
    expect((await read(stream)).lines).toEqual(tooLarge(1));
    pull.onAppend(await fixture.write([put("a", { notes: TOO_LONG, votes: 1 })]));
    expect((await read(stream)).lines).toEqual(tooLarge(2));
  });
});
