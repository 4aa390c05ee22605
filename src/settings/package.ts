// The package this code is part of.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { invariant } from "../model/invariant.ts";

/** The version the package's manifest gives. */
export function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(packageFolder(), "package.json"), "utf8"));
  invariant(typeof manifest === "object" && manifest !== null && "version" in manifest, "a version is given");
  return String(manifest.version);
}

/** Where its manifest lies: source and compiled code lie at different depths below it. */
export function packageFolder(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, "package.json"))) {
    invariant(dirname(folder) !== folder, "the code lies below the package's manifest");
    folder = dirname(folder);
  }
  return folder;
}
