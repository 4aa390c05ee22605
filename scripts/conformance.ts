// `npm run conformance`: the Connect conformance suite against the product's own listener and writer.
// `-- --json`: one object per run.
import { parseArgs } from "node:util";
import { type Conformance, runConformance } from "../test/conformance/suite.ts";

const { values } = parseArgs({ options: { json: { type: "boolean" } } });
const note = (line: string) => process.stderr.write(`· ${line}\n`);
const whatOf = { connect: "all cases by Connect's handlers", writer: "server streams by our own writer" };
let failed = 0;
for (const way of ["connect", "writer"] as const) {
  const result = await runConformance(way, note);
  failed += result.failures.length;
  if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else tell(result);
}
process.exitCode = failed > 0 ? 1 : 0;

function tell({ way, cases, passed, known, casesOf, failures }: Conformance): void {
  const protocols = Object.entries(casesOf).map(([protocol, count]) => `${protocol} ${count}`);
  const knowingly = known > 0 ? `, ${known} knowingly (docs/conformance.md)` : "";
  const counts = `${passed} passed, ${failures.length} failed${knowingly}`;
  process.stdout.write(`${whatOf[way]}: ${counts}; ${cases} run: ${protocols.join(", ")}\n`);
  for (const failure of failures) process.stdout.write(`${failure}\n`);
}
