// Each planted leak is found by the checker within a bounded number of histories, and the sources without one pass the
// same histories. CI plants some, TIDEMARK_LEAKS=all all of them.
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { seedOf } from "../support/random.ts";
import { temporaryParent, temporaryPrefix } from "../support/temporary-parent.ts";
import { PLANTED, plant } from "./planted.ts";
import { prepareSchema, runHistories } from "./run.ts";

const HISTORIES_MAX = 150;

let folder: string;
let schemaFile: string;

beforeAll(async () => {
  folder = await mkdtemp(join(await temporaryParent(), temporaryPrefix(process.pid)));
  schemaFile = await prepareSchema(folder);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe("planted leaks", () => {
  const chosen = PLANTED.map((leak, index) => ({ ...leak, index }));
  it.each(chosen)(
    "$name → found",
    async ({ index, told, ...leak }) => {
      const root = await plant(leak, join(folder, `planted-${index}`));
      const seed = seedOf(index);
      const options = { mongodbUri: inject("mongodbUri"), schemaFile, root, nodes: 1, stops: true };
      const { leaks, histories } = await runHistories({ ...options, histories: HISTORIES_MAX, seed });
      process.stdout.write(
        `${leak.name}: ${leaks.length} in ${histories}\n${leaks.slice(0, 3).join("\n")}\n`,
      );
      expect(leaks.length, `seed ${seed}`).toBeGreaterThan(0);
      expect(
        leaks.some((line) => told.test(line)),
        leaks[0],
      ).toBe(true);
    },
    120_000,
  );
});
