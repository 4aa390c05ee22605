// What an idle stream takes of the server's memory: what the process grows by with 10,000 of them.
import { execFileSync } from "node:child_process";
import { startLoad, streamsOf } from "../load/start-load.ts";
import { measured, type Row } from "../row.ts";

const STREAMS = 10_000;
const CONNECTIONS = 10;
const KIB_PER_STREAM_MAX = 20;
/** What opening the streams has left behind goes as node thinks it worth the while: measured is what stays. */
const LOOK_MS = 10_000;
const LOOKS_MAX = 9;

export const memory: Row = {
  name: "memory",
  async run(bench) {
    const server = await bench.serverOfItems(1);
    const before = residentKib(server.pid);
    const load = await startLoad(server.url, {
      mode: "FOLLOW",
      callers: streamsOf(STREAMS),
      connections: CONNECTIONS,
    });
    await load.following;
    const perStream = ((await settledKib(server.pid)) - before) / STREAMS;
    await load.stop();
    await server.stop();
    return [
      measured({
        row: "memory per idle stream, 10,000 streams",
        unit: "KiB",
        value: perStream,
        reference: KIB_PER_STREAM_MAX,
        referenceName: "the goal",
        valueAtMost: KIB_PER_STREAM_MAX,
      }),
    ];
  },
};

/** As soon as it falls no more. */
async function settledKib(pid: number): Promise<number> {
  let kib = residentKib(pid);
  for (let look = 0; look < LOOKS_MAX; look++) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    const now = residentKib(pid);
    if (look >= 2 && now > kib * 0.99) break;
    kib = Math.min(now, kib);
  }
  return kib;
}

/** The process's resident set. */
function residentKib(pid: number): number {
  return Number(execFileSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" }));
}
