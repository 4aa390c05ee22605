// A program of its own: runs mongod and ends it when the server that started this dies, however it dies. It knows by
// its standard input: a pipe whose other end only that server holds, so that even a SIGKILL closes it.
// Usage: supervisor --owner <pid>@<start time> <mongod> <arguments …>. Tells `{"pid"}` and then `{"code","signal"}`, a
// line each, on standard output; mongod's own output goes to standard error, which is the log file.
import { spawn } from "node:child_process";
import { writeSync } from "node:fs";

const TERMINATE_MS_MAX = 20_000;

const [, , , , file = "mongod", ...args] = process.argv;
const mongod = spawn(file, args, { stdio: ["ignore", 2, 2] });
let stopping = false;

mongod.once("spawn", () => tell({ pid: mongod.pid }));
mongod.once("error", (error) => {
  tell({ error: error.message });
  process.exit(1);
});
mongod.once("exit", (code, signal) => {
  tell({ code, signal });
  process.exit(0);
});
process.stdin.resume();
for (const event of ["end", "close", "error"]) process.stdin.on(event, stop);
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, stop);

function stop(): void {
  if (stopping) return;
  stopping = true;
  mongod.kill("SIGTERM");
  setTimeout(() => mongod.kill("SIGKILL"), TERMINATE_MS_MAX);
}

function tell(fact: object): void {
  try {
    writeSync(1, `${JSON.stringify(fact)}\n`);
  } catch {
    // Nobody listens any more: the server is dead.
  }
}
