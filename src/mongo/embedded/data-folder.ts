// The folder of an embedded database: its layout, what is remembered beside the data, and whose it is. MongoDB's own
// lock decides between two servers; this file only tells a mongod somebody uses from one left behind, by looking at who
// its parent is, and clears the latter away.
import { mkdir, readFile, realpath, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describeProcess, endProcess, holdsWithin } from "./process-table.ts";
import { ownerOf } from "./supervise.ts";

export interface DataFolder {
  readonly path: string;
  /** MongoDB's files. */
  readonly dbPath: string;
  readonly logFile: string;
}

/** Remembered between starts; a replica set's configuration holds the port, so it is better kept. */
export interface Remembered {
  readonly port?: number;
  /** The version of MongoDB that last opened the data. */
  readonly version?: string;
}

const REMEMBERED_FILE = "embedded.json";
const LOG_BYTES_MAX = 16 * 2 ** 20;
/** A supervisor gives mongod 20 s to end. */
const LEAVING_MS_MAX = 30_000;

/** Makes the folder where it is missing, puts a log grown large aside. */
export async function openDataFolder(path: string): Promise<DataFolder> {
  await mkdir(join(path, "mongodb"), { recursive: true, mode: 0o700 });
  const real = await realpath(path);
  const logFile = join(real, "mongod.log");
  const log = await stat(logFile).catch(() => undefined);
  if (log !== undefined && log.size > LOG_BYTES_MAX) await rename(logFile, join(real, "mongod.old.log"));
  return { path: real, dbPath: join(real, "mongodb"), logFile };
}

export async function readRemembered(folder: DataFolder): Promise<Remembered> {
  try {
    const { port, version } = JSON.parse(await readFile(join(folder.path, REMEMBERED_FILE), "utf8"));
    return {
      ...(Number.isInteger(port) && { port: Number(port) }),
      ...(typeof version === "string" && { version }),
    };
  } catch {
    // Not there yet, or damaged: everything in it can be found out anew.
    return {};
  }
}

export async function writeRemembered(folder: DataFolder, remembered: Remembered): Promise<void> {
  const file = join(folder.path, REMEMBERED_FILE);
  await writeFile(`${file}.new`, `${JSON.stringify(remembered)}\n`);
  await rename(`${file}.new`, file);
}

/** The arguments that make a mongod recognisable as the folder's. */
export function dbPathArgs(folder: Pick<DataFolder, "dbPath">): readonly string[] {
  return ["--dbpath", folder.dbPath, "--nounixsocket"];
}

/**
 * Leaves the folder without a mongod: waits for one that is ending with its dead server, ends one left behind.
 * @throws Error when a living server uses the folder.
 */
export async function reclaimDataFolder(
  folder: DataFolder,
  progress: (line: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  const pid = await runningMongod(folder);
  if (pid === undefined) return;
  const parent = await describeProcess((await describeProcess(pid))?.parentPid ?? 0);
  const owner = parent && (await ownerOf(parent.command));
  if (owner?.lives) throw inUse(folder, `the server with process id ${owner.pid}`);
  progress(`Ending the database that an earlier run left behind (process ${pid}) …`);
  if (owner) {
    const isGone = async () => (await runningMongod(folder)) === undefined;
    if (await holdsWithin(isGone, LEAVING_MS_MAX, signal)) return;
  }
  await endProcess(pid);
}

export function inUse(folder: DataFolder, by: string): Error {
  return new Error(`The data folder ${folder.path} is in use by ${by}: stop it, or choose another folder`);
}

/** The pid of the folder's mongod, whoever started it. MongoDB leaves it in its lock file, also after a crash. */
export async function runningMongod(folder: Pick<DataFolder, "dbPath">): Promise<number | undefined> {
  const lock = await readFile(join(folder.dbPath, "mongod.lock"), "utf8").catch(() => "");
  const pid = Number.parseInt(lock, 10);
  if (!(pid > 0)) return undefined;
  const facts = await describeProcess(pid);
  return facts?.command.includes(dbPathArgs(folder).join(" ")) ? pid : undefined;
}
