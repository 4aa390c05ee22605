// Many histories on one world, some at a time, each checked as it ends. `npx node test/leaks/run.ts 2000` runs so many, a
// quarter of them on two nodes, on a database of its own, and prints what docs/runs keeps. TIDEMARK_SEED repeats a
// run's choices.
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
  const play = (name: string) =>
    runHistory(world, name).catch((cause: unknown) => {
      throw new Error(`history ${name}`, { cause });
    });
  const player = async () => {
    while (begun < histories && !(stops && leaks.length > 0)) add(await play(`${seed}-${begun++}`));
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

/** One in so many histories is played on two nodes. */
const ON_TWO_NODES = 4;

async function main(histories: number): Promise<void> {
  const folder = await mkdtemp(join(await temporaryParent(), temporaryPrefix(process.pid)));
  const mongo = await startEmbedded({ dataFolder: join(folder, "db"), progress: () => {} });
  const onTwo = Math.floor(histories / ON_TWO_NODES);
  const all: Tally = new Map();
  try {
    const schemaFile = await prepareSchema(folder);
    print("| seed | nodes | histories | seconds | leaks |\n|---|--:|--:|--:|--:|");
    for (const [nodes, share] of [histories - onTwo, onTwo].entries()) {
      const seed = seedOf(nodes + 1);
      const options = { mongodbUri: mongo.uri, schemaFile, nodes: nodes + 1, histories: share, seed };
      const { leaks, seconds, tally } = await runHistories(options);
      print(`| \`${seed}\` | ${nodes + 1} | ${share} | ${Math.round(seconds)} | ${leaks.length} |`);
      for (const leak of leaks.slice(0, 20)) print(leak);
      for (const [name, times] of tally) count(all, name, times);
      if (leaks.length > 0) process.exitCode = 1;
    }
    print("\n| what was met | count |\n|---|--:|");
    for (const [name, times] of [...all].sort()) print(`| ${name} | ${times.toLocaleString("en")} |`);
  } finally {
    await mongo.close();
    await rm(folder, { recursive: true, force: true });
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

if (import.meta.main) await main(Number(process.argv[2] ?? 100));
