// Random, seeded: clients that edit the same few records at the same time, send everything repeatedly, at once and to
// two nodes, beside a program that writes past Tidemark, with and without faults of the database on the way. Whatever
// the interleaving, every outcome and every document is what the declared three-way merge makes of what was there.
// TIDEMARK_ROUNDS makes runs longer, TIDEMARK_SEED repeats one's choices.
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type OwnMongod, startOwnMongod } from "../support/own-mongod.ts";
import { randomOf, seedOf } from "../support/random.ts";
import { temporaryParent, temporaryPrefix } from "../support/temporary-parent.ts";
import { checkRun, type Run, type Tally } from "./random-check.ts";
import { type Notes, runClient } from "./random-clients.ts";
import { startWitness } from "./random-history.ts";
import { type Nodes, startNodes } from "./random-nodes.ts";
import { checkCounters, checkTold } from "./random-told.ts";
import { makeCounters, runWriter } from "./random-writer.ts";

const CLIENTS = 5;
const ROUNDS = Number(process.env["TIDEMARK_ROUNDS"] ?? 30);
const WRITES_PER_ROUND = 12;

let folder: string;
let mongod: OwnMongod;

beforeAll(async () => {
  folder = await mkdtemp(join(await temporaryParent(), temporaryPrefix(process.pid)));
  mongod = await startOwnMongod(folder);
});
afterAll(async () => {
  await mongod?.close();
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
});

test.each([
  { run: 1, disturbedOneIn: 0 },
  { run: 2, disturbedOneIn: 0 },
  { run: 3, disturbedOneIn: 8 },
])(
  "push: clients pushing at random, run $run, faults in 1 of $disturbedOneIn → all is merged as declared",
  { timeout: 60_000 + ROUNDS * 5_000 },
  async ({ run, disturbedOneIn }) => {
    const seed = seedOf(run);
    const nodes = await startNodes(mongod.uri);
    try {
      const tally = await pushAtRandom(nodes, seed, disturbedOneIn).catch((error: unknown) => {
        throw new Error(`seed ${seed}`, { cause: error });
      });
      if (process.env["TIDEMARK_ROUNDS"]) process.stdout.write(`${seed} ${told(tally)}\n`);
      const seen = ["update APPLIED", "update MERGED", "update CONFLICT", "create APPLIED", "delete APPLIED"];
      for (const kind of [...seen, "several of a record in a transaction"])
        expect(tally.get(kind) ?? 0, `seed ${seed}: ${kind}`).toBeGreaterThan(0);
    } finally {
      await nodes.close();
    }
  },
);

function told(tally: Tally): string {
  return [...tally]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([kind, count]) => `${kind}: ${count}`)
    .join(", ");
}

async function pushAtRandom(nodes: Nodes, seed: string, disturbedOneIn: number): Promise<Tally> {
  const witness = await startWitness(nodes);
  await makeCounters(nodes);
  const clients = Array.from({ length: CLIENTS }, (_, index) => {
    const device = `device ${index}`;
    return runClient({ nodes, device, random: randomOf(seed, device), rounds: ROUNDS, disturbedOneIn });
  });
  const writing = runWriter(nodes, randomOf(seed, "writer"), ROUNDS * WRITES_PER_ROUND);
  const [notes, counted] = await Promise.all([Promise.all(clients), writing]);
  const commits = await witness();
  const run = runOf(commits, notes);
  const tally = checkRun(run);
  checkTold(commits, run.made, { disturbed: disturbedOneIn > 0 });
  checkCounters(commits, run.made, counted);
  return tally;
}

function runOf(commits: Run["commits"], notes: readonly Notes[]): Run {
  const made = notes.flatMap(({ requests }) => requests.flatMap((request) => request.made));
  return {
    commits,
    made: new Map(made.map((each) => [each.sent.mutationId, each])),
    done: new Map(notes.map(({ done }, index) => [`device ${index}`, done])),
  };
}
