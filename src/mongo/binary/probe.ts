// Asks an executable whether it is a mongod that runs here, and of which version.
import { runProgram } from "./run-program.ts";

/** What running `<path> --version` told. */
export type Probe =
  | { readonly kind: "fits"; readonly version: string }
  | { readonly kind: "missing" }
  /** It is there but of no use; `why` ends a sentence: "it …". */
  | { readonly kind: "unfit"; readonly why: string };

const OLDEST_MAJOR_VERSION = 6;
const DURATION_MS_MAX = 10_000;

/** @param path a path, or a name to look up on PATH. */
export async function probeMongod(path: string, signal?: AbortSignal): Promise<Probe> {
  const end = await runProgram(path, ["--version"], { durationMsMax: DURATION_MS_MAX, signal });
  if (end.outcome === "missing") return { kind: "missing" };
  const version = /^db version v(\d+\.\d+\.\d+)/m.exec(end.output)?.[1];
  if (version === undefined) {
    const said = end.output.split("\n").find((line) => line.trim() !== "") ?? "nothing";
    return { kind: "unfit", why: `does not run here (it said: ${said.trim()})` };
  }
  if (Number.parseInt(version, 10) < OLDEST_MAJOR_VERSION) {
    return { kind: "unfit", why: `is MongoDB ${version}, older than ${OLDEST_MAJOR_VERSION}.0` };
  }
  return { kind: "fits", version };
}
