// A mongod process under a supervisor (supervisor.ts), seen from the server that owns it. It lives as long as its owner:
// close() ends it cleanly, and the owner's death, even by SIGKILL, ends it within seconds.
import { type ChildProcess, spawn } from "node:child_process";
import { open } from "node:fs/promises";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { invariant } from "../../model/invariant.ts";
import { describeProcess, endProcess } from "./process-table.ts";

export interface SuperviseOptions {
  readonly mongod: string;
  readonly args: readonly string[];
  /** Appended to. */
  readonly logFile: string;
}

export interface MongodEnd {
  readonly code: number | undefined;
  readonly signal: string | undefined;
}

export interface SupervisedMongod {
  readonly pid: number;
  /** Resolves when mongod is gone, for whatever reason. */
  readonly ended: Promise<MongodEnd>;
  /** Ends mongod by a clean shutdown, by force if that takes over 20 s; resolves when it is gone. */
  close(): Promise<void>;
}

const PROGRAM = fileURLToPath(new URL(`./supervisor${extname(import.meta.url)}`, import.meta.url));
const OWNER_FLAG = "--owner";

/** @throws Error when the program can't be started at all. */
export async function superviseMongod(options: SuperviseOptions): Promise<SupervisedMongod> {
  const owner = `${process.pid}@${(await describeProcess(process.pid))?.startedAt ?? ""}`;
  const log = await open(options.logFile, "a");
  try {
    const args = [PROGRAM, OWNER_FLAG, owner, options.mongod, ...options.args];
    // A session of its own: Ctrl-C in a terminal reaches the server, which then closes in the right order.
    const supervisor = spawn(process.execPath, args, { stdio: ["pipe", "pipe", log.fd], detached: true });
    return await supervised(supervisor);
  } finally {
    await log.close();
  }
}

/** The owner named in a supervisor's command line, and whether it still lives; undefined for any other process. */
export async function ownerOf(command: string): Promise<{ pid: number; lives: boolean } | undefined> {
  const [, pid, startedAt] =
    new RegExp(`supervisor\\.[jt]s ${OWNER_FLAG} (\\d+)@(\\S*) `).exec(command) ?? [];
  if (pid === undefined) return undefined;
  const facts = await describeProcess(Number(pid));
  return { pid: Number(pid), lives: facts !== undefined && facts.startedAt === startedAt };
}

function supervised(supervisor: ChildProcess): Promise<SupervisedMongod> {
  const { stdin, stdout } = supervisor;
  invariant(stdin !== null && stdout !== null, "the supervisor has pipes");
  stdin.on("error", () => {});
  let end: MongodEnd | undefined;
  let pid: number | undefined;
  return new Promise((resolve, reject) => {
    const gone = Promise.withResolvers<MongodEnd>();
    const close = async () => {
      stdin.end();
      await gone.promise;
    };
    createInterface(stdout).on("line", (line) => {
      const fact: { pid?: number; error?: string; code?: number | null; signal?: string | null } =
        JSON.parse(line);
      if (fact.pid !== undefined) {
        pid = fact.pid;
        resolve({ pid, ended: gone.promise, close });
      } else if (fact.error !== undefined) {
        reject(new Error(`mongod could not be started: ${fact.error}`));
      } else {
        end = { code: fact.code ?? undefined, signal: fact.signal ?? undefined };
      }
    });
    supervisor.once("error", reject);
    supervisor.once("close", () => {
      if (pid === undefined)
        reject(new Error("the process that watches over mongod ended at once; see the log file"));
      else if (end === undefined) gone.resolve(endUnsupervised(pid));
      else gone.resolve(end);
    });
  });
}

/** Without its supervisor a mongod would outlive us. */
async function endUnsupervised(pid: number): Promise<MongodEnd> {
  await endProcess(pid);
  return { code: undefined, signal: undefined };
}
