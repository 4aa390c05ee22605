// Folders that last as long as the test that asks for them.
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { temporaryParent, temporaryPrefix } from "./temporary-parent.ts";

/** An empty folder, removed after the test, and after whatever the test registers later to be done then. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(await temporaryParent(), temporaryPrefix(process.pid)));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}
