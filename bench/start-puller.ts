// Runs puller.ts in a worker and turns its messages into promises.
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { issueToken } from "../src/access/issue-token.ts";
import { BENCH_SECRET, type RunningServer } from "./bench.ts";
import type { PullerData, PullerMessage } from "./puller.ts";

export interface Puller {
  /** Every stream stands at a checkpoint. */
  readonly following: Promise<void>;
  /** The (last) stream has ended. */
  readonly done: Promise<Extract<PullerMessage, { kind: "done" }>>;
  stop(): Promise<void>;
}

export async function startPuller(
  server: RunningServer,
  options: Pick<PullerData, "streams" | "mode">,
  onSeen: (seen: Extract<PullerMessage, { kind: "seen" }>) => void = () => {},
): Promise<Puller> {
  const token = await issueToken({
    secret: BENCH_SECRET,
    principal: "bench",
    claims: {},
    ttlSeconds: 3600,
    nowMs: Date.now(),
  });
  const workerData: PullerData = { url: server.url, token, ...options };
  const worker = new Worker(join(import.meta.dirname, "puller.ts"), { workerData });
  const following = Promise.withResolvers<void>();
  const done = Promise.withResolvers<Extract<PullerMessage, { kind: "done" }>>();
  worker.on("message", (message: PullerMessage) => {
    if (message.kind === "following") following.resolve();
    else if (message.kind === "done") done.resolve(message);
    else onSeen(message);
  });
  worker.on("error", (error) => {
    following.reject(error);
    done.reject(error);
  });
  // Whichever isn't awaited must not count as unhandled.
  following.promise.catch(() => {});
  done.promise.catch(() => {});
  return {
    following: following.promise,
    done: done.promise,
    stop: async () => {
      await worker.terminate();
    },
  };
}
