// The house keeps its own rules: the import table of src/README.md, no cycles, short files and functions, opening
// comments. Every checker is shown to fail on a planted breach.
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { breachesOf } from "./house/breaches.ts";
import { readImportTable } from "./house/import-table.ts";
import { folderOf } from "./support/folder-of.ts";

const root = join(import.meta.dirname, "..");
const biome = join(root, "node_modules/@biomejs/biome/bin/biome");

function filesOf(folders: readonly string[]): Map<string, string> {
  const names = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => `${folder}/${name.replaceAll("\\", "/")}`),
  );
  return new Map(names.map((name) => [name, readFileSync(join(root, name), "utf8")]));
}

test("house: the repository's own files → no breach", () => {
  const rows = readImportTable(readFileSync(join(root, "src/README.md"), "utf8"));
  const files = filesOf(["src", "test", "bench", "scripts", "examples"]);
  expect(rows.length).toBeGreaterThan(10);
  expect(files.size).toBeGreaterThan(50);
  expect(breachesOf(files, rows)).toEqual([]);
});

describe("planted breaches", () => {
  const table = `
| folder | owns | may import |
|---|---|---|
| \`src/model/\` | nouns | – |
| \`src/log/\` | the log | model, \`mongodb\` |
| \`src/pull/\` | passes | model, log |
| \`src/edge/\` | doors | all above, gen |
| \`src/cli/\`, \`src/main.ts\` | wiring | main: all |

| folder | other table |
`;
  const rows = readImportTable(table);
  const breaches = (files: Record<string, string>) =>
    breachesOf(
      new Map(Object.entries(files).map(([path, text]) => [path, `// It owns this.\n${text}`])),
      rows,
    );

  test.each([
    ["src/model/a.ts", 'import { b } from "../log/b.ts";', "src/log/b.ts"],
    ["src/pull/a.ts", 'import type {\n  b,\n} from "mongodb";', "mongodb"],
    ["src/pull/a.ts", 'export { b } from "../edge/b.ts";', "src/edge/b.ts"],
    ["src/pull/a.ts", 'import "../main.ts";', "src/main.ts"],
    ["src/pull/deep/a.ts", 'const b = await import("../../cli/b.ts");', "src/cli/b.ts"],
    ["src/log/a.ts", 'import { b } from "#gen/tidemark/v1/b_pb.js";', "gen/ts/tidemark/v1/b_pb.js"],
    ["src/edge/a.ts", 'import { b } from "mongodb/lib/b.js";', "mongodb/lib/b.js"],
  ])("house: %s with %j → may not import", (path, text, target) => {
    expect(breaches({ [path]: text })).toEqual([`${path}: may not import ${target}`]);
  });

  test.each([
    ["src/log/a.ts", 'import { b } from "mongodb";\nimport { c } from "../model/c.ts";\nimport "./d.ts";'],
    [
      "src/edge/a.ts",
      'import { b } from "../pull/b.ts";\nimport { c } from "#gen/c_pb.js";\nimport "node:fs";',
    ],
    ["src/main.ts", 'import { b } from "mongodb";\nimport { c } from "./edge/c.ts";'],
    ["src/pull/a.ts", 'import { b } from "pino";\n// import { c } from "../edge/c.ts";'],
  ])("house: %s with what its row allows → no breach", (path, text) => {
    expect(breaches({ [path]: text })).toEqual([]);
  });

  test("house: a folder without a row → told", () => {
    expect(breaches({ "src/new/a.ts": "" })).toEqual([
      "src/new/a.ts: its folder has no row in the import table",
    ]);
  });

  test("house: a table that names an unknown folder, and no table → refused", () => {
    expect(() => readImportTable(table.replace("model, log", "model, logs"))).toThrow('"logs"');
    expect(() => readImportTable("# Nothing")).toThrow("no table");
  });

  test("house: files importing each other in a circle → the circle, once", () => {
    const found = breaches({
      "src/log/a.ts": 'import { b } from "./b.ts";',
      "src/log/b.ts": 'import { type c, d } from "./c.ts";',
      "src/log/c.ts": 'import { a } from "./a.ts";',
      "src/log/d.ts": 'import { a } from "./a.ts";',
    });
    expect(found).toEqual([
      "imports go in a circle: src/log/a.ts → src/log/b.ts → src/log/c.ts → src/log/a.ts",
    ]);
  });

  test("house: a circle that types alone close → no breach", () => {
    const found = breaches({
      "src/log/a.ts": 'import { b } from "./b.ts";',
      "src/log/b.ts": 'import type { A } from "./a.ts";',
    });
    expect(found).toEqual([]);
  });

  test("house: a file of 401 lines → told; of 400 → not", () => {
    expect(breaches({ "src/log/a.ts": "\n".repeat(398) })).toEqual([]);
    expect(breaches({ "src/log/a.ts": "\n".repeat(399) })).toEqual(["src/log/a.ts: 401 lines, at most 400"]);
  });

  test("house: no opening comment, or one without end → told; after a shebang it still opens", () => {
    const file = (text: string) => breachesOf(new Map([["bench/a.ts", text]]), rows);
    expect(file("const a = 1;")).toEqual(["bench/a.ts: begins without a comment that says what it owns"]);
    expect(file(`${"// So.\n".repeat(7)}`)).toEqual(["bench/a.ts: an opening comment of 7 lines, at most 6"]);
    expect(file("#!/usr/bin/env node\n// So.\n")).toEqual([]);
  });

  test("house: a checker switched off, something left to do, a sleep in a test → told", () => {
    expect(breaches({ "bench/a.ts": `// biome${"-"}ignore lint: because` })).toHaveLength(1);
    expect(breaches({ "bench/a.ts": `// TO${"DO"}: more` })).toHaveLength(1);
    expect(breaches({ "bench/a.ts": `const TO${"DO"}S = 5;` })).toEqual([]);
    expect(breaches({ "test/a.ts": `await set${"Timeout"}(5);` })).toHaveLength(1);
  });

  test("house: a function of 71 lines, a promise left floating, a switch with a hole → Biome refuses", async () => {
    const planted = `
export function long(): number {
${"  Math.random();\n".repeat(70)}  return 1;
}
export async function work(): Promise<void> {
  await Promise.resolve();
}
export function floating(): void {
  work();
}
export function hole(kind: "a" | "b"): number {
  switch (kind) {
    case "a":
      return 1;
  }
  return 2;
}
`;
    const folder = await folderOf({
      "biome.json": readFileSync(join(root, "biome.json")),
      "src/planted.ts": planted,
    });
    const lint = promisify(execFile)(process.execPath, [biome, "lint", "--reporter=json"], { cwd: folder });
    const { stdout } = await lint.catch((error: { stdout: string }) => error);
    const rules = [...stdout.matchAll(/lint\/\w+\/(\w+)/g)].map(([, name]) => name);
    expect(rules).toEqual(
      expect.arrayContaining([
        "noExcessiveLinesPerFunction",
        "noFloatingPromises",
        "useExhaustiveSwitchCases",
      ]),
    );
  });
});
