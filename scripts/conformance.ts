// `npm run conformance`: the Connect conformance suite against the product's own listener and writer.
// `-- --json`: one object per run.
import { parseArgs } from "node:util";
import { runConformance } from "../test/conformance/suite.ts";

const { values } = parseArgs({ options: { json: { type: "boolean" } } });
const note = (line: string) => process.stderr.write(`· ${line}\n`);
let failed = 0;
for (const way of ["connect", "writer"] as const) {
  const { output, ...result } = await runConformance(way, note);
  failed += result.failed;
  if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else {
    const passed = result.cases - result.failed;
    const what = way === "writer" ? "server streams by our own writer" : "all cases by Connect's handlers";
    process.stdout.write(`${what}: ${passed} passed, ${result.failed} failed\n`);
    if (result.failed > 0) process.stdout.write(`${output}\n`);
  }
}
process.exitCode = failed > 0 ? 1 : 0;
