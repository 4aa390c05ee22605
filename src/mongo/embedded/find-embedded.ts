// Looks for the embedded database of a folder without touching it: whether there is one, and how to reach it while a
// server runs it.
import { realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { runningMongod } from "./data-folder.ts";
import { describeProcess } from "./process-table.ts";
import { REPLICA_SET } from "./replica-set.ts";
import { ownerOf } from "./supervise.ts";

export type FoundEmbedded =
  /** The folder holds no database. */
  | { readonly kind: "none" }
  /** Nobody uses it: `startEmbedded` may. */
  | { readonly kind: "idle" }
  /** A living server runs it, and ends it. */
  | { readonly kind: "running"; readonly uri: string };

export async function findEmbedded(dataFolder: string): Promise<FoundEmbedded> {
  const dbPath = await realpath(dataFolder)
    .then((real) => join(real, "mongodb"))
    .catch(() => undefined);
  // MongoDB's first file: before, there is nothing to read.
  const exists = dbPath && (await stat(join(dbPath, "WiredTiger")).catch(() => undefined));
  if (dbPath === undefined || exists === undefined) return { kind: "none" };
  const pid = await runningMongod({ dbPath });
  const facts = pid === undefined ? undefined : await describeProcess(pid);
  const supervisor = facts && (await describeProcess(facts.parentPid));
  const owner = supervisor && (await ownerOf(supervisor.command));
  const port = / --port (\d+) /.exec(facts?.command ?? "")?.[1];
  // One left behind by a server that died is ended by the next start.
  if (port === undefined || !owner?.lives) return { kind: "idle" };
  return { kind: "running", uri: `mongodb://127.0.0.1:${port}/?replicaSet=${REPLICA_SET}` };
}
