// How fast a client's first sync streams a collection, against the driver's own decoded drain of the same documents.

import { startLoad, streamsOf } from "../load/start-load.ts";
import { measured, percentile, type Row } from "../row.ts";

const ITEMS = 100_000;
const ROUNDS = 5;

export const catchUp: Row = {
  name: "catch-up",
  async run(bench) {
    await bench.reset();
    await bench.insertItems(ITEMS);
    const server = await bench.startServer();
    await bench.logReaches(ITEMS);
    await bench.serverReady(server);
    const drains: number[] = [];
    const pulls: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      drains.push(await drain(bench.items.find({}, { batchSize: 5000 })));
      const load = await startLoad(server.url, { callers: streamsOf(1), mode: "CATCH_UP" });
      const { ms, changes } = await load.done;
      await load.stop();
      pulls.push((changes / ms) * 1000);
    }
    await server.stop();
    return [
      measured({
        row: "catch-up over gRPC, 100,000 × 300 B",
        unit: "1/s",
        value: percentile(pulls, 0.5),
        reference: percentile(drains, 0.5),
        referenceName: "the driver's decoded drain",
        atLeast: 0.5,
      }),
    ];
  },
};

async function drain(documents: AsyncIterable<unknown>): Promise<number> {
  const startMs = performance.now();
  let count = 0;
  for await (const _ of documents) count++;
  return (count / (performance.now() - startMs)) * 1000;
}
