// `tidemark serve --workers`: real processes on one port.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Follower } from "../support/follower.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { environmentFor, freePort } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";

const CLI = join(import.meta.dirname, "../../src/cli/tidemark.ts");

let database: TestDatabase;
let running: Running | undefined;

beforeEach(async () => {
  database = await testDatabase();
});

afterEach(async () => {
  running?.process.kill("SIGKILL");
  if (running) await running.exited;
  running = undefined;
  await database.drop();
});

interface Running {
  readonly process: ChildProcess;
  readonly url: string;
  readonly metricsPort: number;
  readonly lines: string[];
  readonly exited: Promise<unknown>;
}

async function serve(env: Record<string, string> = {}): Promise<Running> {
  const [port, metricsPort] = [await freePort(), await freePort()];
  const server = spawn(process.execPath, [CLI, "serve", "--workers", "2"], {
    env: {
      ...process.env,
      ...environmentFor(database),
      HOST: "127.0.0.1",
      LEASE_SECONDS: "1",
      PORT: String(port),
      METRICS_PORT: String(metricsPort),
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  for (const stream of [server.stdout, server.stderr])
    createInterface(stream).on("line", (line) => void lines.push(line));
  running = {
    process: server,
    url: `http://127.0.0.1:${port}`,
    metricsPort,
    lines,
    exited: once(server, "exit"),
  };
  return running;
}

async function metric({ metricsPort }: Running, name: string): Promise<number | undefined> {
  const page = await fetch(`http://127.0.0.1:${metricsPort}/metrics`).then(
    (answer) => answer.text(),
    () => "",
  );
  const value = new RegExp(`^tidemark_${name} (\\S+)$`, "m").exec(page)?.[1];
  return value === undefined ? undefined : Number(value);
}

function workersOf({ process: { pid } }: Running): number[] {
  const listed = execFileSync("ps", ["-o", "pid=,ppid=", "-A"], { encoding: "utf8" });
  const rows = listed
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  return rows.flatMap(([own, parent]) => (own !== undefined && parent === pid ? [own] : []));
}

/** Both serve, and one leads. */
async function ready(server: Running): Promise<void> {
  await waitFor(async () => (await metric(server, "ingest_leading")) === 1, { what: "one worker to lead" });
  await waitFor(() => workersOf(server).length === 2, { what: "two workers" });
}

it("workers: two → both serve, one leads, their metrics are one page", async () => {
  const server = await serve();
  await ready(server);
  const streams = Array.from({ length: 4 }, () => new Follower(server.url, "ana"));
  await Promise.all(streams.map((stream) => stream.checkpoint()));
  await waitFor(async () => (await metric(server, "open_streams")) === 4, { what: "four streams" });
  await waitFor(async () => (await metric(server, "http2_sessions")) === 4, { what: "four sessions" });
  await Promise.all(streams.map((stream) => stream[Symbol.asyncDispose]()));
});

it("workers: each is killed in turn → replaced, one leads again, nothing is missed", async () => {
  const server = await serve();
  await ready(server);
  const todos = database.source.collection<{ _id: string; ownerId: string }>("todos");
  for (let n = 0; n < 2; n++) {
    const [victim = 0] = workersOf(server);
    process.kill(victim, "SIGKILL");
    await todos.insertOne({ _id: `t${n}`, ownerId: "ana" });
    await waitFor(() => !workersOf(server).includes(victim) && workersOf(server).length === 2, {
      what: "another worker in its place",
    });
    await waitFor(async () => (await metric(server, "ingest_leading")) === 1, { what: "one worker to lead" });
    await using follower = new Follower(server.url, "ana");
    const had = new Set<string>();
    while (!had.has(`t${n}`))
      for (const { recordId } of (await follower.checkpoint()).changes) had.add(recordId);
  }
  expect(server.lines.filter((line) => line.includes("another takes its place"))).toHaveLength(2);
});

it("workers: SIGTERM → all drain, exit code 0; the port is free again", async () => {
  const server = await serve();
  await ready(server);
  const pids = workersOf(server);
  server.process.kill("SIGTERM");
  expect(await server.exited).toEqual([0, null]);
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow();
  await expect(fetch(server.url)).rejects.toThrow();
});

it("workers: their parent is killed → they end", async () => {
  const server = await serve();
  await ready(server);
  const pids = workersOf(server);
  server.process.kill("SIGKILL");
  const isGone = (pid: number) => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  };
  await waitFor(() => pids.every(isGone), { what: "the workers to end" });
});

it("workers: what keeps them from starting → said once, exit code 1", async () => {
  const server = await serve({ TIDEMARK_SCHEMA: join(import.meta.dirname, "no-such-folder") });
  expect(await server.exited).toEqual([1, null]);
  expect(
    server.lines.filter((line) => line.includes("no-such-folder") && !line.startsWith("{")),
  ).toHaveLength(1);
  expect(server.lines.join("\n")).toContain("the first worker ended while it started");
});

it("workers: without a MongoDB of their own → refused", async () => {
  const server = await serve({ MONGODB_URI: "" });
  expect(await server.exited).toEqual([1, null]);
  expect(server.lines.join("\n")).toContain("WORKERS: more than one need a MongoDB of their own");
});
