// Many histories on one world, some at a time, each checked as it ends: `node test/leaks/run.ts 2000` runs so many, half
// of them on two nodes, on a database of its own, and prints what was sent. TIDEMARK_SEED repeats one run's choices.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { compileProtos } from "../../src/generate/compile-protos.ts";
import { startEmbedded } from "../../src/mongo/embedded/start-embedded.ts";
import { seedOf } from "../support/random.ts";
import { temporaryParent, temporaryPrefix } from "../support/temporary-parent.ts";
import { count, type Tally } from "./checker.ts";
import { checkConnections, runHistory } from "./history.ts";
import { openWorld, type WorldOptions } from "./world.ts";

const AT_ONCE = 8;

export interface RunOptions extends WorldOptions {
  readonly histories: number;
  readonly seed: string;
  /** Stop at the first leak. */
  readonly stops?: boolean;
}

export interface RunResult {
  readonly leaks: readonly string[];
  readonly histories: number;
  readonly tally: Tally;
  readonly seconds: number;
}

export async function runHistories(options: RunOptions): Promise<RunResult> {
  const world = await openWorld(options);
  const { histories, seed, stops = false } = options;
  const tally: Tally = new Map();
  const leaks: string[] = [];
  const startedMs = performance.now();
  let begun = 0;
  const add = ({ leaks: some, tally: more }: Awaited<ReturnType<typeof runHistory>>) => {
    leaks.push(...some);
    for (const [name, times] of more) count(tally, name, times);
  };
  const player = async () => {
    while (begun < histories && !(stops && leaks.length > 0))
      add(await runHistory(world, `${seed}-${begun++}`));
  };
  try {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, histories) }, player));
    const seconds = (performance.now() - startedMs) / 1_000;
    await world.rest();
    add(await checkConnections(world, world.watching));
    return { leaks, histories: begun, tally, seconds };
  } finally {
    await world.close();
  }
}

/** Compiles, and lays the descriptor set into the folder. */
export async function prepareSchema(folder: string): Promise<string> {
  const file = join(folder, "leaks.binpb");
  const set = await compileProtos(join(import.meta.dirname, "protos"));
  await writeFile(file, toBinary(FileDescriptorSetSchema, set));
  return file;
}

async function main(histories: number): Promise<void> {
  const folder = await mkdtemp(join(await temporaryParent(), temporaryPrefix(process.pid)));
  const mongo = await startEmbedded({ dataFolder: join(folder, "db"), progress: () => {} });
  try {
    const schemaFile = await prepareSchema(folder);
    for (const nodes of [1, 2]) {
      const seed = seedOf(nodes);
      const share = nodes === 1 ? Math.ceil(histories / 2) : Math.floor(histories / 2);
      const result = await runHistories({ mongodbUri: mongo.uri, schemaFile, nodes, histories: share, seed });
      const { seconds, tally } = result;
      const told = {
        seed,
        nodes,
        histories: share,
        leaks: result.leaks.length,
        seconds: Math.round(seconds),
      };
      process.stdout.write(`${JSON.stringify({ ...told, ...Object.fromEntries([...tally].sort()) })}\n`);
      for (const leak of result.leaks.slice(0, 20)) process.stdout.write(`${leak}\n`);
      if (result.leaks.length > 0) process.exitCode = 1;
    }
  } finally {
    await mongo.close();
    await rm(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) await main(Number(process.argv[2] ?? 100));
