// `tidemark serve`: the server for production: settings from the environment, log lines as JSON on standard output,
// SIGTERM drains.
import { once } from "node:events";
import { pino } from "pino";
import { type Config, readConfig } from "../config.ts";
import { startTidemark } from "../main.ts";
import type { Logger } from "../model/logger.ts";
import { type Arguments, type Command, type Terminal, textOption } from "./command.ts";
import { endWorker, runWorkers, workerNumber } from "./workers.ts";

const HELP = `Usage: tidemark serve [--workers N]

Serves gRPC, gRPC-web and Connect on one port. Settings come from the environment; the README has the table.
The least it needs: MONGODB_URI, MONGODB_DB, TIDEMARK_SCHEMA and TIDEMARK_TOKEN_SECRET or TIDEMARK_JWKS_URL.

  --workers N  as many processes on the one port, each a node of its own; default: the setting WORKERS

SIGTERM drains: streams end with Closed(RECONNECT), calls in progress may end, then the process exits with 0.
`;

export const serveCommand: Command = {
  help: HELP,
  options: { workers: { type: "string" } },
  run: serve,
};

async function serve(args: Arguments, { env, signal }: Terminal): Promise<void> {
  try {
    const config = readConfig({ ...env, WORKERS: textOption(args, "workers", env["WORKERS"] ?? "") });
    const worker = workerNumber();
    const name = worker === undefined ? {} : { name: `worker ${worker}` };
    const logger = pino({ level: config.logLevel, ...name });
    const isAlone = config.workers === 1 || worker !== undefined;
    if (isAlone) await serveAlone(config, { logger, signal, isWorker: worker !== undefined });
    else await runWorkers({ ...config, count: config.workers, logger, signal });
  } finally {
    endWorker();
  }
}

interface ServeOptions {
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly isWorker: boolean;
}

async function serveAlone(config: Config, options: ServeOptions): Promise<void> {
  const { logger, signal } = options;
  const server = await startTidemark(config, { ...options, progress: (line) => logger.info({}, line) });
  if (!signal.aborted) await once(signal, "abort");
  await server.close();
}
