// `npm start` as a newcomer meets it: the embedded database, the demo's 171,075 places, and every printed command
// run by a shell, word for word.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { MongoClient } from "mongodb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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
let printed: Promise<string>;
let ready: Ready;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tidemark-tour-"));
  dev = spawn("npm", ["start", "--silent"], {
    cwd: ROOT,
    env: { ...process.env, NODE_ENV: "", PORT: "0", TIDEMARK_DATA: folder },
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  printed = dev.stdout ? text(dev.stdout) : Promise.reject(new Error("no output"));
  const file = join(folder, "ready.json");
  await waitFor(() => dev.exitCode !== null || existsSync(file), { timeoutMs: START_MS, what: "ready.json" });
  ready = JSON.parse(readFileSync(file, "utf8"));
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

describe("the tour", () => {
  it("works as printed", async () => {
    const { whatToTry } = await import("../../src/cli/what-to-try.ts");
    const lines = whatToTry({ ...ready, isDemo: true, records: "171,079" })
      .replaceAll("\\\n", " ")
      .split("\n");
    const commands = lines.map((line) => line.trim()).filter((line) => /^(npx|curl|printf) /.test(line));
    const [pull, push, grpc, connect, list, example] = commands;
    expect(commands).toHaveLength(6);

    expect(JSON.parse(await shell(push ?? "")).receipts).toMatchObject([{ outcome: "OUTCOME_APPLIED" }]);
    expect(JSON.parse(await shell(push ?? "")).receipts).toMatchObject([
      { outcome: "OUTCOME_APPLIED", replayed: true },
    ]);

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
    expect(await printed).toContain(`Tidemark is ready at ${ready.url}, with 171,079 records.`);
  });
});
