#!/usr/bin/env node
// The `tidemark` command: finds the sub-command, parses its options, turns signals into an abort.
// Exit codes: 0 done, 1 failed, 2 wrong arguments.
import { parseArgs } from "node:util";
import { processEnvironment } from "../config.ts";
import { type Command, type Terminal, UsageError } from "./command.ts";

interface Entry {
  readonly name: string;
  readonly summary: string;
  /** Each command brings in much; only the one asked for is loaded. */
  load(): Promise<Command>;
}

const COMMANDS: readonly Entry[] = [
  {
    name: "dev",
    summary: "run everything on this machine, with demo data",
    load: async () => (await import("./dev.ts")).devCommand,
  },
  {
    name: "serve",
    summary: "serve a database to its clients",
    load: async () => (await import("./serve.ts")).serveCommand,
  },
  {
    name: "pull",
    summary: "follow a server and print what changes",
    load: async () => (await import("./pull.ts")).pullCommand,
  },
  {
    name: "token",
    summary: "make an access token for trying things out",
    load: async () => (await import("./token.ts")).tokenCommand,
  },
  {
    name: "why",
    summary: "explain one record: what it is, and what became of every mutation of it",
    load: async () => (await import("./why.ts")).whyCommand,
  },
  {
    name: "generate",
    summary: "write client code for a schema",
    load: async () => (await import("./generate.ts")).generateCommand,
  },
];

const stopping = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.on(name, () => {
    // A second signal means now.
    if (stopping.signal.aborted) process.exit(130);
    stopping.abort();
  });
}
// A reader that goes away (`| head`) ends the command, it isn't a fault.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

process.exitCode = await main(process.argv.slice(2), {
  out: process.stdout,
  err: process.stderr,
  isScreen: process.stderr.isTTY === true,
  signal: stopping.signal,
  env: processEnvironment(),
});

async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    terminal.out.write(overview());
    return 0;
  }
  const command = COMMANDS.find((candidate) => candidate.name === name);
  if (!command) {
    terminal.err.write(`tidemark: there is no command "${name}"\n\n${overview()}`);
    return 2;
  }
  return await runCommand(command, rest, terminal);
}

async function runCommand(
  { name, summary, load }: Entry,
  argv: readonly string[],
  terminal: Terminal,
): Promise<number> {
  try {
    const command = await load();
    const options = { ...command.options, help: { type: "boolean", short: "h" } } as const;
    const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true });
    if (values.help) {
      terminal.out.write(`tidemark ${name}: ${summary}\n\n${command.help}`);
      return 0;
    }
    await command.run(
      { values: values as Record<string, string | boolean | undefined>, positionals },
      terminal,
    );
    return 0;
  } catch (error) {
    const isUsage = error instanceof UsageError || isParseError(error);
    const message = error instanceof Error ? error.message : String(error);
    terminal.err.write(`tidemark ${name}: ${message}\n`);
    if (isUsage) terminal.err.write(`Try: tidemark ${name} --help\n`);
    return isUsage ? 2 : 1;
  }
}

function isParseError(error: unknown): boolean {
  return error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
}

function overview(): string {
  const width = Math.max(...COMMANDS.map((command) => command.name.length));
  const rows = COMMANDS.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`);
  return `Tidemark keeps phones, browsers and services in step with a MongoDB database.\n\nUsage: tidemark <command> [options]\n\n${rows.join("\n")}\n\ntidemark <command> --help tells more.\n`;
}
