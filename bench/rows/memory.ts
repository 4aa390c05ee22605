// What an idle stream takes of the server's memory: what the process grows by with 10,000 of them.
import { execFileSync } from "node:child_process";
import { startLoad, streamsOf } from "../load/start-load.ts";
import { measured, type Row } from "../row.ts";

const STREAMS = 10_000;
const CONNECTIONS = 10;
const KIB_PER_STREAM_MAX = 20;
/** Garbage of the streams' opening goes meanwhile, as far as node thinks it worth the while. */
const SETTLE_MS = 20_000;

export const memory: Row = {
  name: "memory",
  async run(bench) {
    await bench.reset();
    await bench.insertItems(1);
    const server = await bench.startServer();
    await bench.logReaches(1);
    await bench.serverReady(server);
    const before = residentKib(server.pid);
    const load = await startLoad(server.url, {
      mode: "FOLLOW",
      callers: streamsOf(STREAMS),
      connections: CONNECTIONS,
    });
    await load.following;
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const perStream = (residentKib(server.pid) - before) / STREAMS;
    await load.stop();
    await server.stop();
    return [
      measured({
        row: "memory per idle stream, 10,000 streams",
        unit: "KiB",
        value: perStream,
        reference: KIB_PER_STREAM_MAX,
        referenceName: "the goal",
        atMost: 1,
      }),
    ];
  },
};

/** The process's resident set. */
function residentKib(pid: number): number {
  return Number(execFileSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" }));
}
