// How many deliveries a second one server process makes to 1,000 streams, against node's bare HTTP/2 writing one shared
// buffer, and against Connect's own handler.
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import type { Bench } from "../bench.ts";
import type { FanOutWay, FromParent, ToParent } from "../fan-out-node.ts";
import { startLoad, streamsOf } from "../load/start-load.ts";
import { measured, percentile, type Row } from "../row.ts";

const STREAMS = 1_000;
const WARM_UP_MS = 2_000;
const MEASURED_MS = 3_000;
const ROUNDS = 3;

export const fanOut: Row = {
  name: "fan-out",
  async run(bench) {
    const server = await bench.serverOfItems(1);
    await server.stop();
    const rates: Record<FanOutWay, number[]> = { tidemark: [], raw: [], connect: [] };
    for (let round = 0; round < ROUNDS; round++) {
      for (const way of ["tidemark", "raw", "connect"] as const)
        rates[way].push(await deliveriesPerSecond(bench, way));
    }
    const rate = (way: FanOutWay) => percentile(rates[way], 0.5);
    const row = `fan-out to ${STREAMS.toLocaleString("en-US")} streams, deliveries`;
    const value = { unit: "1/s" as const, value: rate("tidemark") };
    return [
      measured({
        ...value,
        row: `${row} against bare HTTP/2`,
        reference: rate("raw"),
        referenceName: "bare HTTP/2, one shared buffer",
        atLeast: 0.6,
      }),
      measured({
        ...value,
        row: `${row} against connect-node`,
        reference: rate("connect"),
        referenceName: "connect-node's handler",
        atLeast: 10,
      }),
    ];
  },
};

async function deliveriesPerSecond(bench: Bench, way: FanOutWay): Promise<number> {
  const node = fork(join(import.meta.dirname, "../fan-out-node.ts"), [way], bench.forkOptions());
  const port = await portOf(node);
  let deliveries = 0;
  const load = await startLoad(`http://127.0.0.1:${port}`, {
    mode: "FOLLOW",
    callers: streamsOf(STREAMS),
    onProgress(count) {
      deliveries = count;
      if (node.connected) tell(node, { kind: "received", deliveries });
    },
  });
  try {
    await load.following;
    tell(node, { kind: "go", streams: STREAMS });
    await passed(WARM_UP_MS);
    const [before, startMs] = [deliveries, performance.now()];
    await passed(MEASURED_MS);
    return ((deliveries - before) / (performance.now() - startMs)) * 1000;
  } finally {
    await load.stop();
    node.kill("SIGKILL");
  }
}

function portOf(node: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    node.on("message", (message: ToParent) => resolve(message.port));
    node.on("exit", (code) => reject(new Error(`the fan-out server ended with ${code}`)));
  });
}

function tell(node: ChildProcess, message: FromParent): void {
  node.send(message);
}

function passed(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
