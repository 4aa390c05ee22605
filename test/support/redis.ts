// A redis-server of a test's own, on a free port and with nothing kept on disk. It ends with the test, and with the
// test's process however that ends.
import { connect } from "node:net";
import { Redis } from "ioredis";
import { onTestFinished } from "vitest";
import { choosePort } from "../../src/mongo/embedded/port.ts";
import { type SupervisedMongod, superviseMongod } from "../../src/mongo/embedded/supervise.ts";
import { findRedisServer } from "./redis-binary.ts";
import { temporaryFolder } from "./temporary-folder.ts";
import { waitFor } from "./wait-for.ts";

export interface TestRedis {
  readonly url: string;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** SIGSTOP: it holds its connections and says nothing. */
  freeze(): void;
  thaw(): void;
  /** Starts it again after `kill`, empty, on the same port. */
  restart(): Promise<void>;
  /** For a test's own questions. */
  readonly client: Redis;
}

export async function startRedis(args: readonly string[] = []): Promise<TestRedis> {
  const file = await findRedisServer();
  const folder = await temporaryFolder();
  const port = await choosePort(undefined);
  const url = `redis://127.0.0.1:${port}`;
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => 50, maxRetriesPerRequest: null });
  client.on("error", () => {});
  const start = async () => {
    const options = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    const running = await superviseMongod({
      mongod: file,
      args: [...options, "--dir", folder, ...args],
      logFile: `${folder}/redis.log`,
    });
    await waitFor(() => answers(port), { what: "the Redis of this test" });
    return running;
  };
  let running = await start();
  onTestFinished(async () => {
    client.disconnect();
    await kill(running);
  });
  return {
    url,
    client,
    kill: () => kill(running),
    freeze: () => void process.kill(running.pid, "SIGSTOP"),
    thaw: () => void process.kill(running.pid, "SIGCONT"),
    async restart() {
      running = await start();
    },
  };
}

/** Whatever it says: one that wants a password says so. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.once("data", () => socket.destroy());
    socket.once("error", () => {});
    socket.once("close", () => resolve(socket.bytesRead > 0));
  });
}

/** Also one that is frozen. */
async function kill(running: SupervisedMongod): Promise<void> {
  let isGone = false;
  void running.ended.then(() => {
    isGone = true;
  });
  await Promise.resolve();
  if (!isGone) process.kill(running.pid, "SIGKILL");
  await running.ended;
}
