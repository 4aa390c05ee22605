// Each planted leak is found within a bounded number of histories. CI plants those that few histories show;
// TIDEMARK_LEAKS=all plants all of them. Whether each can still be planted is asked always.
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { seedOf } from "../support/random.ts";
import { temporaryParent, temporaryPrefix } from "../support/temporary-parent.ts";
import { PLANTED, plant, withLeak } from "./planted.ts";
import { prepareSchema, runHistories } from "./run.ts";

const HISTORIES_MAX = 300;
const chosen = PLANTED.filter(({ isQuick }) => isQuick || process.env["TIDEMARK_LEAKS"] === "all");

let folder: string;
let schemaFile: string;

beforeAll(async () => {
  folder = await mkdtemp(join(await temporaryParent(), temporaryPrefix(process.pid)));
  schemaFile = await prepareSchema(folder);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

it.each(PLANTED)("planted leak: $name → can be planted", async (leak) => {
  await withLeak(leak);
});

it("planted leak: where the sources have changed → refused", async () => {
  const [leak] = PLANTED;
  if (leak === undefined) throw new Error("there are leaks to plant");
  await expect(withLeak({ ...leak, from: "a line that isn't there" })).rejects.toThrow("plant it anew");
});

it.each(chosen)(
  "planted leak: $name → found",
  async (leak) => {
    const root = join(folder, `planted-${PLANTED.indexOf(leak)}`);
    await plant(leak, root);
    const seed = seedOf(PLANTED.indexOf(leak));
    const options = { mongodbUri: inject("mongodbUri"), schemaFile, root, nodes: 1, stops: true };
    const { leaks, histories } = await runHistories({ ...options, histories: HISTORIES_MAX, seed });
    if (process.env["TIDEMARK_LEAKS"])
      process.stdout.write(`${leak.name}: ${histories} histories, ${leaks[0]}\n`);
    const found = leaks.find((sentence) => leak.told.test(sentence));
    expect(found, `seed ${seed}, ${histories} histories, ${leaks.length} leaks`).toBeDefined();
  },
  300_000,
);
