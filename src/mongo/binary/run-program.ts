// Runs a program to its end, bounded: by time, by silence, by a signal, and in how much of its output is kept.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export interface ProgramOptions {
  /** After this long it is killed. */
  readonly durationMsMax: number;
  /** After this long without a line of output it is killed. Default: never. */
  readonly silenceMsMax?: number;
  /** Gets each line of standard output. */
  readonly onLine?: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
  /** Default: this process's own environment. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface ProgramEnd {
  /** `missing`: there is no such program; `killed`: it ran out of its time or was silent for too long. */
  readonly outcome: "exited" | "missing" | "killed";
  /** The exit code; undefined when it didn't exit by itself. */
  readonly code: number | undefined;
  /** The last lines of both outputs. */
  readonly output: string;
}

const LINES_KEPT = 40;

/** Resolves however the program ends; its failure is told, not thrown. @throws the signal's reason when aborted. */
export function runProgram(
  file: string,
  args: readonly string[],
  options: ProgramOptions,
): Promise<ProgramEnd> {
  options.signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      stdio: ["ignore", "pipe", "pipe"],
      ...(options.env ? { env: options.env } : {}),
    });
    const lines: string[] = [];
    let killed = false;
    const kill = () => {
      killed = true;
      child.kill("SIGKILL");
    };
    const clock = setTimeout(kill, options.durationMsMax);
    const silence = setTimeout(kill, options.silenceMsMax ?? options.durationMsMax);
    options.signal?.addEventListener("abort", kill, { once: true });
    const keep = (line: string) => {
      silence.refresh();
      if (lines.push(line) > LINES_KEPT) lines.shift();
    };
    createInterface(child.stderr).on("line", keep);
    createInterface(child.stdout).on("line", (line) => {
      keep(line);
      options.onLine?.(line);
    });
    const finish = (outcome: ProgramEnd["outcome"], code?: number) => {
      clearTimeout(clock);
      clearTimeout(silence);
      options.signal?.removeEventListener("abort", kill);
      if (options.signal?.aborted) reject(options.signal.reason);
      else resolve({ outcome, code, output: lines.join("\n") });
    };
    child.once("error", () => finish("missing"));
    child.once("close", (code) => finish(killed ? "killed" : "exited", code ?? undefined));
  });
}
