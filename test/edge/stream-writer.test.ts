// The writer of streams, in every protocol: what is ready at once goes out in one write, in order and whole, and the end
// after it; a client that doesn't read is asked for nothing more.
import { once } from "node:events";
import { connect } from "node:http2";
import { expect, it, test } from "vitest";
import { batchFrame } from "../../src/frames/batch.ts";
import { encodePut } from "../../src/frames/change.ts";
import { checkpointFrame, closedFrame } from "../../src/frames/frame.ts";
import { SyncError } from "../../src/model/sync-error.ts";
import type { Flow } from "../../src/pull/flow.ts";
import type { Portion } from "../../src/pull/step.ts";
import { waitFor } from "../support/wait-for.ts";
import { asAna, clientOf, startEdge, transportNames } from "./edge-fixture.ts";

function batch(version: number, bytes = 10): Portion {
  const record = Buffer.alloc(bytes, version);
  const change = encodePut({ collection: "todos", recordId: `t${version}`, version, record, changed: [] });
  if (change.kind !== "inline") throw new Error("too large for a batch");
  return [batchFrame([change.bytes], version)];
}

/** A flow that has all of its portions at once. */
function ready(portions: readonly Portion[], failure?: Error): Flow & { taken: number } {
  return {
    taken: 0,
    isWaiting: false,
    isOver: false,
    cursor: { subscription: "", position: 0, checkpoint: 0 },
    take() {
      const portion = portions[this.taken];
      if (portion) this.taken++;
      else if (failure) throw failure;
      else Object.assign(this, { isOver: true });
      return portion;
    },
    close() {
      Object.assign(this, { isOver: true });
    },
  };
}

const PORTIONS: readonly Portion[] = [
  batch(1),
  [...batch(2), checkpointFrame(2, 7n)],
  batch(3, 100_000),
  batch(4, 300_000),
  batch(5),
  [closedFrame("CAUGHT_UP")],
];

test.each(transportNames)(
  "%s: several portions ready, then the end → all of them, in order",
  async (transport) => {
    const { url } = await startEdge({ pull: { openFlow: () => ready(PORTIONS) } });
    const seen: string[] = [];
    for await (const { frame } of clientOf(url, transport).pullChanges({}, asAna)) {
      const name =
        frame.case === "batch" ? frame.value.changes.map(({ recordId }) => recordId).join() : frame.case;
      seen.push(name ?? "");
    }
    expect(seen).toEqual(["t1", "t2", "checkpoint", "t3", "t4", "t5", "closed"]);
  },
);

test.each(transportNames)(
  "%s: several portions ready, then an error → all of them, then the error",
  async (transport) => {
    const failure = new SyncError("TOKEN_EXPIRED", "the token has expired");
    const { url } = await startEdge({ pull: { openFlow: () => ready(PORTIONS.slice(0, 3), failure) } });
    let frames = 0;
    const drain = async () => {
      for await (const _ of clientOf(url, transport).pullChanges({}, asAna)) frames++;
    };
    await expect(drain()).rejects.toMatchObject({ rawMessage: "the token has expired" });
    expect(frames).toBe(4);
  },
);

it("a client that doesn't read → no more is taken for it than its window and a write hold; then it goes on", async () => {
  const portions = Array.from({ length: 100 }, (_, n) => batch(n + 1, 100_000));
  const flow = ready([...portions, [closedFrame("CAUGHT_UP")]]);
  const { url } = await startEdge({ pull: { openFlow: () => flow } });
  const session = connect(url);
  const stream = session.request({
    ":method": "POST",
    ":path": "/tidemark.v1.SyncService/PullChanges",
    "content-type": "application/grpc+proto",
    ...asAna.headers,
  });
  stream.end(Buffer.alloc(5));
  await once(stream, "response");
  await waitFor(() => flow.taken > 0);
  await new Promise((resolve) => session.ping(resolve));
  expect(flow.taken).toBeLessThan(10);
  let bytes = 0;
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  await once(stream, "end");
  session.close();
  expect(bytes).toBeGreaterThan(100 * 100_000);
});
