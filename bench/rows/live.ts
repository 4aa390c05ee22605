// How long a majority write takes from its start to its receipt at clients that follow, against a raw change stream
// of the same writes.
import type { Bench, RunningServer } from "../bench.ts";
import { itemId } from "../bench.ts";
import { type Measured, measured, percentile, type Row } from "../row.ts";
import { startPuller, streamsOf } from "../start-puller.ts";

const ITEMS = 5000;
const WRITES = 2000;
const WRITES_PER_SECOND = 200;
const SETTLE_MS = 30_000;

export const live: Row = {
  name: "live",
  async run(bench) {
    await bench.reset();
    await bench.insertItems(ITEMS);
    const server = await bench.startServer();
    await bench.logReaches(ITEMS);
    await bench.serverReady(server);
    const rows: Measured[] = [];
    let base = 1_000_000;
    for (const streams of [1, 100]) {
      rows.push(...(await follow({ bench, server, streams, base })));
      base += 1_000_000;
    }
    await server.stop();
    return rows;
  },
};

interface Following {
  readonly bench: Bench;
  readonly server: RunningServer;
  readonly streams: number;
  /** The first write sets this count, the next one more, and so on. */
  readonly base: number;
}

async function follow({ bench, server, streams, base }: Following): Promise<Measured[]> {
  const startedMs = new Float64Array(WRITES);
  const latencies: number[] = [];
  const rawLatencies: number[] = [];
  const allArrived = Promise.withResolvers<void>();
  const puller = await startPuller(
    server,
    { callers: streamsOf(streams), mode: "FOLLOW" },
    ({ counts, atMs }) => {
      for (const count of counts) {
        const start = startedMs[count - base];
        if (start !== undefined) latencies.push(atMs - start);
      }
      if (latencies.length >= WRITES * streams) allArrived.resolve();
    },
  );
  await puller.following;
  const watching = await watchRaw(bench, (count, atMs) => {
    const start = startedMs[count - base];
    if (start !== undefined) rawLatencies.push(atMs - start);
  });
  await writeSteadily(bench, (n) => {
    startedMs[n] = nowMs();
    return base + n;
  });
  const late = setTimeout(
    () => allArrived.reject(new Error(`${latencies.length} of ${WRITES * streams} arrived`)),
    SETTLE_MS,
  );
  await allArrived.promise;
  clearTimeout(late);
  await watching.close();
  await puller.stop();
  const name = `live, ${streams} stream${streams > 1 ? "s" : ""} at ${WRITES_PER_SECOND} writes/s`;
  return [0.5, 0.99].map((p) =>
    measured({
      row: `${name}, p${p * 100}`,
      unit: "ms",
      value: percentile(latencies, p),
      reference: percentile(rawLatencies, p),
      referenceName: "raw watch() of the same writes",
      ...(streams === 1 && p === 0.5 ? { atMost: 10 } : {}),
    }),
  );
}

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

async function watchRaw(bench: Bench, seen: (count: number, atMs: number) => void) {
  const stream = bench.items.watch([], { fullDocument: "updateLookup" });
  stream.on("change", (change) => {
    const count =
      change.operationType === "update" ? change.updateDescription.updatedFields?.count : undefined;
    if (count !== undefined) seen(count, nowMs());
  });
  // The stream is open once its cursor has answered.
  await new Promise((resolve) => stream.once("resumeTokenChanged", resolve));
  return stream;
}

/** Starts a write every 1/200 s whether or not the last is acknowledged. */
async function writeSteadily(bench: Bench, start: (n: number) => number): Promise<void> {
  const writes: Promise<unknown>[] = [];
  const beginMs = performance.now();
  for (let n = 0; n < WRITES; n++) {
    const waitMs = beginMs + (n * 1000) / WRITES_PER_SECOND - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const count = start(n);
    writes.push(
      bench.items.updateOne(
        { _id: itemId(n % ITEMS) },
        { $set: { count } },
        { writeConcern: { w: "majority" } },
      ),
    );
  }
  await Promise.all(writes);
}
