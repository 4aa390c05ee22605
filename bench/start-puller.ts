// Runs puller.ts in a worker and turns its messages into promises.
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { issueToken } from "../src/access/issue-token.ts";
import { BENCH_SECRET, type RunningServer } from "./bench.ts";
import type { PullerData, PullerMessage } from "./puller.ts";

export interface Puller {
  /** Every stream stands at a checkpoint. */
  readonly following: Promise<void>;
  /** When every stream had no record left, and a checkpoint: ms since 1970. */
  readonly emptied: Promise<number>;
  /** The (last) stream has ended. */
  readonly done: Promise<Extract<PullerMessage, { kind: "done" }>>;
  stop(): Promise<void>;
}

export interface PullerOptions extends Pick<PullerData, "mode"> {
  /** Default: that of items. */
  readonly collection?: string;
  /** One stream each. */
  readonly callers: readonly BenchCaller[];
}

export interface BenchCaller {
  readonly principal: string;
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** As many streams of one principal. */
export function streamsOf(count: number): BenchCaller[] {
  return Array.from({ length: count }, () => ({ principal: "bench" }));
}

export async function startPuller(
  server: RunningServer,
  options: PullerOptions,
  onSeen: (seen: Extract<PullerMessage, { kind: "seen" }>) => void = () => {},
): Promise<Puller> {
  const { mode, collection = "items", callers } = options;
  const tokens = await Promise.all(
    callers.map(({ principal, claims = {} }) =>
      issueToken({ secret: BENCH_SECRET, principal, claims, ttlSeconds: 3600, nowMs: Date.now() }),
    ),
  );
  const workerData: PullerData = { url: server.url, tokens, collection, mode };
  const worker = new Worker(join(import.meta.dirname, "puller.ts"), { workerData });
  const following = Promise.withResolvers<void>();
  const emptied = Promise.withResolvers<number>();
  const done = Promise.withResolvers<Extract<PullerMessage, { kind: "done" }>>();
  worker.on("message", (message: PullerMessage) => {
    if (message.kind === "following") following.resolve();
    else if (message.kind === "emptied") emptied.resolve(message.atMs);
    else if (message.kind === "done") done.resolve(message);
    else onSeen(message);
  });
  worker.on("error", (error) => {
    for (const { reject } of [following, emptied, done]) reject(error);
  });
  // Whichever isn't awaited must not count as unhandled.
  for (const { promise } of [following, emptied, done]) promise.catch(() => {});
  return {
    following: following.promise,
    emptied: emptied.promise,
    done: done.promise,
    stop: async () => {
      await worker.terminate();
    },
  };
}
