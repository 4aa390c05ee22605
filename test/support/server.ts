// The whole product on a test's own databases: in this process for scenarios, as `tidemark serve` for what must be
// killed.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import { readConfig } from "../../src/config.ts";
import { startTidemark, type Tidemark } from "../../src/main.ts";
import { type Logger, silentLogger } from "../../src/model/logger.ts";
import type { TestDatabase } from "./mongo.ts";
import { waitFor } from "./wait-for.ts";

const ROOT = join(import.meta.dirname, "../..");
export const DEMO_SCHEMA = join(ROOT, "proto/demo");

export function startServer(
  database: TestDatabase,
  env: Record<string, string> = {},
  logger: Logger = silentLogger,
): Promise<Tidemark> {
  const config = readConfig({ ...environmentFor(database), PORT: "0", ...env });
  return startTidemark(config, { logger, progress: () => {} });
}

export interface ServerProcess {
  readonly url: string;
  readonly pid: number;
  /** Resolves with true once the server answers that it is ready, with false if it ended before. */
  ready(): Promise<boolean>;
  /** SIGKILL: nothing of it runs on. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>;
}

/** `tidemark serve` as a process of its own; returns at once. */
export async function spawnServer(
  database: TestDatabase,
  env: Record<string, string> = {},
): Promise<ServerProcess> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const server = spawn(process.execPath, [join(ROOT, "src/cli/tidemark.ts"), "serve"], {
    env: {
      ...process.env,
      ...environmentFor(database),
      HOST: "127.0.0.1",
      LOG_LEVEL: "error",
      NODE_ENV: "test",
      // Halves the start, of which the fault tests need many.
      NODE_COMPILE_CACHE: join(tmpdir(), "tidemark-compile-cache"),
      PORT: String(port),
      ...env,
    },
    stdio: ["ignore", "inherit", "inherit"],
  });
  await once(server, "spawn");
  const hasEnded = () => server.exitCode !== null || server.signalCode !== null;
  const ready = async () => {
    await waitFor(() => hasEnded() || answersReady(url), { what: "the server's readiness" });
    return !hasEnded();
  };
  return { url, pid: server.pid ?? 0, ready, kill: () => end(server, "SIGKILL"), stop: () => stop(server) };
}

export function syncClient(url: string) {
  return createClient(SyncService, createGrpcTransport({ baseUrl: url }));
}

export function asPrincipal(principal: string): { authorization: string } {
  return { authorization: `Bearer dev-${principal}` };
}

export function environmentFor(database: TestDatabase): Record<string, string> {
  return {
    TIDEMARK_DEV: "1",
    MONGODB_URI: database.uri,
    MONGODB_DB: database.sourceDb,
    TIDEMARK_DB: database.tidemarkDb,
    TIDEMARK_SCHEMA: DEMO_SCHEMA,
  };
}

function answersReady(url: string): Promise<boolean> {
  return fetch(`${url}/readyz`).then(
    (answer) => answer.ok,
    () => false,
  );
}

async function end(server: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  server.kill(signal);
  await once(server, "exit");
}

async function stop(server: ChildProcess): Promise<number | null> {
  await end(server, "SIGTERM");
  return server.exitCode;
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
