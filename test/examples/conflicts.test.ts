// The README's section on conflicts: its example prints what the section shows, rule by rule.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);

test("conflicts: the example, all rules → word for word what the README shows", async () => {
  const { stdout } = await run(process.execPath, ["examples/conflicts/two-devices.ts"], { cwd: ROOT });
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  const [, shown] = /<!-- conflicts -->\n```\n([^`]*)```/.exec(readme) ?? [];
  expect(shown).toBe(stdout.trimStart());
}, 120_000);

test("conflicts: the example, a rule by name → that rule alone", async () => {
  const { stdout } = await run(process.execPath, ["examples/conflicts/two-devices.ts", "counter"], {
    cwd: ROOT,
  });
  expect(stdout).toMatch(/^\nCOUNTER\n/);
  expect(stdout.match(/both have seen/g)).toHaveLength(1);
  expect(stdout).toMatch(/so there is {5}votes 9\n$/);
}, 120_000);
