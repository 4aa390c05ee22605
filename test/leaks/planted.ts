// Leaks planted in a copy of the sources: each one edit of one place, after which the product sends what it shouldn't.
// An edit that no longer applies is an error: the fault must then be planted anew.
import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");

export interface PlantedLeak {
  readonly name: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** What the checker's sentence has in it. */
  readonly told: RegExp;
  /** Found in few histories: CI can afford it. */
  readonly isQuick?: true;
}

const PULL = /PullChanges|ListChanges/;

export const PLANTED: readonly PlantedLeak[] = [
  {
    name: "catch-up: a feed taken away stays held",
    file: "pull/subscription.ts",
    from: "const granted = new Set(feeds);",
    to: "const granted = new Set([...feeds, ...before.held.keys()]);",
    told: PULL,
    isQuick: true,
  },
  {
    name: "catch-up: records of a feed taken away are put once more",
    file: "pull/pass.ts",
    from: '.map((entry) => ({ kind: "remove", entry, cause: "REVOKED" }))',
    to: '.map((entry) => ({ kind: entry.kind === "main" ? "put" : "remove", entry, changed: [], cause: "REVOKED" }))',
    told: PULL,
  },
  {
    name: "packs: records that changed or left since are sent all the same",
    file: "pull/pack-reading.ts",
    from: "const changed = await snapshot.changedIds(feed, pack.seq, Math.min(max, CHANGED_MAX));",
    to: "const changed = new Set<string>();",
    told: PULL,
    isQuick: true,
  },
  {
    name: "live: grants taken away don't end the reading of steps",
    file: "pull/live.ts",
    from: "const portions = this.#isStillGranted(step) ? this.#portionsOf(step) : undefined;",
    to: "const portions = this.#portionsOf(step);",
    told: /PullChanges/,
  },
  {
    name: "live: audiences of as many feeds share their bytes",
    file: "pull/audiences.ts",
    from: "const name = JSON.stringify(sorted);",
    to: "const name = String(sorted.length);",
    told: /PullChanges/,
    isQuick: true,
  },
  {
    name: "leavers: told also to who never held the record",
    file: "pull/subscription.ts",
    from: "standings.some((standing) => entry.seq > removesAfter(subscription, standing))",
    to: "standings.some((standing) => entry.seq > standing.floor)",
    told: /id _id/,
    isQuick: true,
  },
  {
    name: "re-grant: leavers from before a scope was granted, again or at first",
    file: "pull/subscription.ts",
    from: "held.set(feed, { floor: 0, join: head, cover });",
    to: "held.set(feed, { floor: 0, join: 0, cover });",
    told: /id _id/,
    isQuick: true,
  },
  {
    name: "a feed added: the others forget since when they are held",
    file: "pull/subscription.ts",
    from: "join: join <= delivered ? 0 : join,",
    to: "join: 0,",
    told: /id _id/,
  },
  {
    name: "cursors: another principal's is taken",
    file: "pull/cursor-token.ts",
    from: "[Buffer.from(epoch), Buffer.from(principal), head]",
    to: "[Buffer.from(epoch), head]",
    told: /id _id/,
  },
  {
    name: "ListChanges: pages as the first caller's",
    file: "pull/pull.ts",
    from: "const about = { principal,",
    to: "const about = { principal: (Object.lent ??= principal),",
    // A stream may be the first to show it: of a cursor that such a page gave.
    told: PULL,
    isQuick: true,
  },
  {
    name: "push: records are told to whoever names them",
    file: "push/decide.ts",
    from: "encoded.recordId === recordId && canRead(grants, encoded.scopes)",
    to: "encoded.recordId === recordId",
    told: /PushMutations|Receipt/,
  },
  {
    name: "push: rights aren't asked for",
    file: "push/decide.ts",
    from: "const view = viewOf(read, situation.found, situation.grants);",
    to: 'Object.assign(situation, { grants: { get: () => "READ_WRITE", has: () => true } });\n  const view = viewOf(read, situation.found, situation.grants);',
    told: /PushMutations/,
  },
  {
    name: "receipts: the sides of conflicts, though the record is out of sight",
    file: "push/past-receipts.ts",
    from: "const told = visible(stored) ? stored.conflicts : [];",
    to: "const told = stored.conflicts;",
    told: /Receipt/,
    isQuick: true,
  },
  {
    name: "receipts: anybody's by its id",
    file: "push/past-receipts.ts",
    from: "!(principal.isService || stored.principal === principal.id)",
    to: "false",
    told: /GetReceipt/,
  },
  {
    name: "codec: hidden fields are records' as any other",
    file: "schema/message-codec.ts",
    from: ".filter((field) => !field.hidden)",
    to: ".filter(() => true)",
    told: /hidden/,
    isQuick: true,
  },
  {
    name: "scopes: a record in two is everybody's",
    file: "schema/scopes.ts",
    from: "if (scopes.size > SCOPES_MAX) throw new UnfitDocument(tooMany);",
    to: 'if (scopes.size > 1) scopes.add("open:all");',
    told: PULL,
  },
  {
    name: "memberships: a row without a right gives READ",
    file: "schema/scopes.ts",
    from: 'if (value === undefined || value === null || !("leaf" in field.value)) return undefined;',
    to: 'if (value === undefined || value === null || !("leaf" in field.value)) return "READ";',
    told: PULL,
  },
  {
    name: "log: what is pushed",
    file: "edge/sync-service.ts",
    from: "const { atomic } = request;",
    to: 'const { atomic } = request;\n      const pushed = request.mutations.map(({ kind }) => kind.value?.record?.form.value);\n      callOf(context).logger.info({ pushed }, "pushed");',
    told: /log line/,
  },
];

/** The file's text with the leak in it. @throws if it no longer applies. */
export async function withLeak({ name, file, from, to }: PlantedLeak): Promise<string> {
  const text = await readFile(join(ROOT, "src", file), "utf8");
  if (text.split(from).length !== 2)
    throw new Error(`"${name}" can't be planted in src/${file} any more: plant it anew`);
  return text.replace(from, () => to);
}

/** Makes a folder from which a server with the leak runs. */
export async function plant(leak: PlantedLeak, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await cp(join(ROOT, "src"), join(folder, "src"), { recursive: true });
  for (const shared of ["gen", "node_modules", "proto", "package.json"]) {
    await symlink(join(ROOT, shared), join(folder, shared));
  }
  await writeFile(join(folder, "src", leak.file), await withLeak(leak));
}
