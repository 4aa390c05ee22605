// `npm run generate`: the committed code in gen/ — TypeScript for the server, Kotlin for clients of the demo.
// `npm run generate -- --check` writes nothing and fails where what is committed differs from what would be generated.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { compileProtos } from "../src/generate/compile-protos.ts";
import { generateClients } from "../src/generate/generate-clients.ts";
import { KotlinToolsMissing } from "../src/generate/kotlin-tools.ts";
import { filesIn } from "../src/generate/replace-generated.ts";

const root = join(import.meta.dirname, "..");
const differencesShownMax = 20;

async function generateInto(base: string): Promise<string[]> {
  execFileSync("buf", ["generate", "--output", base], { cwd: root, stdio: "inherit" });
  return (await generateKotlin(join(base, "gen/kotlin"))) ? ["gen/ts", "gen/kotlin"] : ["gen/ts"];
}

/** False where this machine lacks the tools, which is told; CI must have them. */
async function generateKotlin(folder: string): Promise<boolean> {
  try {
    await generateClients({
      schema: await compileProtos(join(root, "proto/demo")),
      kotlin: folder,
      toolsFolder: join(root, ".cache/tools"),
      progress: (line) => console.log(line),
    });
    return true;
  } catch (error) {
    if (!(error instanceof KotlinToolsMissing) || process.env.CI) throw error;
    console.log(`gen/kotlin is neither made nor checked: ${error.message}`);
    return false;
  }
}

/** Paths whose content differs, or which only one side has. */
async function differences(fresh: string, folders: readonly string[]): Promise<string[]> {
  const paths = new Set<string>();
  for (const base of [fresh, root]) {
    for (const folder of folders) {
      for (const path of await filesIn(join(base, folder))) paths.add(relative(base, path));
    }
  }
  return [...paths].filter((path) => contentOf(join(fresh, path)) !== contentOf(join(root, path))).sort();
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}

async function check(): Promise<void> {
  const fresh = mkdtempSync(join(tmpdir(), "tidemark-gen-"));
  try {
    const stale = await differences(fresh, await generateInto(fresh));
    for (const path of stale.slice(0, differencesShownMax)) console.error(`not up to date: ${path}`);
    if (stale.length === 0) return;
    console.error(`${stale.length} files differ from what \`npm run generate\` makes`);
    process.exitCode = 1;
  } finally {
    rmSync(fresh, { recursive: true });
  }
}

if (process.argv.includes("--check")) await check();
else await generateInto(root);
