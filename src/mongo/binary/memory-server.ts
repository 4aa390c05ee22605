// A mongod by way of mongodb-memory-server: the one it already has in its cache, or a download from MongoDB's own host.
// Where there is another way to a mongod, a failed download is remembered for half a day, so that machines on closed
// networks don't wait for it at each start.
import { mkdir, rm, stat, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runProgram } from "./run-program.ts";

export interface DownloadOptions {
  /** Where a failure is remembered. */
  readonly cacheFolder: string;
  /** Whether something else can be tried: then the download is given less time and its failure is remembered. */
  readonly hasAlternative: boolean;
  readonly progress: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** `why` is a sentence's end: "MongoDB's own download …". */
export type Download = { readonly path: string } | { readonly path: undefined; readonly why: string };

const SILENCE_MS_MAX = 10_000;
const DURATION_MS_MAX = 60_000;
const DURATION_WITHOUT_ALTERNATIVE_MS_MAX = 15 * 60_000;
const FAILURE_REMEMBERED_MS = 12 * 3_600_000;
const PROGRAM = fileURLToPath(
  new URL(`./download-memory-server${extname(import.meta.url)}`, import.meta.url),
);

/** The mongod in the memory server's cache (or what its own settings name), if any. */
export async function cachedMongod(): Promise<string | undefined> {
  // Loaded late: it takes long, and a machine with a mongod on PATH never needs it.
  const { DryMongoBinary } = await import("mongodb-memory-server");
  const options = await DryMongoBinary.generateOptions();
  return DryMongoBinary.locateBinary(options);
}

/** Downloads into the memory server's cache; an interrupted download goes on where it stopped. */
export async function downloadMongod(options: DownloadOptions): Promise<Download> {
  const { progress, hasAlternative, signal } = options;
  const marker = join(options.cacheFolder, "download-failed");
  if (hasAlternative && (await isRecent(marker))) return { path: undefined, why: "failed a while ago" };
  progress("Downloading MongoDB (once; about 100 MB) …");
  let path: string | undefined;
  const end = await runProgram(process.execPath, [PROGRAM], {
    durationMsMax: hasAlternative ? DURATION_MS_MAX : DURATION_WITHOUT_ALTERNATIVE_MS_MAX,
    silenceMsMax: SILENCE_MS_MAX,
    signal,
    onLine: (line) => {
      if (line.startsWith("path ")) path = line.slice("path ".length);
      else progress(line.trim());
    },
  });
  if (end.outcome === "exited" && path !== undefined) {
    await rm(marker, { force: true });
    return { path };
  }
  if (hasAlternative) await remember(marker);
  const said = end.output.split("\n").at(-1);
  return { path: undefined, why: end.outcome === "killed" ? "got no bytes in time" : `failed (${said})` };
}

async function isRecent(marker: string): Promise<boolean> {
  const written = await stat(marker).catch(() => undefined);
  return written !== undefined && Date.now() - written.mtimeMs < FAILURE_REMEMBERED_MS;
}

async function remember(marker: string): Promise<void> {
  await mkdir(join(marker, ".."), { recursive: true });
  await writeFile(
    marker,
    "MongoDB's download host could not be reached from here; remove this file to try again.\n",
  );
}
