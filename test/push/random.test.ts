// Random, seeded: clients that send everything repeatedly and at once, beside a direct writer, on the same records.
// The database's own change stream is the witness: each mutation has one receipt and one effect, at its commit clock.
import type { ChangeStreamDocument } from "mongodb";
import { expect, test } from "vitest";
import { type CommitClock, commitClockOf } from "../../src/model/commit-clock.ts";
import type { Receipt } from "../../src/model/receipt.ts";
import { randomOf, seedOf } from "../support/random.ts";
import { type PushFixture, pushFixture, update } from "./push-fixture.ts";
import { type Notes, runClient, runDirectWriter, type Told } from "./random-clients.ts";

const CLIENTS = 4;
const ROUNDS = 12;
const DIRECT_WRITES = 150;

/** What happened in one transaction, or by one direct write. */
interface Commit {
  readonly clock: CommitClock;
  /** Ids of mutations whose receipts it holds. */
  readonly receipts: string[];
  readonly writes: Write[];
}

interface Write {
  readonly kind: string;
  readonly recordId: string;
  /** What it made of `body`; undefined: left it. */
  readonly body: unknown;
  /** Whether it touched a key nobody declared. */
  readonly undeclared: boolean;
}

test.each([1, 2])(
  "push: clients pushing at random, run %i → every mutation has exactly one effect",
  async (run) => {
    const seed = seedOf(run);
    const fixture = await pushFixture();
    const witness = await startWitness(fixture);
    const clients = Array.from({ length: CLIENTS }, (_, index) =>
      runClient(fixture, randomOf(seed, `client ${index}`), ROUNDS),
    );
    const writer = runDirectWriter(fixture.database.source, randomOf(seed, "writer"), DIRECT_WRITES);
    const [notes] = await Promise.all([Promise.all(clients), writer]);
    const commits = await witness();
    const told = new Map(notes.flatMap((each: Notes) => [...each]));
    expect(told.size, `seed ${seed}`).toBeGreaterThan(CLIENTS * ROUNDS);
    for (const one of told.values())
      checkMutation(one, commits, `seed ${seed}, mutation ${one.mutation.mutationId}`);
    for (const commit of commits) checkCommit(commit, told, `seed ${seed}`);
    await fixture.close();
  },
);

test("push: the random test itself: a second effect, a lost one, a foreign one → found", () => {
  const write = { kind: "update", recordId: "r1", body: "m", undeclared: false };
  const commit: Commit = { clock: 1n, receipts: ["m"], writes: [write] };
  const receipt = { outcome: "APPLIED", commitClock: 1n, replayed: false } as Receipt;
  const one: Told = {
    mutation: update("r1", { body: "m" }, undefined, { mutationId: "m" }),
    receipts: [receipt],
  };
  const told = new Map([["m", one]]);
  expect(() => checkMutation(one, [commit], "")).not.toThrow();
  expect(() => checkMutation(one, [commit, { ...commit, receipts: [] }], "")).toThrow();
  expect(() => checkMutation(one, [{ ...commit, writes: [] }], "")).toThrow();
  expect(() => checkMutation(one, [{ ...commit, receipts: [] }], "")).toThrow();
  expect(() => checkMutation(one, [{ ...commit, clock: 2n }], "")).toThrow();
  expect(() => checkMutation({ ...one, receipts: [receipt, receipt] }, [commit], "")).toThrow();
  expect(() => checkCommit(commit, told, "")).not.toThrow();
  expect(() => checkCommit({ ...commit, writes: [{ ...write, undeclared: true }] }, told, "")).toThrow();
  expect(() => checkCommit({ ...commit, writes: [{ ...write, recordId: "r2" }] }, told, "")).toThrow();
  expect(() => checkCommit({ ...commit, receipts: [] }, told, "")).toThrow();
});

/** All tellings agree; a done mutation has one receipt, one effect at most, and an effect that is its own. */
function checkMutation({ mutation, receipts }: Told, commits: readonly Commit[], what: string): void {
  const { mutationId } = mutation;
  const final = receipts.filter(({ outcome }) => outcome !== "NOT_ATTEMPTED");
  expect(new Set(final.map(({ outcome }) => outcome)).size, what).toBeLessThan(2);
  expect(final.filter(({ replayed }) => !replayed).length, what).toBeLessThan(2);
  const mine = commits.filter((commit) => commit.receipts.includes(mutationId));
  const outcome = final[0]?.outcome;
  const isRecorded = outcome !== undefined;
  expect(mine.length, what).toBe(isRecorded ? 1 : 0);
  const effects = commits.flatMap(({ writes }) => writes.filter(({ body }) => body === mutationId));
  const isDone = outcome === "APPLIED" || outcome === "MERGED";
  expect(effects.length, what).toBe(isDone && mutation.kind.case !== "delete" ? 1 : 0);
  for (const { commitClock, replayed } of isDone ? final : []) {
    if (replayed) expect(commitClock >= (mine[0]?.clock ?? 0n), what).toBe(true);
    else expect(commitClock, what).toBe(mine[0]?.clock);
  }
}

/** A push writes only what its receipts say, and nothing undeclared; every other write is the direct writer's. */
function checkCommit(commit: Commit, told: ReadonlyMap<string, Told>, what: string): void {
  if (commit.receipts.length === 0) {
    for (const { body } of commit.writes) expect(String(body ?? "direct-"), what).toMatch(/^direct-/);
    return;
  }
  expect(commit.writes.length, what).toBeLessThanOrEqual(commit.receipts.length);
  const targets = commit.receipts.map((id) => told.get(id)?.mutation.recordId);
  for (const write of commit.writes) {
    expect(targets, what).toContain(write.recordId);
    expect(write.undeclared, what).toBe(false);
    if (write.kind !== "delete") expect(commit.receipts, what).toContain(write.body);
  }
}

/** Watches source and ledger from now on; the function it gives ends that, and tells all commits, in order. */
async function startWitness({ database, ledger }: PushFixture): Promise<() => Promise<Commit[]>> {
  const databases = { $in: [database.sourceDb, database.tidemarkDb] };
  const stream = database.client.watch([{ $match: { "ns.db": databases } }]);
  await stream.tryNext();
  return async () => {
    const { insertedId } = await database.source.collection<{ _id: string }>("end").insertOne({ _id: "end" });
    const commits = new Map<CommitClock, Commit>();
    for (;;) {
      const event = await stream.next();
      if (!("documentKey" in event) || event.clusterTime === undefined) continue;
      if (event.ns.coll === "end" && String(event.documentKey._id) === insertedId) break;
      const clock = commitClockOf(event.clusterTime);
      const commit = commits.get(clock) ?? { clock, receipts: [], writes: [] };
      commits.set(clock, commit);
      if (event.ns.coll === "notes") commit.writes.push(writeOf(event));
      else if (event.ns.coll === ledger.receipts.collectionName)
        commit.receipts.push(String(event.documentKey._id));
    }
    await stream.close();
    return [...commits.values()];
  };
}

function writeOf(event: ChangeStreamDocument): Write {
  const recordId = "documentKey" in event ? String(event.documentKey._id) : "";
  const kind = event.operationType;
  if (event.operationType === "insert") {
    const { body, undeclared } = event.fullDocument;
    return { kind, recordId, body, undeclared: undeclared !== undefined };
  }
  if (event.operationType !== "update") return { kind, recordId, body: undefined, undeclared: false };
  const { updatedFields, removedFields } = event.updateDescription;
  const keys = [...Object.keys(updatedFields ?? {}), ...(removedFields ?? [])];
  const undeclared = keys.some((key) => key.startsWith("undeclared"));
  return { kind, recordId, body: updatedFields?.["body"], undeclared };
}
