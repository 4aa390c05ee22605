// `npm run bench`: measures every row in one run on this machine and prints the ratios.
// `-- --json`: one object per line; `-- --write`: renews the table in bench/README.md and the picture; `-- load live`: some rows only.
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Bench, onOneCore } from "./bench.ts";
import { picture } from "./picture.ts";
import type { Measured, Row } from "./row.ts";
import { access } from "./rows/access.ts";
import { catchUp } from "./rows/catch-up.ts";
import { endToEnd } from "./rows/end-to-end.ts";
import { fanOut } from "./rows/fan-out.ts";
import { live } from "./rows/live.ts";
import { load } from "./rows/load.ts";
import { memory } from "./rows/memory.ts";
import { push } from "./rows/push.ts";
import { pushCpu } from "./rows/push-cpu.ts";
import { pushOverGrpc } from "./rows/push-grpc.ts";
import { stalled } from "./rows/stalled.ts";
import { tail } from "./rows/tail.ts";
import { markdownTable } from "./table.ts";

const ROWS: readonly Row[] = [
  load,
  catchUp,
  fanOut,
  live,
  memory,
  stalled,
  tail,
  push,
  pushOverGrpc,
  pushCpu,
  endToEnd,
  access,
];
const PICTURE = join(import.meta.dirname, "bench.svg");
const README = join(import.meta.dirname, "README.md");
const MARKS = /(<!-- table -->\n)[\s\S]*(<!-- \/table -->)/;

const { values, positionals } = parseArgs({
  options: { json: { type: "boolean" }, write: { type: "boolean" } },
  allowPositionals: true,
});
const rows = ROWS.filter((row) => positionals.length === 0 || positionals.includes(row.name));
const note = (line: string) => process.stderr.write(`· ${line}\n`);
const bench = await Bench.start(note);
const results: Measured[] = [];
const failed: string[] = [];
try {
  for (const row of rows) {
    note(`measuring ${row.name} …`);
    const measurements = await row.run(bench).catch((error: unknown) => {
      // The others are worth having all the same.
      note(`${row.name} failed: ${error instanceof Error ? error.message : String(error)}`);
      failed.push(row.name);
      return [];
    });
    await bench.stopServers();
    results.push(...measurements);
    if (values.json)
      for (const measurement of measurements) process.stdout.write(`${JSON.stringify(measurement)}\n`);
  }
} finally {
  await bench.close();
}
const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? "CPU"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`;
const core = onOneCore().length > 0 ? "the server on one core" : "the server not held to one core";
const footer = `${new Date().toISOString().slice(0, 10)}, ${machine}, ${core}`;
const table = `${markdownTable(results)}\n\n${footer}, \`npm run bench\`.\n`;
if (!values.json) process.stdout.write(`\n${table}`);
if (values.write) {
  writeFileSync(README, readFileSync(README, "utf8").replace(MARKS, `$1${table}$2`));
  writeFileSync(PICTURE, picture(results, footer));
}
process.exitCode = failed.length > 0 || results.some((result) => result.met === false) ? 1 : 0;
