// `npm run build`: dist/, the JavaScript that the published package and `npx tidemark` run. Fails on any type error.
import { spawnSync } from "node:child_process";
import { chmodSync, rmSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

rmSync(join(root, "dist"), { recursive: true, force: true });
const { status } = spawnSync("tsc", ["-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
if (status === 0) chmodSync(join(root, "dist/cli/tidemark.js"), 0o755);
else process.exitCode = 1;
