// How fast a first load turns a collection into log entries, against the raw inserts that made the collection.
import { measured, type Row } from "../row.ts";

const ITEMS = 100_000;

export const load: Row = {
  name: "load",
  async run(bench) {
    await bench.reset();
    const insertMs = await bench.insertItems(ITEMS);
    const server = await bench.startServer();
    await bench.loadBegins();
    const startMs = performance.now();
    await bench.logReaches(ITEMS);
    const loadMs = performance.now() - startMs;
    await server.stop();
    return [
      measured({
        row: "first load, 100,000 × 300 B",
        unit: "1/s",
        value: (ITEMS / loadMs) * 1000,
        reference: (ITEMS / insertMs) * 1000,
        referenceName: "insertMany of the same documents",
      }),
    ];
  },
};
