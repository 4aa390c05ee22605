// How much longer a first sync takes while twelve other clients have stopped reading theirs in the midst of it.
import type { RunningServer } from "../bench.ts";
import { startLoad, streamsOf } from "../load/start-load.ts";
import { measured, percentile, type Row } from "../row.ts";

const ITEMS = 50_000;
const STALLED = 12;
const ROUNDS = 5;
/** What fits their windows has come by then. */
const STALL_MS = 500;

export const stalled: Row = {
  name: "stalled",
  async run(bench) {
    const server = await bench.serverOfItems(ITEMS);
    await firstSyncMs(server);
    const alone: number[] = [];
    const beside: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      alone.push(await firstSyncMs(server));
      const others = await startLoad(server.url, {
        mode: "CATCH_UP",
        callers: streamsOf(STALLED),
        connections: STALLED,
        isStalled: true,
      });
      await new Promise((resolve) => setTimeout(resolve, STALL_MS));
      beside.push(await firstSyncMs(server));
      await others.stop();
    }
    await server.stop();
    return [
      measured({
        row: `a first sync of 50,000 records beside ${STALLED} clients that stopped reading`,
        unit: "ms",
        value: percentile(beside, 0.5),
        reference: percentile(alone, 0.5),
        referenceName: "the same alone",
        atMost: 1.5,
      }),
    ];
  },
};

async function firstSyncMs(server: RunningServer): Promise<number> {
  const load = await startLoad(server.url, { mode: "CATCH_UP", callers: streamsOf(1) });
  const { ms, changes } = await load.done;
  await load.stop();
  if (changes !== ITEMS) throw new Error(`${changes} of ${ITEMS} records came`);
  return ms;
}
