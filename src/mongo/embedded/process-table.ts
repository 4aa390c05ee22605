// What the operating system knows of a process, and how to end one that isn't our child. Linux is asked through /proc,
// other systems through `ps`; where neither answers, every process counts as gone and MongoDB's own lock must do.
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { runProgram } from "../binary/run-program.ts";

export interface ProcessFacts {
  readonly parentPid: number;
  /** Program and arguments, separated by spaces. */
  readonly command: string;
  /** With the pid it names the process for good: pids are used again, start times aren't. No spaces in it. */
  readonly startedAt: string;
}

const POLL_MS = 25;
const PS_MS_MAX = 5_000;
const TERMINATE_MS_MAX = 20_000;
const KILL_MS_MAX = 5_000;

/** Undefined when there is no such process, or only what is left of one that has ended. */
export function describeProcess(pid: number): Promise<ProcessFacts | undefined> {
  return process.platform === "linux" ? describeByProc(pid) : describeByPs(pid);
}

async function describeByProc(pid: number): Promise<ProcessFacts | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8");
    // The program's name stands in brackets and may hold anything; after it the fields count from 3 (see proc(5)).
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state, parentPid, startedAt] = [fields[0], Number(fields[1]), fields[19] ?? ""];
    if (state === "Z" || state === "X") return undefined;
    return { parentPid, command: command.replaceAll("\0", " ").trim(), startedAt };
  } catch {
    return undefined;
  }
}

async function describeByPs(pid: number): Promise<ProcessFacts | undefined> {
  const args = ["-ww", "-o", "stat=,ppid=,lstart=,command=", "-p", String(pid)];
  const { code, output } = await runProgram("ps", args, { durationMsMax: PS_MS_MAX });
  const fields = /^\s*(\S+)\s+(\d+)\s+(\S+\s+\S+\s+\S+\s+\S+\s+\S+)\s+(.*)$/.exec(output);
  if (code !== 0 || fields === null) return undefined;
  const [, state = "", parentPid, startedAt = "", command = ""] = fields;
  if (state.startsWith("Z")) return undefined;
  return {
    parentPid: Number(parentPid),
    command: command.trim(),
    startedAt: startedAt.replaceAll(/\s+/g, "-"),
  };
}

/** Ends a process, by force when it doesn't go; resolves when it is gone. @throws Error when it can't be ended. */
export async function endProcess(pid: number): Promise<void> {
  const facts = await describeProcess(pid);
  if (facts === undefined) return;
  const isGone = async () => (await describeProcess(pid))?.startedAt !== facts.startedAt;
  send(pid, "SIGTERM");
  if (await holdsWithin(isGone, TERMINATE_MS_MAX)) return;
  send(pid, "SIGKILL");
  if (await holdsWithin(isGone, KILL_MS_MAX)) return;
  throw new Error(`process ${pid} could not be ended`);
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone meanwhile, or not ours to end: the caller looks whether it is gone.
  }
}

/** Whether the condition held before the time ran out; asks every 25 ms. @throws the signal's reason when aborted. */
export async function holdsWithin(
  condition: () => Promise<boolean>,
  durationMsMax: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const until = performance.now() + durationMsMax;
  while (performance.now() < until) {
    if (await condition()) return true;
    await delay(POLL_MS, undefined, { signal });
  }
  return condition();
}
