// Two servers killed at random points under devices that push: every mutation has exactly one effect, whoever had to
// send it again. TIDEMARK_KILLS=200 makes a long run of it, in runs of 40, and prints what each was.
import { afterAll, beforeEach, expect, it } from "vitest";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { seedOf } from "../support/random.ts";
import { runKilledPushes } from "./push-run.ts";

const KILLS_OF_CI = 16;
const KILLS_PER_RUN = 40;
const asked = process.env["TIDEMARK_KILLS"];
const kills = Number(asked ?? KILLS_OF_CI);
const runs = Array.from({ length: Math.ceil(kills / KILLS_PER_RUN) }, (_, run) => ({
  seed: seedOf(run + 1),
  kills: Math.min(KILLS_PER_RUN, kills - run * KILLS_PER_RUN),
}));

const databases: TestDatabase[] = [];

beforeEach(async () => {
  databases.push(await testDatabase());
});

// Not dropped: what a killed server left open would hold the drop up for a minute. The run takes its mongod away.
afterAll(async () => {
  for (const { client } of databases) await client.close();
});

it.each(runs)(
  "killed under pushes → every mutation has exactly one effect, seed $seed",
  async ({ seed, kills }) => {
    const database = databases.at(-1);
    if (database === undefined) throw new Error("each run has a database");
    const { faults, counts } = await runKilledPushes({ database, seed, kills });
    if (asked) process.stdout.write(`${JSON.stringify({ seed, ...counts, faults: faults.length })}\n`);
    expect(faults.slice(0, 20)).toEqual([]);
    expect(counts["kills"]).toBe(kills);
    expect(counts["committedUnanswered"]).toBeGreaterThan(0);
    expect(counts["p4Checked"]).toBeGreaterThan(kills);
  },
  400_000,
);
