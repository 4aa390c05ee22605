// What a command of the CLI is: a help text, options and a run. Commands write to streams they are given, so that
// tests read what a person would.
import type { ParseArgsConfig } from "node:util";
import type { Environment } from "../config.ts";

export interface Terminal {
  readonly out: NodeJS.WritableStream;
  readonly err: NodeJS.WritableStream;
  /** Whether `err` is a screen: progress is drawn only there. */
  readonly isScreen: boolean;
  /** Aborts on SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  readonly env: Environment;
}

export interface Arguments {
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
  readonly positionals: readonly string[];
}

export interface Command {
  /** Usage and options. */
  readonly help: string;
  readonly options: NonNullable<ParseArgsConfig["options"]>;
  /** Resolves when done; rejects with UsageError for wrong arguments. */
  run(args: Arguments, terminal: Terminal): Promise<void>;
}

/** Wrong arguments: told without a stack, exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** An option's value as text, or the default when it isn't given. */
export function textOption(args: Arguments, name: string, fallback: string): string {
  const value = args.values[name];
  return typeof value === "string" ? value : fallback;
}
