// Starts one replica set for the whole test run and provides its address as `mongodbUri`. Its data lies in memory where
// /dev/shm has room, and goes with the run; what killed runs left there goes with the next one.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { describeProcess } from "../../src/mongo/embedded/process-table.ts";
import { type EmbeddedMongo, startEmbedded } from "../../src/mongo/embedded/start-embedded.ts";
import { makerOf, temporaryParent, temporaryPrefix } from "./temporary-parent.ts";

let running: { mongo: EmbeddedMongo; dataFolder: string } | undefined;

export async function setup(project: TestProject): Promise<void> {
  const parent = await temporaryParent();
  await removeLeftovers(parent);
  const dataFolder = await mkdtemp(join(parent, temporaryPrefix(process.pid)));
  const mongo = await startEmbedded({
    dataFolder,
    mongodPath: process.env.TIDEMARK_MONGOD,
    progress: (line) => process.stdout.write(`${line}\n`),
  });
  running = { mongo, dataFolder };
  project.provide("mongodbUri", mongo.uri);
}

export async function teardown(): Promise<void> {
  await running?.mongo.close();
  if (running) await rm(running.dataFolder, { recursive: true, force: true });
}

async function removeLeftovers(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const maker = makerOf(name);
    if (maker === undefined) continue;
    if ((await describeProcess(maker)) === undefined)
      await rm(join(parent, name), { recursive: true, force: true });
  }
}
