// The embedded database through restarts, crashes of each process, taken ports and rivals for its folder.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { findMongod } from "../../src/mongo/binary.ts";
import { connectMongo } from "../../src/mongo/connect.ts";
import { choosePort } from "../../src/mongo/embedded/port.ts";
import { describeProcess } from "../../src/mongo/embedded/process-table.ts";
import { type EmbeddedMongo, startEmbedded } from "../../src/mongo/embedded/start-embedded.ts";
import { startOwnMongod } from "../support/own-mongod.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { waitFor } from "../support/wait-for.ts";

const OWNER = fileURLToPath(new URL("./embedded-owner.ts", import.meta.url));

async function start(dataFolder: string, lines: string[] = []): Promise<EmbeddedMongo> {
  const mongo = await startEmbedded({
    dataFolder,
    mongodPath: process.env.TIDEMARK_MONGOD,
    progress: (line) => void lines.push(line),
  });
  onTestFinished(() => mongo.close());
  return mongo;
}

/** A server process with an embedded database of its own. */
async function startOwner(dataFolder: string): Promise<{ owner: ChildProcess; uri: string; pid: number }> {
  const owner = spawn(process.execPath, [OWNER, dataFolder], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(createInterface(owner.stdout), "line");
  const told: { uri: string; pid: number } = JSON.parse(String(line));
  onTestFinished(async () => {
    owner.kill("SIGKILL");
    await waitFor(() => isGone(told.pid));
  });
  return { owner, ...told };
}

async function insert(uri: string): Promise<void> {
  const client = await connectMongo(uri);
  await client.db("app").collection("things").insertOne({ n: 1 });
  await client.close();
}

async function count(uri: string): Promise<number> {
  const client = await connectMongo(uri);
  const things = await client.db("app").collection("things").countDocuments({}, { readConcern: "majority" });
  await client.close();
  return things;
}

const isGone = async (pid: number) => (await describeProcess(pid)) === undefined;
const supervisorOf = async (pid: number) => (await describeProcess(pid))?.parentPid ?? 0;
const portOf = (uri: string) => Number(new URL(uri).port);

/** Takes a port, and is silent to whoever connects until `released` resolves. */
async function occupy(port: number, released: () => Promise<unknown>): Promise<void> {
  const server = createServer((socket) => void released().finally(() => socket.destroy()));
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
}

test("embedded: closed and started again → the data is there, on the same port", async () => {
  const folder = await temporaryFolder();
  const first = await start(folder);
  await insert(first.uri);
  await first.close();
  const second = await start(folder);
  expect(second.uri).toBe(first.uri);
  expect(await count(second.uri)).toBe(1);
});

test("embedded: close → no process, a clean lock file and a free port are left; closing again does nothing", async () => {
  const folder = await temporaryFolder();
  const mongo = await start(folder);
  const supervisor = await supervisorOf(mongo.pid);
  await mongo.close();
  await mongo.close();
  expect(await isGone(mongo.pid)).toBe(true);
  expect(await isGone(supervisor)).toBe(true);
  expect(await readFile(join(folder, "mongodb", "mongod.lock"), "utf8")).toBe("");
  expect(await choosePort(portOf(mongo.uri))).toBe(portOf(mongo.uri));
});

test("embedded: it listens on 127.0.0.1 alone", async () => {
  const mongo = await start(await temporaryFolder());
  const client = await connectMongo(mongo.uri);
  onTestFinished(() => client.close());
  const { parsed } = await client.db("admin").command({ getCmdLineOpts: 1 });
  expect(parsed.net.bindIp).toBe("127.0.0.1");
});

test("embedded: mongod is killed → told as lost; started again → the data is there", async () => {
  const folder = await temporaryFolder();
  const first = await start(folder);
  await insert(first.uri);
  process.kill(first.pid, "SIGKILL");
  expect(await first.lost).toContain("SIGKILL");
  const second = await start(folder);
  expect(await count(second.uri)).toBe(1);
});

test("embedded: its server is killed → mongod goes by itself; started again → the data is there", async () => {
  const folder = await temporaryFolder();
  const { owner, uri, pid } = await startOwner(folder);
  await insert(uri);
  owner.kill("SIGKILL");
  await waitFor(() => isGone(pid), { timeoutMs: 10_000, what: "the end of mongod" });
  const mongo = await start(folder);
  expect(mongo.uri).toBe(uri);
  expect(await count(mongo.uri)).toBe(1);
});

test("embedded: started again while the killed server's mongod is still ending → waits for it", async () => {
  const folder = await temporaryFolder();
  const { owner, uri, pid } = await startOwner(folder);
  await insert(uri);
  owner.kill("SIGKILL");
  await once(owner, "exit");
  const lines: string[] = [];
  const mongo = await start(folder, lines);
  expect(lines.join()).toContain(`process ${pid}`);
  expect(await isGone(pid)).toBe(true);
  expect(mongo.uri).toBe(uri);
  expect(await count(mongo.uri)).toBe(1);
});

test("embedded: server and supervisor are killed → the next start ends the orphaned mongod", async () => {
  const folder = await temporaryFolder();
  const { owner, uri, pid } = await startOwner(folder);
  await insert(uri);
  process.kill(await supervisorOf(pid), "SIGSTOP");
  const supervisor = await supervisorOf(pid);
  owner.kill("SIGKILL");
  process.kill(supervisor, "SIGKILL");
  await waitFor(async () => (await supervisorOf(pid)) !== supervisor);
  expect(await isGone(pid)).toBe(false);
  const mongo = await start(folder);
  expect(await isGone(pid)).toBe(true);
  expect(await count(mongo.uri)).toBe(1);
});

test("embedded: the supervisor alone is killed → mongod is ended and told as lost", async () => {
  const mongo = await start(await temporaryFolder());
  process.kill(await supervisorOf(mongo.pid), "SIGKILL");
  expect(await mongo.lost).toContain("supervisor");
  expect(await isGone(mongo.pid)).toBe(true);
});

test("embedded: its port is taken by somebody who keeps mongod waiting → moves to another with its data", async () => {
  const folder = await temporaryFolder();
  const first = await start(folder);
  await insert(first.uri);
  await first.close();
  const log = join(folder, "mongod.log");
  await writeFile(log, "");
  // By then mongod has our connection, which it breaks when it has learnt that it is not the member at its old port.
  const isBeingSetUp = async () => (await readFile(log, "utf8")).includes("replSetInitiate");
  await occupy(portOf(first.uri), () => waitFor(isBeingSetUp));
  const lines: string[] = [];
  const second = await start(folder, lines);
  expect(portOf(second.uri)).not.toBe(portOf(first.uri));
  expect(lines.join()).toContain(`Port ${portOf(first.uri)} is taken`);
  expect(await count(second.uri)).toBe(1);
});

test("embedded: what it remembers is damaged → starts on another port with its data", async () => {
  const folder = await temporaryFolder();
  const first = await start(folder);
  await insert(first.uri);
  await first.close();
  await writeFile(join(folder, "embedded.json"), "{");
  expect(await count((await start(folder)).uri)).toBe(1);
});

test("embedded: a second server on the folder → refused with the first one's pid, and the first goes on", async () => {
  const folder = await temporaryFolder();
  const { owner, uri } = await startOwner(folder);
  await expect(start(folder)).rejects.toThrow(`in use by the server with process id ${owner.pid}`);
  await insert(uri);
  expect(await count(uri)).toBe(1);
});

test("embedded: two starts at once in one process → one runs, the other is refused", async () => {
  const folder = await temporaryFolder();
  const starts = await Promise.allSettled([start(folder), start(folder)]);
  expect(starts.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  const refused = starts.find((one) => one.status === "rejected");
  expect(String(refused?.reason)).toContain("in use by");
});

test("embedded: a mongod nobody of ours started holds the data → refused, and it is left alone", async () => {
  const folder = await temporaryFolder();
  await (await start(folder)).close();
  const foreign = await startOwnMongod(join(folder, "mongodb"), { standalone: true });
  onTestFinished(() => foreign.close());
  await waitFor(async () => (await readFile(join(folder, "mongodb", "mongod.lock"), "utf8")) !== "");
  await expect(start(folder)).rejects.toThrow("in use by another MongoDB");
  expect(await isGone(foreign.pid)).toBe(false);
});

test("embedded: the lock file names a process that is something else → taken for stale, that process is left alone", async () => {
  const folder = await temporaryFolder();
  const first = await start(folder);
  await insert(first.uri);
  await first.close();
  const other = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
  onTestFinished(() => void other.kill("SIGKILL"));
  await writeFile(join(folder, "mongodb", "mongod.lock"), `${other.pid}\n`);
  expect(await count((await start(folder)).uri)).toBe(1);
  expect(other.exitCode).toBeNull();
});

test("embedded: the data is damaged → refused with mongod's own reason and the log's place", async () => {
  const folder = await temporaryFolder();
  await (await start(folder)).close();
  await writeFile(join(folder, "mongodb", "WiredTiger.turtle"), "nonsense");
  const { version } = await findMongod({ configuredPath: process.env.TIDEMARK_MONGOD, progress: () => {} });
  const error = await start(folder).catch((thrown) => thrown);
  expect(error.message).toContain(`MongoDB ${version} did not start on ${folder}`);
  expect(error.message).toContain(join(folder, "mongod.log"));
});

test("embedded: aborted while it starts → the signal's reason, and no process is left", async () => {
  const folder = await temporaryFolder();
  const abort = new AbortController();
  const reason = new Error("stopped");
  const starting = startEmbedded({
    dataFolder: folder,
    mongodPath: process.env.TIDEMARK_MONGOD,
    progress: () => {},
    signal: abort.signal,
  });
  starting.catch(() => {});
  const lock = () => readFile(join(folder, "mongodb", "mongod.lock"), "utf8").catch(() => "");
  const pid = Number(await waitFor(lock));
  abort.abort(reason);
  await expect(starting).rejects.toBe(reason);
  expect(await isGone(pid)).toBe(true);
});
