// P6: random histories on whole servers, every byte of which is read. `node test/leaks/run.ts 2000` runs many; the run
// kept lies in docs/runs. A seed repeats the choices of a run, not its timing.
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { seedOf } from "../support/random.ts";
import { temporaryParent, temporaryPrefix } from "../support/temporary-parent.ts";
import { prepareSchema, runHistories } from "./run.ts";

let folder: string;
let schemaFile: string;

beforeAll(async () => {
  folder = await mkdtemp(join(await temporaryParent(), temporaryPrefix(process.pid)));
  schemaFile = await prepareSchema(folder);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Without these there would be nothing to leak. */
const MET = [
  "words: stream, values",
  "words: page, values",
  "words: push, values",
  "words: push, ids",
  "words: receipts, ids",
  "answers: other",
  "frames: reset",
  "puts: delta",
  "puts: whole",
  "removes: DELETED",
  "removes: LEFT_SCOPE",
];

it.each([
  { nodes: 1, histories: 20 },
  { nodes: 2, histories: 10 },
])(
  "P6: $histories random histories on $nodes node(s) → nothing is told that its receiver may not know",
  async ({ nodes, histories }) => {
    const seed = seedOf(nodes);
    const options = { mongodbUri: inject("mongodbUri"), schemaFile, nodes, histories, seed };
    const { leaks, tally } = await runHistories(options);
    expect(leaks.slice(0, 10), `seed ${seed}`).toEqual([]);
    for (const name of MET) expect(tally.get(name) ?? 0, `seed ${seed}: ${name}`).toBeGreaterThan(0);
  },
  240_000,
);
