// What every row works with: a real mongod in a throw-away folder, a source of items, and `tidemark serve` as a
// process of its own, started and stopped by the row that needs it.
import { type ChildProcess, type ForkOptions, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Collection, MongoClient, type Timestamp } from "mongodb";
import { type EmbeddedMongo, startEmbedded } from "../src/mongo/embedded/start-embedded.ts";

export interface Item {
  _id: string;
  owner: string;
  title: string;
  body: string;
  done: boolean;
  priority: number;
  count: number;
  due: Date;
  tags: string[];
  updatedAt: Date;
}

const SOURCE = "bench";
const LOG = "bench_tidemark";
const SECRET = "a secret for this bench alone, 32+ bytes";
/** One principal measures here what thousands would do. */
const NO_LIMITS = {
  ...Object.fromEntries(
    ["PRINCIPAL", "DEVICE", "ADDRESS"].flatMap((per) => [
      [`LIMIT_REQUESTS_PER_${per}`, "0"],
      [`LIMIT_MUTATIONS_PER_${per}`, "0"],
      [`LIMIT_OPENED_STREAMS_PER_${per}`, "0"],
      [`LIMIT_MEGABYTES_PER_${per}`, "0"],
    ]),
  ),
  STREAMS_PER_PRINCIPAL_MAX: "0",
  STREAMS_PER_ADDRESS_MAX: "0",
  STREAMS_PER_NODE_MAX: "20000",
};
const POLL_MS = 5;
const READY_WAIT_MS = 120_000;

export interface ServerOptions {
  /** The folder of its .proto files; default: that of items. */
  readonly schema?: string;
  readonly settings?: Readonly<Record<string, string>>;
}

export interface RunningServer {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** A mongod, a client of it, and what belongs to a run; `close()` leaves nothing behind. */
export class Bench {
  readonly client: MongoClient;
  readonly items: Collection<Item>;
  readonly uri: string;
  readonly sourceDb = SOURCE;
  readonly logDb = LOG;
  readonly progress: (line: string) => void;
  readonly #folder: string;
  readonly #mongo: EmbeddedMongo;
  readonly #servers = new Set<ChildProcess>();

  private constructor(folder: string, mongo: EmbeddedMongo, progress: (line: string) => void) {
    this.#folder = folder;
    this.#mongo = mongo;
    this.progress = progress;
    this.uri = mongo.uri;
    this.client = new MongoClient(mongo.uri);
    this.items = this.client.db(SOURCE).collection<Item>("items");
  }

  static async start(progress: (line: string) => void): Promise<Bench> {
    const folder = mkdtempSync(join(tmpdir(), "tidemark-bench-"));
    const mongo = await startEmbedded({ dataFolder: folder, progress });
    const bench = new Bench(folder, mongo, progress);
    await bench.client.connect();
    return bench;
  }

  /** An empty source and no log. */
  async reset(): Promise<void> {
    await this.client.db(SOURCE).dropDatabase();
    await this.client.db(LOG).dropDatabase();
  }

  /** Items `from` … `from + count - 1`, inserted in batches of 1,000; resolves with the ms it took. */
  async insertItems(count: number, from = 0): Promise<number> {
    const batches: Item[][] = [];
    for (let i = 0; i < count; i += 1000) {
      batches.push(Array.from({ length: Math.min(1000, count - i) }, (_, k) => itemOf(from + i + k)));
    }
    const startMs = performance.now();
    for (const batch of batches) await this.items.insertMany(batch, { ordered: false });
    return performance.now() - startMs;
  }

  /** Documents of the demo's schema. */
  async insertTodos(todos: readonly { _id: string }[]): Promise<void> {
    await this.client.db(SOURCE).collection<{ _id: string }>("todos").insertMany(todos, { ordered: false });
  }

  /** Sets `count` of items 0 … n-1, distinct keys, in bulk writes of 1,000; resolves with the ms it took. */
  async updateItems(n: number, value: number): Promise<number> {
    const startMs = performance.now();
    for (let i = 0; i < n; i += 1000) {
      const updates = Array.from({ length: Math.min(1000, n - i) }, (_, k) => ({
        updateOne: { filter: { _id: itemId(i + k) }, update: { $set: { count: value + i + k } } },
      }));
      await this.items.bulkWrite(updates, { ordered: false });
    }
    return performance.now() - startMs;
  }

  async startServer({ schema, settings = {} }: ServerOptions = {}): Promise<RunningServer> {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const command = [process.execPath, join(import.meta.dirname, "../src/cli/tidemark.ts"), "serve"];
    const [program = "", ...args] = [...onOneCore(), ...command];
    const server = spawn(program, args, {
      env: { ...this.#environment(schema), PORT: String(port), ...settings },
      stdio: ["ignore", "inherit", "inherit"],
    });
    this.#servers.add(server);
    return { url, pid: server.pid ?? 0, stop: () => this.#stop(server) };
  }

  /** A source of so many items, a new log, and a server that has loaded them. */
  async serverOfItems(count: number, options?: ServerOptions): Promise<RunningServer> {
    await this.reset();
    await this.insertItems(count);
    const server = await this.startServer(options);
    await this.logReaches(count);
    await this.serverReady(server);
    return server;
  }

  /** For a server process of a row's own, as one of the product would be started. */
  forkOptions(): ForkOptions {
    const [execPath = process.execPath, ...execArgv] = [...onOneCore(), process.execPath];
    return { env: this.#environment(), execPath, execArgv, stdio: ["ignore", "inherit", "inherit", "ipc"] };
  }

  #environment(schema = join(import.meta.dirname, "proto")) {
    return {
      ...process.env,
      HOST: "127.0.0.1",
      MONGODB_URI: this.#mongo.uri,
      MONGODB_DB: SOURCE,
      TIDEMARK_DB: LOG,
      TIDEMARK_SCHEMA: schema,
      TIDEMARK_TOKEN_SECRET: SECRET,
      ...NO_LIMITS,
      LOG_LEVEL: "error",
    };
  }

  /** Resolves once the server answers that it is ready. */
  async serverReady(server: RunningServer): Promise<void> {
    const deadlineMs = performance.now() + READY_WAIT_MS;
    for (;;) {
      const ready = await fetch(`${server.url}/readyz`).then(
        (answer) => answer.ok,
        () => false,
      );
      if (ready) return;
      if (performance.now() > deadlineMs) throw new Error("the server didn't become ready in two minutes");
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Resolves once the log stands settled at `head` or beyond and no load runs. */
  async logReaches(head: number): Promise<void> {
    await this.#pollState(
      (state) => Number(state["head"]) >= head && state["settled_after"] === null && loads(state) === 0,
    );
  }

  /** Resolves once the log has everything written by now. */
  async logHasAll(): Promise<void> {
    const session = this.client.startSession();
    try {
      await this.items.updateOne({ _id: itemId(0) }, { $inc: { count: 1 } }, { session });
      const time = session.operationTime;
      if (!time) throw new Error("a write has a time");
      await this.#pollState((state) => (state["clock"] as Timestamp).compare(time) >= 0);
    } finally {
      await session.endSession();
    }
  }

  /** Has what clients read packed: `read` is what makes a node do it. */
  async feedIsPacked(read: () => Promise<unknown>): Promise<void> {
    const packs = this.client.db(LOG).collection("packs");
    const deadlineMs = performance.now() + READY_WAIT_MS;
    await read();
    while ((await packs.countDocuments({ made: { $ne: null }, making: null })) === 0) {
      if (performance.now() > deadlineMs) throw new Error("nothing was packed in two minutes");
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Resolves once the log's state has a load running. */
  async loadBegins(): Promise<void> {
    await this.#pollState((state) => loads(state) > 0);
  }

  async logHead(): Promise<number> {
    const state = await this.client
      .db(LOG)
      .collection<{ _id: string; head: number }>("state")
      .findOne({ _id: "log" });
    return Number(state?.head ?? 0);
  }

  async #pollState(holds: (state: Record<string, unknown>) => boolean): Promise<void> {
    const states = this.client.db(LOG).collection<{ _id: string }>("state");
    const deadlineMs = performance.now() + READY_WAIT_MS;
    for (;;) {
      const state = await states.findOne({ _id: "log" });
      if (state && holds(state)) return;
      if (performance.now() > deadlineMs) throw new Error("the log didn't get there in two minutes");
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async #stop(server: ChildProcess): Promise<void> {
    this.#servers.delete(server);
    if (server.exitCode !== null) return;
    server.kill("SIGTERM");
    await once(server, "exit");
  }

  /** Those a row that failed has left. */
  async stopServers(): Promise<void> {
    for (const server of this.#servers) await this.#stop(server);
  }

  async close(): Promise<void> {
    await this.stopServers();
    await this.client.close();
    await this.#mongo.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export function itemId(n: number): string {
  return `item-${String(n).padStart(8, "0")}`;
}

/** A token every server of the bench takes. */
export const BENCH_SECRET = SECRET;

const BODY =
  "The tide comes in and the tide goes out, and each time the line it leaves on the sand tells how far. ";

function itemOf(n: number): Item {
  return {
    _id: itemId(n),
    owner: `user-${n % 100}`,
    title: `An item to be kept in step, number ${n}`,
    body: BODY.repeat(2).slice(n % 20, 170 + (n % 20)),
    done: n % 3 === 0,
    priority: (n % 5) + 1,
    count: n,
    due: new Date(1_800_000_000_000 + n * 1000),
    tags: ["work", "home", `t${n % 7}`],
    updatedAt: new Date(1_790_000_000_000 + n * 1000),
  };
}

function loads(state: Record<string, unknown>): number {
  const collections = state["collections"];
  return Array.isArray(collections) ? collections.filter((collection) => collection.load !== null).length : 0;
}

/** What to put before a command so that it runs on one core; nothing where there is no such program. */
export function onOneCore(): readonly string[] {
  hasTaskset ??= spawnSync("taskset", ["--version"]).status === 0;
  return hasTaskset ? ["taskset", "-c", "0"] : [];
}

let hasTaskset: boolean | undefined;

async function freePort(): Promise<number> {
  const probe = createServer();
  probe.listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
