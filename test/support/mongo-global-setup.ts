// Starts one replica set for the whole test run and provides its address as `mongodbUri`. It lives in memory where
// /dev/shm has room, leaves nothing behind.
import { spawn } from "node:child_process";
import { access, constants, mkdtemp, rm, statfs } from "node:fs/promises";
import { createServer } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { MongoClient } from "mongodb";
import type { TestProject } from "vitest/node";
import { waitFor } from "./wait-for.ts";

const ROOMY_BYTES = 4 * 2 ** 30;

let stop: (() => Promise<void>) | undefined;

export async function setup(project: TestProject): Promise<void> {
  const folder = await mkdtemp(join(await temporaryFolder(), "tidemark-test-"));
  const port = await freePort();
  const mongod = spawn(
    join(homedir(), ".cache/tidemark/mongod-6.0.5/mongod"),
    [
      "--dbpath",
      folder,
      "--port",
      String(port),
      "--bind_ip",
      "127.0.0.1",
      "--replSet",
      "tidemark",
      "--nounixsocket",
    ].concat(["--wiredTigerCacheSizeGB", "1", "--oplogSize", "512", "--quiet"]),
    { stdio: "ignore" },
  );
  const exited = new Promise((resolve) => mongod.once("exit", resolve));
  const client = new MongoClient(`mongodb://127.0.0.1:${port}/?directConnection=true`);
  const admin = client.db("admin");
  await admin.command({
    replSetInitiate: { _id: "tidemark", members: [{ _id: 0, host: `127.0.0.1:${port}` }] },
  });
  await waitFor(async () => (await admin.command({ hello: 1 })).isWritablePrimary === true);
  await client.close();
  project.provide("mongodbUri", `mongodb://127.0.0.1:${port}/?replicaSet=tidemark`);
  stop = async () => {
    mongod.kill("SIGKILL");
    await exited;
    await rm(folder, { recursive: true, force: true });
  };
}

export async function teardown(): Promise<void> {
  await stop?.();
}

async function temporaryFolder(): Promise<string> {
  try {
    await access("/dev/shm", constants.W_OK);
    const { bavail, bsize } = await statfs("/dev/shm");
    return bavail * bsize >= ROOMY_BYTES ? "/dev/shm" : tmpdir();
  } catch {
    return tmpdir();
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
