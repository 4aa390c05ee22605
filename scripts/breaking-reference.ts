// What the protos must stay compatible with: those of the last release, before the first one those of `main`.
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface BreakingReference {
  readonly ref: string;
  /** The ref's protos, in a workspace that has the imported ones beside them. */
  readonly folder: string;
  close(): Promise<void>;
}

/** Undefined where the clone knows neither a release tag nor `main`, or the ref has no protos. */
export function breakingReference(root: string): BreakingReference | undefined {
  const git = (...args: readonly string[]): string | undefined => {
    try {
      return execFileSync("git", args, {
        cwd: root,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      }).trim();
    } catch {
      return undefined;
    }
  };
  const isCommit = (ref: string) => git("rev-parse", "--verify", "--quiet", `${ref}^{commit}`) !== undefined;
  const release = git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*");
  const ref = release ?? ["main", "origin/main"].find(isCommit);
  if (ref === undefined || git("cat-file", "-e", `${ref}:proto`) === undefined) return undefined;

  const workspace = mkdtempSync(join(tmpdir(), "tidemark-breaking-"));
  const archive = join(workspace, "proto.tar");
  execFileSync("git", ["archive", "--output", archive, ref, "proto"], { cwd: root });
  execFileSync("tar", ["-xf", archive], { cwd: workspace });
  cpSync(join(root, "buf.yaml"), join(workspace, "buf.yaml"));
  cpSync(join(root, ".cache/proto"), join(workspace, ".cache/proto"), { recursive: true });
  const close = () => rm(workspace, { recursive: true, force: true });
  return { ref, folder: join(workspace, "proto"), close };
}
