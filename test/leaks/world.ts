// A world for histories: a database of its own, whole servers as processes of their own (those of this repository, or
// of a copy with a fault planted), every line they write kept, and one reader of a public record whose checkpoints say
// how far the log has come.
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { SignJWT } from "jose";
import type { Db, MongoClient } from "mongodb";
import { connectMongo } from "../../src/mongo/connect.ts";
import { waitFor } from "../support/wait-for.ts";
import { Book, type Caller, type Connection } from "./book.ts";
import { Line } from "./doors.ts";
import type { Truth } from "./truth.ts";
import { Witness } from "./witness.ts";

const ROOT = join(import.meta.dirname, "../..");
const SECRET = randomUUID() + randomUUID();
const START_MS_MAX = 60_000;

export interface WorldOptions {
  readonly mongodbUri: string;
  /** A FileDescriptorSet. */
  readonly schemaFile: string;
  /** Where src/ lies; default: this repository. */
  readonly root?: string;
  readonly nodes: number;
}

export interface World {
  readonly urls: readonly string[];
  readonly client: MongoClient;
  readonly source: Db;
  readonly truth: Truth;
  /** Resolves when the truth has all that was written by now. */
  learn(): Promise<void>;
  readonly book: Book;
  /** The one that tells how far the log is, there as long as the world. */
  readonly watching: readonly Connection[];
  /** All lines the servers wrote since this was asked last. */
  takeLog(): string[];
  /** Resolves when the log has reached a time. */
  reach(clock: bigint): Promise<void>;
  /** Ends what it follows itself; the servers go on. */
  rest(): Promise<void>;
  close(): Promise<void>;
}

export const ANONYMOUS: Caller = { principal: "", scopes: ["open:all", "public"], isService: false };

export async function openWorld({
  mongodbUri,
  schemaFile,
  root = ROOT,
  nodes,
}: WorldOptions): Promise<World> {
  const client = await connectMongo(mongodbUri);
  const name = randomUUID().slice(0, 13);
  const source = client.db(`leaks-${name}`);
  const witness = await Witness.of(source);
  const log: string[] = [];
  const env = {
    MONGODB_URI: mongodbUri,
    MONGODB_DB: source.databaseName,
    TIDEMARK_DB: `tidemark-${name}`,
    TIDEMARK_SCHEMA: schemaFile,
    TIDEMARK_TOKEN_SECRET: SECRET,
    ...NO_LIMITS,
  };
  const servers: Server[] = [];
  const close = async () => {
    await Promise.all(servers.map(({ stop }) => stop()));
    await witness.close();
    await source.dropDatabase();
    await client.db(`tidemark-${name}`).dropDatabase();
    await client.close();
  };
  try {
    for (let node = 0; node < nodes; node++) servers.push(await startServer(root, env, log));
    const book = new Book(source);
    const urls = servers.map(({ url }) => url);
    const watching: Connection[] = [];
    const watcher = watchClock(urls[0] ?? "", book, watching);
    return {
      urls,
      client,
      source,
      truth: witness.truth,
      learn: () => witness.reachNow(),
      book,
      watching,
      takeLog: () => log.splice(0),
      reach: (clock) => waitFor(() => book.floor >= clock, { what: "the log" }).then(() => undefined),
      rest: () => watcher.close(),
      close: () => watcher.close().then(close),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A token of this world. */
export function tokenFor({
  principal,
  teams,
  isService,
}: {
  principal: string;
  teams: readonly string[];
  isService: boolean;
}) {
  return new SignJWT({ teams, ...(isService && { tidemark_service: true }) })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setSubject(principal)
    .setIssuedAt()
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(SECRET));
}

interface Server {
  readonly url: string;
  stop(): Promise<void>;
}

/** What is refused leaks nothing, and shows nothing. */
const NO_LIMITS = Object.fromEntries(
  ["DEVICE", "PRINCIPAL", "ADDRESS"].flatMap((holder) =>
    ["REQUESTS", "MUTATIONS", "OPENED_STREAMS", "MEGABYTES"].map((what) => [
      `LIMIT_${what}_PER_${holder}`,
      "0",
    ]),
  ),
);

async function startServer(root: string, env: Record<string, string>, log: string[]): Promise<Server> {
  const server = spawn(process.execPath, [join(root, "src/cli/tidemark.ts"), "serve"], {
    env: {
      ...process.env,
      HOST: "127.0.0.1",
      PORT: "0",
      // So that first syncs of these few records come from packs, too.
      PACK_RECORDS_MIN: "1",
      LOG_LEVEL: "debug",
      DRAIN_SECONDS: "1",
      NODE_ENV: "test",
      NODE_COMPILE_CACHE: join(tmpdir(), "tidemark-compile-cache"),
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let url: string | undefined;
  createInterface(server.stdout).on("line", (line) => {
    log.push(line);
    url ??= /"url":"([^"]+)".*"serving"/.exec(line)?.[1]?.replace("localhost", "127.0.0.1");
  });
  createInterface(server.stderr).on("line", (line) => log.push(line));
  const hasEnded = () => server.exitCode !== null || server.signalCode !== null;
  const isUp = () => url !== undefined || hasEnded();
  await waitFor(isUp, { timeoutMs: START_MS_MAX, what: "the server's start" });
  if (url === undefined) throw new Error(`a server ended:\n${log.slice(-20).join("\n")}`);
  return { url, stop: () => end(server) };
}

async function end(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const exit = once(server, "exit");
  server.kill("SIGTERM");
  await exit;
}

/** Follows a public collection, so that each write in it is soon known to be in the log. */
function watchClock(url: string, book: Book, connections: Connection[]): { close(): Promise<void> } {
  const line = new Line({ url, book, connections, caller: ANONYMOUS, token: undefined, device: "clock" });
  const frames = line.pull(
    { selections: [{ collection: "boards" }] },
    { http: 2, protocol: "grpc", codec: "proto" },
    { kind: "stream", history: "clock", born: 0n, scopesSince: [] },
  );
  const following = (async () => {
    for await (const { frame } of frames) if (frame.case === "closed") return;
  })();
  return {
    close: async () => {
      await line.close();
      await following;
    },
  };
}
