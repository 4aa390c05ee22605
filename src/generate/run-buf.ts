// Runs the buf program that comes with the package, away from the machine's own buf, its settings and its cache.
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";

/** How a run ended: `exitCode` 0 is success; 100 that the input has faults, printed by buf on stderr or stdout. */
export interface BufRun {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface BufOptions {
  /** Where buf runs; its cache lies here as well. Must be writable. */
  readonly folder: string;
  readonly signal?: AbortSignal | undefined;
}

/** Builds take a tenth of a second, Kotlin's generation some seconds: a minute and a half means it hangs. */
const TIME_MAX_MS = 90_000;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

const program = createRequire(import.meta.url).resolve("@bufbuild/buf/bin/buf");

/**
 * @throws Error where buf could not run, ran too long or was killed; the signal's reason when aborted.
 * A non-zero exit is an answer, not an error.
 */
export function runBuf(args: readonly string[], { folder, signal }: BufOptions): Promise<BufRun> {
  const { promise, resolve, reject } = Promise.withResolvers<BufRun>();
  execFile(
    process.execPath,
    [program, ...args],
    {
      cwd: folder,
      env: { BUF_CACHE_DIR: join(folder, ".buf-cache"), HOME: folder },
      timeout: TIME_MAX_MS,
      maxBuffer: OUTPUT_BYTES_MAX,
      ...(signal && { signal }),
    },
    (error, stdout, stderr) => {
      if (error === null) resolve({ exitCode: 0, stdout, stderr });
      else if (typeof error.code === "number") resolve({ exitCode: error.code, stdout, stderr });
      else if (signal?.aborted) reject(signal.reason);
      else reject(new Error(`buf ${args[0]} did not finish: ${error.message}`, { cause: error }));
    },
  );
  return promise;
}
