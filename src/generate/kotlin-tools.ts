// The programs Kotlin's code generation needs beside buf: a Java, protoc and connect-kotlin's plugin.
// Java must be on the machine; the other two are fetched once from Maven Central, by Maven, at fixed versions.
import { execFile } from "node:child_process";
import { access, chmod, mkdir, rename } from "node:fs/promises";
import { arch, platform } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { inTempFolder } from "./temp-folder.ts";

export interface KotlinTools {
  /** Absolute paths. */
  readonly java: string;
  readonly protoc: string;
  readonly connectPlugin: string;
}

export interface KotlinToolsOptions {
  /** Where fetched tools stay from one run to the next; made where absent. */
  readonly folder: string;
  readonly progress: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** protoc 31.1, as Java's protobuf run-time 4.31.1 wants it. */
const PROTOC_VERSION = "4.31.1";
const CONNECT_VERSION = "0.9.0";
const FETCH_MAX_MS = 300_000;
const ASK_MAX_MS = 20_000;

const run = promisify(execFile);

/** Kotlin cannot be generated on this machine; the message says what is missing. */
export class KotlinToolsMissing extends Error {
  override readonly name = "KotlinToolsMissing";
}

/** @throws KotlinToolsMissing without Java, Maven, or a protoc for this platform. */
export async function kotlinTools(options: KotlinToolsOptions): Promise<KotlinTools> {
  const java = await findJava(options.signal);
  await mkdir(options.folder, { recursive: true });
  const protoc = await tool(`com.google.protobuf:protoc:${PROTOC_VERSION}:exe:${classifier()}`, options);
  const connectPlugin = await tool(
    `com.connectrpc:protoc-gen-connect-kotlin:${CONNECT_VERSION}:jar`,
    options,
  );
  await chmod(protoc, 0o755);
  return { java, protoc, connectPlugin };
}

/** The `java` on the path, as an absolute path: buf runs without the machine's own path. */
async function findJava(signal: AbortSignal | undefined): Promise<string> {
  const args = ["-XshowSettings:properties", "-version"];
  const limits = { timeout: ASK_MAX_MS, ...(signal && { signal }) };
  const answer = await run("java", args, limits).catch(() => undefined);
  signal?.throwIfAborted();
  const home = answer?.stderr.match(/^\s*java\.home = (.+)$/m)?.[1]?.trim();
  if (home !== undefined) return join(home, "bin/java");
  throw new KotlinToolsMissing(
    "Kotlin code is made by programs that need Java (17 or later): no `java` on the path",
  );
}

/** The artifact's file in the folder, fetched if it isn't there yet. Whole or absent, also when killed midway. */
async function tool(artifact: string, { folder, progress, signal }: KotlinToolsOptions): Promise<string> {
  const [, name, version, extension, qualifier] = artifact.split(":");
  const file = `${name}-${version}${qualifier === undefined ? "" : `-${qualifier}`}.${extension}`;
  const path = join(folder, file);
  const there = await access(path).then(
    () => true,
    () => false,
  );
  if (there) return path;
  progress(`fetching ${basename(path)} from Maven Central`);
  await inTempFolder(async (temp) => {
    await copyFromMaven(artifact, temp, signal);
    await rename(join(temp, file), path);
  }, folder);
  return path;
}

async function copyFromMaven(artifact: string, to: string, signal: AbortSignal | undefined): Promise<void> {
  const goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";
  const args = ["--batch-mode", "--quiet", goal, `-Dartifact=${artifact}`, `-DoutputDirectory=${to}`];
  try {
    await run("mvn", args, { timeout: FETCH_MAX_MS, ...(signal && { signal }) });
  } catch (error) {
    signal?.throwIfAborted();
    throw new KotlinToolsMissing(reasonOf(artifact, error), { cause: error });
  }
}

function reasonOf(artifact: string, error: unknown): string {
  if (!(error instanceof Error)) return `${artifact} could not be fetched`;
  if ("code" in error && error.code === "ENOENT")
    return `${artifact} is fetched by Maven: no \`mvn\` on the path`;
  const output = "stdout" in error && typeof error.stdout === "string" ? error.stdout : "";
  const line = output.split("\n").find((text) => text.includes("ERROR"));
  return `Maven could not fetch ${artifact}: ${line ?? error.message}`;
}

/** The platform, by the names protoc's artifacts use. */
function classifier(): string {
  const system = { linux: "linux", darwin: "osx", win32: "windows" }[platform() as string];
  const processor = { x64: "x86_64", arm64: "aarch_64" }[arch() as string];
  if (system !== undefined && processor !== undefined) return `${system}-${processor}`;
  throw new KotlinToolsMissing(`there is no protoc for ${platform()} on ${arch()}`);
}
