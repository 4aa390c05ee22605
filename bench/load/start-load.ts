// Runs worker.ts in a thread of its own and turns its messages into promises.
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { issueToken } from "../../src/access/issue-token.ts";
import { BENCH_SECRET } from "../bench.ts";
import type { LoadData, LoadMessage } from "./worker.ts";

type Told<K extends LoadMessage["kind"]> = Extract<LoadMessage, { kind: K }>;

export interface Load {
  /** Every stream stands at a checkpoint. */
  readonly following: Promise<void>;
  /** When every stream had no record left, and a checkpoint: ms since 1970. */
  readonly emptied: Promise<number>;
  /** The last stream has ended. */
  readonly done: Promise<Told<"done">>;
  /** All deliveries expected are there. */
  readonly arrived: Promise<Told<"arrived">>;
  stop(): Promise<void>;
}

export interface LoadOptions extends Partial<Omit<LoadData, "url" | "tokens">> {
  readonly mode: LoadData["mode"];
  /** One stream each. */
  readonly callers: readonly BenchCaller[];
  readonly onProgress?: (deliveries: number) => void;
}

export interface BenchCaller {
  readonly principal: string;
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** As many streams of one principal. */
export function streamsOf(count: number): BenchCaller[] {
  return Array.from({ length: count }, () => ({ principal: "bench" }));
}

export async function startLoad(url: string, options: LoadOptions): Promise<Load> {
  const { callers, onProgress, ...about } = options;
  const tokens = await tokensOf(callers);
  const workerData: LoadData = {
    connections: Math.min(callers.length, 10),
    collection: "items",
    codec: "PROTO",
    isStalled: false,
    base: 0,
    expected: 0,
    tellEveryMs: onProgress ? 10 : 0,
    ...about,
    url,
    tokens,
  };
  const worker = new Worker(join(import.meta.dirname, "worker.ts"), { workerData });
  const following = Promise.withResolvers<void>();
  const emptied = Promise.withResolvers<number>();
  const done = Promise.withResolvers<Told<"done">>();
  const arrived = Promise.withResolvers<Told<"arrived">>();
  worker.on("message", (message: LoadMessage) => {
    if (message.kind === "following") following.resolve();
    else if (message.kind === "emptied") emptied.resolve(message.atMs);
    else if (message.kind === "done") done.resolve(message);
    else if (message.kind === "arrived") arrived.resolve(message);
    else onProgress?.(message.deliveries);
  });
  const all = [following, emptied, done, arrived];
  worker.on("error", (error) => {
    for (const { reject } of all) reject(error);
  });
  // Whichever isn't awaited must not count as unhandled.
  for (const { promise } of all) promise.catch(() => {});
  return {
    following: following.promise,
    emptied: emptied.promise,
    done: done.promise,
    arrived: arrived.promise,
    stop: async () => {
      await worker.terminate();
    },
  };
}

/** One token for each caller that differs. */
async function tokensOf(callers: readonly BenchCaller[]): Promise<string[]> {
  const known = new Map<string, Promise<string>>();
  const tokenOf = (caller: BenchCaller) => {
    const { principal, claims = {} } = caller;
    const name = JSON.stringify([principal, claims]);
    const token =
      known.get(name) ??
      issueToken({ secret: BENCH_SECRET, principal, claims, ttlSeconds: 3600, nowMs: Date.now() });
    known.set(name, token);
    return token;
  };
  return await Promise.all(callers.map(tokenOf));
}
