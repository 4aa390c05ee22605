// `tidemark serve`: the server for production: settings from the environment, log lines as JSON on standard output,
// SIGTERM drains.
import { once } from "node:events";
import { pino } from "pino";
import { readConfig } from "../config.ts";
import { startTidemark } from "../main.ts";
import type { Arguments, Command, Terminal } from "./command.ts";

const HELP = `Usage: tidemark serve

Serves gRPC, gRPC-web and Connect on one port. Settings come from the environment; the README has the table.
The least it needs: MONGODB_URI, MONGODB_DB, TIDEMARK_SCHEMA and TIDEMARK_TOKEN_SECRET or TIDEMARK_JWKS_URL.

SIGTERM drains: streams end with Closed(RECONNECT), calls in progress may end, then the process exits with 0.
`;

export const serveCommand: Command = {
  help: HELP,
  options: {},
  run: serve,
};

async function serve(_args: Arguments, { env, signal }: Terminal): Promise<void> {
  const config = readConfig(env);
  const logger = pino({ level: config.logLevel });
  const server = await startTidemark(config, {
    logger,
    progress: (line) => logger.info({}, line),
    signal,
  });
  if (!signal.aborted) await once(signal, "abort");
  await server.close();
}
