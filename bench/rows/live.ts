// How long a majority write takes from its start to its receipt at clients that follow, against a raw change stream
// of the same writes.
import type { Bench, RunningServer } from "../bench.ts";
import { itemId } from "../bench.ts";
import { startLoad, streamsOf } from "../load/start-load.ts";
import { type Measured, measured, percentile, type Row } from "../row.ts";

const ITEMS = 5000;
const WRITES_PER_SECOND = 200;
const SETTLE_MS = 30_000;

interface Goals {
  readonly streams: number;
  readonly writes: number;
  /** Of the median, as a ratio to the reference. */
  readonly p50RatioMax?: number;
  readonly p99MsMax?: number;
}

const RUNS: readonly Goals[] = [
  { streams: 1, writes: 2_000, p50RatioMax: 6 },
  { streams: 100, writes: 2_000, p99MsMax: 50 },
  { streams: 1_000, writes: 1_600, p99MsMax: 200 },
];

export const live: Row = {
  name: "live",
  async run(bench) {
    const server = await bench.serverOfItems(ITEMS);
    const rows: Measured[] = [];
    for (const [index, goals] of RUNS.entries()) {
      rows.push(...(await follow({ bench, server, goals, base: (index + 1) * 1_000_000 })));
    }
    await server.stop();
    return rows;
  },
};

interface Following {
  readonly bench: Bench;
  readonly server: RunningServer;
  readonly goals: Goals;
  /** The first write sets this count, the next one more, and so on. */
  readonly base: number;
}

async function follow({ bench, server, goals, base }: Following): Promise<Measured[]> {
  const { streams, writes, p50RatioMax, p99MsMax } = goals;
  const starts = new SharedArrayBuffer(writes * Float64Array.BYTES_PER_ELEMENT);
  const startedMs = new Float64Array(starts);
  const rawLatencies: number[] = [];
  const expected = writes * streams;
  let deliveries = 0;
  const load = await startLoad(server.url, {
    callers: streamsOf(streams),
    mode: "FOLLOW",
    starts,
    base,
    expected,
    onProgress: (count) => {
      deliveries = count;
    },
  });
  await load.following;
  const watching = await watchRaw(bench, (count, atMs) => {
    const start = startedMs[count - base];
    if (start !== undefined) rawLatencies.push(atMs - start);
  });
  await writeSteadily(bench, writes, (n) => {
    startedMs[n] = nowMs();
    return base + n;
  });
  const { sortedMs } = await inTime(load.arrived, () => `${deliveries} of ${expected} deliveries arrived`);
  await watching.close();
  await load.stop();
  const name = `live, ${streams.toLocaleString("en-US")} stream${streams > 1 ? "s" : ""} at ${WRITES_PER_SECOND} writes/s`;
  const at = (p: number) => ({
    row: `${name}, p${p * 100}`,
    unit: "ms" as const,
    value: sortedMs[Math.floor(sortedMs.length * p)] ?? Number.NaN,
    reference: percentile(rawLatencies, p),
    referenceName: "raw watch() of the same writes",
  });
  return [
    measured({ ...at(0.5), ...(p50RatioMax === undefined ? {} : { atMost: p50RatioMax }) }),
    measured({ ...at(0.99), ...(p99MsMax === undefined ? {} : { valueAtMost: p99MsMax }) }),
  ];
}

async function inTime<T>(work: Promise<T>, late: () => string): Promise<T> {
  const over = Promise.withResolvers<never>();
  const timer = setTimeout(() => over.reject(new Error(late())), SETTLE_MS);
  try {
    return await Promise.race([work, over.promise]);
  } finally {
    clearTimeout(timer);
  }
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
async function writeSteadily(bench: Bench, count: number, start: (n: number) => number): Promise<void> {
  const writes: Promise<unknown>[] = [];
  const beginMs = performance.now();
  for (let n = 0; n < count; n++) {
    const waitMs = beginMs + (n * 1000) / WRITES_PER_SECOND - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const value = start(n);
    writes.push(
      bench.items.updateOne(
        { _id: itemId(n % ITEMS) },
        { $set: { count: value } },
        { writeConcern: { w: "majority" } },
      ),
    );
  }
  await Promise.all(writes);
}
