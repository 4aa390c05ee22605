// Why a mongod didn't start, as a sentence for humans: by its exit code, else by the last errors in its log.
import { open } from "node:fs/promises";
import { type DataFolder, inUse, type Remembered } from "./data-folder.ts";
import type { MongodEnd } from "./supervise.ts";

export const PORT_TAKEN_EXIT_CODE = 48;
const OTHER_VERSION_EXIT_CODE = 62;
const FOLDER_IN_USE_EXIT_CODE = 100;
const LOG_TAIL_BYTES = 64 * 1024;
const ERRORS_TOLD = 3;

export interface FailedStart {
  readonly folder: DataFolder;
  readonly end: MongodEnd;
  /** The version that was started. */
  readonly version: string;
  readonly remembered: Remembered;
}

export async function mongodFailure(failed: FailedStart): Promise<Error> {
  const { folder, end, remembered, version } = failed;
  const errors = await lastErrors(folder.logFile);
  if (end.code === FOLDER_IN_USE_EXIT_CODE) {
    return inUse(folder, `another MongoDB, or can't be written to (${errors || "no error logged"})`);
  }
  const how = end.signal === undefined ? `code ${end.code}` : `signal ${end.signal}`;
  const other = remembered.version !== undefined && remembered.version !== version;
  const advice =
    end.code === OTHER_VERSION_EXIT_CODE || other
      ? `The data was last opened by MongoDB ${remembered.version ?? "of another version"}: use that, or another folder. `
      : "";
  return new Error(
    `MongoDB ${version} did not start on ${folder.path} (${how}). ${advice}${errors} See ${folder.logFile}`,
  );
}

async function lastErrors(logFile: string): Promise<string> {
  const lines = (await tail(logFile)).split("\n").flatMap(errorOfLine);
  return lines.slice(-ERRORS_TOLD).join(" ");
}

async function tail(file: string): Promise<string> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const buffer = Buffer.alloc(Math.min(size, LOG_TAIL_BYTES));
    await handle.read(buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString("utf8");
  } finally {
    await handle.close();
  }
}

/** MongoDB logs one JSON object a line; `s` is the severity: E(rror), F(atal). */
function errorOfLine(line: string): string[] {
  try {
    const { s, msg, attr } = JSON.parse(line);
    if (s !== "E" && s !== "F") return [];
    return [`${msg}${attr?.error === undefined ? "" : `: ${errorText(attr.error)}`}.`];
  } catch {
    // The first line of the tail is cut; the loader's complaints aren't JSON but say what is missing.
    return line.includes("error while loading") ? [line] : [];
  }
}

function errorText(error: unknown): string {
  return typeof error === "string" ? error : JSON.stringify(error);
}
