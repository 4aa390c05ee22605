// Starts one replica set for the whole test run and provides its address as `mongodbUri`. Its data lies in memory where
// /dev/shm has room, and goes with the run; what killed runs left there goes with the next one.
import { access, constants, mkdtemp, readdir, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { describeProcess } from "../../src/mongo/embedded/process-table.ts";
import { type EmbeddedMongo, startEmbedded } from "../../src/mongo/embedded/start-embedded.ts";

const ROOMY_BYTES = 4 * 2 ** 30;
const PREFIX = "tidemark-test-run-";

let running: { mongo: EmbeddedMongo; dataFolder: string } | undefined;

export async function setup(project: TestProject): Promise<void> {
  const parent = await temporaryFolder();
  await removeLeftovers(parent);
  const dataFolder = await mkdtemp(join(parent, `${PREFIX}${process.pid}-`));
  const mongo = await startEmbedded({ dataFolder, progress: (line) => process.stdout.write(`${line}\n`) });
  running = { mongo, dataFolder };
  project.provide("mongodbUri", mongo.uri);
}

export async function teardown(): Promise<void> {
  await running?.mongo.close();
  if (running) await rm(running.dataFolder, { recursive: true, force: true });
}

async function temporaryFolder(): Promise<string> {
  try {
    await access("/dev/shm", constants.W_OK);
    const { bavail, bsize } = await statfs("/dev/shm");
    return bavail * bsize >= ROOMY_BYTES ? "/dev/shm" : tmpdir();
  } catch {
    return tmpdir();
  }
}

async function removeLeftovers(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(PREFIX)) continue;
    const runPid = Number.parseInt(name.slice(PREFIX.length), 10);
    if ((await describeProcess(runPid)) === undefined)
      await rm(join(parent, name), { recursive: true, force: true });
  }
}
