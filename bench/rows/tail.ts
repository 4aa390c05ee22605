// How fast the log follows a burst of writes to distinct keys, against the same burst without a server running.
import { measured, type Row } from "../row.ts";

const ITEMS = 20_000;
const ROUNDS = 3;

export const tail: Row = {
  name: "tail",
  async run(bench) {
    await bench.reset();
    await bench.insertItems(ITEMS);
    await bench.updateItems(ITEMS, 1);
    let aloneMs = 0;
    for (let round = 0; round < ROUNDS; round++)
      aloneMs += await bench.updateItems(ITEMS, (round + 2) * 100_000);
    const server = await bench.startServer();
    await bench.logReaches(ITEMS);
    let followedMs = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const head = await bench.logHead();
      const startMs = performance.now();
      await bench.updateItems(ITEMS, (round + 10) * 100_000);
      await bench.logReaches(head + ITEMS);
      followedMs += performance.now() - startMs;
    }
    await server.stop();
    return [
      measured({
        row: "tail: 20,000 distinct keys, until log = source",
        unit: "1/s",
        value: ((ITEMS * ROUNDS) / followedMs) * 1000,
        reference: ((ITEMS * ROUNDS) / aloneMs) * 1000,
        referenceName: "the same bulkWrite alone",
        atLeast: 0.6,
      }),
    ];
  },
};
