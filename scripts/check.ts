// `npm run check`: everything CI asks of the source itself. Every step runs, whatever the ones before it found;
// one line per step, the output of those that failed, exit code 1 if any did.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { breakingReference } from "./breaking-reference.ts";

interface Step {
  readonly name: string;
  readonly command: readonly [program: string, ...args: string[]];
}

const root = join(import.meta.dirname, "..");

const steps: readonly Step[] = [
  { name: "format and lint", command: ["biome", "check", "--error-on-warnings", "."] },
  { name: "types", command: ["tsc", "-p", "tsconfig.json"] },
  { name: "unused code", command: ["knip"] },
  { name: "proto lint", command: ["buf", "lint", "proto"] },
  { name: "proto format", command: ["buf", "format", "--diff", "--exit-code", "proto"] },
  { name: "generated code", command: ["node", "scripts/generate.ts", "--check"] },
];

interface Outcome {
  readonly ok: boolean;
  readonly output: string;
}

/** npm puts node_modules/.bin on the path, so that the programs are the project's own. */
function run([program, ...args]: Step["command"]): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const child = spawn(program, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  child.on("error", (error) => resolve({ ok: false, output: `${program}: ${error.message}\n` }));
  child.on("close", (code) => resolve({ ok: code === 0, output }));
  return promise;
}

async function report(name: string, work: () => Promise<Outcome>): Promise<boolean> {
  const start = performance.now();
  const { ok, output } = await work();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${ok ? "ok  " : "FAIL"} ${seconds.padStart(5)} s  ${name}`);
  // A step that passed may have a line to say about what it could not look at.
  if (!ok || output.includes("nor checked")) console.log(output.trimEnd());
  return ok;
}

async function compatibility(): Promise<boolean> {
  const reference = breakingReference(root);
  if (reference === undefined) {
    console.log("–           proto compatibility: nothing to compare with, neither a release tag nor `main`");
    return true;
  }
  const { ref, folder, close } = reference;
  const args = ["breaking", "proto", "--against", folder] as const;
  return await report(`proto compatibility with ${ref}`, () => run(["buf", ...args])).finally(close);
}

const results: boolean[] = [];
for (const { name, command } of steps) results.push(await report(name, () => run(command)));
results.push(await compatibility());

const failed = results.filter((ok) => !ok).length;
if (failed > 0) {
  console.log(`${failed} of ${results.length} checks failed`);
  process.exitCode = 1;
}
