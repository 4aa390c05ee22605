// `tidemark serve` in several processes on one port. This process serves nobody: it starts workers, replaces those that
// end by themselves, hands signals on, and shows the metrics of all of them as one page. Each worker is a node of its own:
// one of them leads ingest, as one of several machines would. When this process is killed, its workers end.
import cluster, { type Worker } from "node:cluster";
import { once } from "node:events";
import { clusterMetrics } from "../edge/metrics.ts";
import { openMetricsPage } from "../edge/metrics-page.ts";
import { realClock } from "../main.ts";
import type { Logger } from "../model/logger.ts";

export interface WorkersOptions {
  readonly count: number;
  readonly metricsPort: number;
  readonly metricsHost: string;
  readonly logger: Logger;
  /** Ends them: each drains. */
  readonly signal: AbortSignal;
}

/** A worker that ends is replaced after a pause, longer each time until one has lived for a while. */
const PAUSE_MS = 250;
const PAUSE_MS_MAX = 10_000;
const LIVED_MS = 60_000;
/** So many in a row that end before they listen: nothing that another start would mend. */
const FAILED_STARTS_MAX = 5;

/** Which of the workers this process is; undefined: none. */
export function workerNumber(): number | undefined {
  return cluster.worker?.id;
}

/** A worker has done: nothing of its link to the process that started it keeps it alive any more. */
export function endWorker(): void {
  if (!cluster.worker?.isConnected()) return;
  // Else it would exit at once, and with 0.
  cluster.worker.exitedAfterDisconnect = true;
  process.disconnect?.();
}

/**
 * Resolves when all have ended after the signal.
 * @throws Error when the first can't start, or others can't again and again; what they say themselves is in their lines.
 */
export async function runWorkers(options: WorkersOptions): Promise<void> {
  const { count, metricsPort, metricsHost, logger, signal } = options;
  cluster.setupPrimary({ args: ["serve"] });
  // One first: what keeps it from starting is said once.
  const first = cluster.fork();
  if (!(await isListening(first))) {
    await ended();
    if (signal.aborted) return;
    throw new Error("the first worker ended while it started; its own lines say why");
  }
  const page =
    metricsPort > 0
      ? await openMetricsPage({ port: metricsPort, host: metricsHost, metrics: clusterMetrics(), logger })
      : undefined;
  logger.info({ workers: count }, "serving with several workers");
  const keeping = [keep(first), ...Array.from({ length: count - 1 }, () => keep())];
  const onAbort = () => endAll();
  if (signal.aborted) endAll();
  else signal.addEventListener("abort", onAbort);
  try {
    await Promise.all(keeping);
  } finally {
    signal.removeEventListener("abort", onAbort);
    endAll();
    await ended();
    await page?.close();
  }

  /** One place among the workers: a worker in it, or another soon. */
  async function keep(started?: Worker): Promise<void> {
    let failedStarts = 0;
    let pauseMs = PAUSE_MS;
    for (let worker = started ?? cluster.fork(); ; worker = cluster.fork()) {
      const startedMs = performance.now();
      const hasListened = worker === started || (await isListening(worker));
      const { code, signal: killedBy } = await exitOf(worker);
      if (signal.aborted) return;
      failedStarts = hasListened ? 0 : failedStarts + 1;
      if (failedStarts === FAILED_STARTS_MAX) throw new Error("workers end again and again while they start");
      if (performance.now() - startedMs > LIVED_MS) pauseMs = PAUSE_MS;
      logger.error(
        { worker: worker.id, code, signal: killedBy, pauseMs },
        "a worker ended; another takes its place",
      );
      await realClock.sleep(pauseMs, signal);
      if (signal.aborted) return;
      pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX);
    }
  }
}

function endAll(): void {
  for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill("SIGTERM");
}

async function ended(): Promise<void> {
  await Promise.all(Object.values(cluster.workers ?? {}).map((worker) => worker && exitOf(worker)));
}

/** False: it has ended before it listened. */
async function isListening(worker: Worker): Promise<boolean> {
  const exited = new AbortController();
  const onExit = () => exited.abort("exited");
  worker.once("exit", onExit);
  try {
    await once(worker, "listening", { signal: exited.signal });
    return true;
  } catch {
    return false;
  } finally {
    worker.off("exit", onExit);
  }
}

async function exitOf(worker: Worker): Promise<{ code: number | null; signal: string | null }> {
  const { exitCode, signalCode } = worker.process;
  if (exitCode === null && signalCode === null) await once(worker, "exit");
  return { code: worker.process.exitCode, signal: worker.process.signalCode };
}
