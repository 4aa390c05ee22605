// `npm start` as a newcomer meets it: the embedded database, the demo's 171,075 places, and every printed command
// run by a shell, word for word.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { MongoClient } from "mongodb";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { waitFor } from "../support/wait-for.ts";

const ROOT = join(import.meta.dirname, "../..");
const CITIES = 171_075;
const START_MS = 180_000;
const OUTPUT_BYTES_MAX = 512 << 20;
const run = promisify(execFile);

interface Ready {
  readonly url: string;
  readonly mongodbUri: string;
  readonly pid: number;
}

let dev: ReturnType<typeof spawn>;
let folder: string;
let printed = "";
let ready: Ready;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tidemark-tour-"));
  dev = spawn("npm", ["start", "--silent"], {
    cwd: ROOT,
    env: { ...process.env, NODE_ENV: "", PORT: "0", TIDEMARK_DATA: folder },
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  dev.stdout?.on("data", (chunk) => (printed += chunk));
  const isReady = () => dev.exitCode !== null || printed.includes("Stop with Ctrl-C.");
  await waitFor(isReady, { timeoutMs: START_MS, what: "what to try" });
  ready = JSON.parse(readFileSync(join(folder, "ready.json"), "utf8"));
}, START_MS);

afterAll(async () => {
  if (dev.exitCode === null) await stop();
  await rm(folder, { recursive: true, force: true });
});

async function stop(): Promise<void> {
  process.kill(ready.pid, "SIGTERM");
  await once(dev, "close");
}

async function shell(command: string): Promise<string> {
  const options = {
    cwd: ROOT,
    maxBuffer: OUTPUT_BYTES_MAX,
    env: { ...process.env, PATH: `${ROOT}/node_modules/.bin:${process.env["PATH"]}` },
  };
  return (await run("bash", ["-c", command], options)).stdout;
}

/** What is printed to be typed, line by line. */
function commands(): string[] {
  const lines = printed.replaceAll("\\\n", " ").split("\n");
  return lines.map((line) => line.trim()).filter((line) => /^(\w+='\S*' )*(npx|curl|printf) /.test(line));
}

/** A printed command that goes on until it is stopped, with what it has said so far: lines and notes in their order. */
function start(command: string) {
  const env = { ...process.env, PATH: `${ROOT}/node_modules/.bin:${process.env["PATH"]}` };
  const child = spawn("bash", ["-c", `${command} 2>&1`], {
    cwd: ROOT,
    env,
    stdio: ["ignore", "pipe", "inherit"],
    // A group of its own: npx and the shell pass no signal on.
    detached: true,
  });
  const running = { said: "", stop };
  child.stdout.on("data", (chunk) => (running.said += chunk));
  return running;

  async function stop(): Promise<void> {
    const closed = once(child, "close");
    process.kill(-(child.pid ?? 0), "SIGTERM");
    await closed;
  }
}

/** What ben may see of the demo only as a member of `harbour`, and all he may see. */
const harbour = [
  "lists/harbour-boat",
  "lists/harbour-crossing",
  "memberships/harbour-ana",
  "memberships/harbour-ben",
  "memberships/harbour-cleo",
  "todos/harbour-hull",
  "todos/harbour-provisions",
];
const ben = [
  ...harbour,
  "lists/ben-reading",
  "lists/garden-beds",
  "memberships/garden-ben",
  "memberships/garden-cleo",
  "todos/ben-novel",
  "todos/garden-beans",
  "todos/garden-water",
  "todos/harbour-charts",
].sort();

/** The records of the lines with this sign. */
function ids(lines: string, sign: "+" | "-"): string[] {
  const found = lines.split("\n").filter((line) => line.startsWith(`${sign} `));
  return [...new Set(found.map((line) => line.split(" ")[1] ?? ""))].sort();
}

describe("the tour", () => {
  it("works as printed", async () => {
    const [pull, push, why, grpc, connect, list, example, ...more] = commands();
    expect(more).toHaveLength(3);

    expect(JSON.parse(await shell(push ?? "")).receipts).toMatchObject([{ outcome: "OUTCOME_APPLIED" }]);
    expect(JSON.parse(await shell(push ?? "")).receipts).toMatchObject([
      { outcome: "OUTCOME_APPLIED", replayed: true },
    ]);

    expect(await shell(why ?? "")).toMatch(/^todos\/milk\n[\s\S]*1 mutation, the oldest first:/);

    const cities = await shell(grpc ?? "");
    expect(cities.match(/"recordId"/g)).toHaveLength(CITIES);
    expect(cities.slice(-400)).toMatch(
      /"checkpoint"[\s\S]*"closed": \{\s*"reason": "CLOSED_REASON_CAUGHT_UP"/,
    );

    const envelopes = await shell(connect ?? "");
    expect(envelopes.match(/"recordId"/g)).toHaveLength(CITIES);
    expect(envelopes).toContain('{"closed":{"reason":"CLOSED_REASON_CAUGHT_UP"}}');

    const page = JSON.parse(await shell(list ?? ""));
    expect(page.frames[0]).toHaveProperty("opened");
    expect(page.cursor.position).not.toBe("0");

    expect(await shell(`${pull} --catch-up --json todos`)).toContain('"recordId":"milk"');
    expect(await shell(example ?? "")).toMatch(/receipt: APPLIED\n(.*\n)*\+ \S+ {2}Watch the tide/);
  }, 180_000);

  it("a membership revoked → its member's device loses the team's records; granted again → has them back", async () => {
    const [pull, revoke, grant] = commands().slice(-3);
    const follower = start(pull ?? "");
    onTestFinished(() => follower.stop());
    /** What is said until it has caught up for the n-th time, after the time before. */
    const catchUp = async (n: number) => {
      const said = () => follower.said.split(/· caught up .*\n/);
      await waitFor(() => said().length > n, { what: `catch-up ${n}` });
      return said()[n - 1] ?? "";
    };
    expect(ids(await catchUp(1), "+")).toEqual(ben);

    expect(await shell(revoke ?? "")).toBe("ben is out of harbour\n");
    const revoked = await catchUp(2);
    expect(ids(revoked, "-")).toEqual(harbour);
    expect(revoked).toContain("- todos/harbour-provisions  no longer granted\n");
    expect(revoked).toContain("· what you may see has changed;");

    expect(await shell(grant ?? "")).toBe("ben is in harbour\n");
    expect(ids(await catchUp(3), "+")).toEqual(expect.arrayContaining(harbour));
  });

  it("pull shows a direct write as a line", async () => {
    const args = ["src/cli/tidemark.ts", "pull", "todos", "--url", ready.url];
    const pull = spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
    const seen = { out: "", err: "" };
    pull.stdout.on("data", (chunk) => (seen.out += chunk));
    pull.stderr.on("data", (chunk) => (seen.err += chunk));
    await waitFor(() => seen.err.includes("caught up"), { what: "the pull's catch-up" });
    const client = await MongoClient.connect(ready.mongodbUri);
    await client
      .db("demo")
      .collection<{ _id: string }>("todos")
      .updateOne({ _id: "milk" }, { $set: { done: true } });
    await client.close();
    await waitFor(() => seen.out.includes("~ todos/milk  done=true\n"), { what: "the delta's line" });
    pull.kill("SIGTERM");
    await once(pull, "close");
    expect(pull.exitCode).toBe(0);
  });

  it("stops on SIGTERM and takes ready.json away; what it said ends with what to try", async () => {
    await stop();
    expect(dev.exitCode).toBe(0);
    expect(existsSync(join(folder, "ready.json"))).toBe(false);
    expect(printed).toContain(`Tidemark is ready at ${ready.url}, with 171,096 records.`);
  });
});
