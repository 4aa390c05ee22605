// `tidemark dev` (= `npm start`): everything on this machine: an embedded MongoDB with the demo's data, the server in
// dev mode, and lines that say what to try. Writes `ready.json` into the data folder while it runs.
import { once } from "node:events";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import pretty from "pino-pretty";
import { type Config, readConfig } from "../config.ts";
import { startTidemark, type Tidemark } from "../main.ts";
import type { Arguments, Command, Terminal } from "./command.ts";
import { seedDemo } from "./demo-cities.ts";
import { grouped, progressLine, redraw } from "./progress-bar.ts";
import { whatToTry } from "./what-to-try.ts";

const HELP = `Usage: tidemark dev [--json]

Runs everything on this machine. Without MONGODB_URI, a MongoDB of its own in .tidemark/, with the demo's data;
callers are who they say they are: "authorization: Bearer dev-<principal>". Settings come from the environment.

  --json    print {url, mongodbUri, pid} once ready, instead of what to try
`;

export const devCommand: Command = {
  help: HELP,
  options: { json: { type: "boolean" } },
  run: dev,
};

const REDRAW_MS = 150;

async function dev(args: Arguments, terminal: Terminal): Promise<void> {
  const config = readConfig({ ...terminal.env, TIDEMARK_DEV: "1" });
  const isDemo = config.mongodbUri === undefined && !terminal.env["TIDEMARK_SCHEMA"];
  const progress = (line: string) => terminal.err.write(`${terminal.isScreen ? redraw("") : ""}· ${line}\n`);
  const level = terminal.env["LOG_LEVEL"] ? config.logLevel : "warn";
  const tidemark = await startTidemark(config, {
    logger: pino(
      { level },
      pretty({ ignore: "pid,hostname", translateTime: "HH:MM:ss", destination: 2, sync: true }),
    ),
    progress,
    signal: terminal.signal,
    // Only the embedded database is ever seeded.
    ...(isDemo ? { prepareSource: (source) => seedDemo(source, { progress, signal: terminal.signal }) } : {}),
  });
  try {
    await settled(tidemark, terminal);
    await tellReady({ config, tidemark, terminal, asJson: args.values["json"] === true, isDemo });
    if (!terminal.signal.aborted) await once(terminal.signal, "abort");
  } finally {
    progress("stopping");
    await rm(readyFile(config), { force: true });
    await tidemark.close();
  }
}

/** Draws the first load's progress until the log equals the source. */
async function settled(tidemark: Tidemark, { err, isScreen, signal }: Terminal): Promise<void> {
  const startedMs = Date.now();
  for (;;) {
    const { isSettled, load } = tidemark.status();
    if (isSettled || signal.aborted) break;
    if (isScreen && load) {
      const line = progressLine({ done: load.done, total: load.total, elapsedMs: Date.now() - startedMs });
      err.write(redraw(`· loading ${load.collection} ${line}`));
    }
    await new Promise((resolve) => setTimeout(resolve, REDRAW_MS));
  }
  if (isScreen) err.write(redraw(""));
}

interface Ready {
  readonly config: Config;
  readonly tidemark: Tidemark;
  readonly terminal: Terminal;
  readonly asJson: boolean;
  readonly isDemo: boolean;
}

async function tellReady({ config, tidemark, terminal, asJson, isDemo }: Ready): Promise<void> {
  const { url, mongodbUri } = tidemark;
  const ready = JSON.stringify({ url, mongodbUri, pid: process.pid });
  await mkdir(config.dataFolder, { recursive: true });
  await writeFile(readyFile(config), `${ready}\n`, { mode: 0o600 });
  const records = grouped(await tidemark.countEntries());
  const { TIDEMARK_DATA, MONGODB_DB, TIDEMARK_DB } = terminal.env;
  const settings = { TIDEMARK_DATA, MONGODB_DB, TIDEMARK_DB };
  terminal.out.write(asJson ? `${ready}\n` : whatToTry({ url, mongodbUri, isDemo, records, settings }));
}

function readyFile(config: Config): string {
  return join(config.dataFolder, "ready.json");
}
