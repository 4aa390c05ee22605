// Appends: one transaction, at most once, fenced by the revision, whatever fails on the way.
import { randomUUID } from "node:crypto";
import { Timestamp } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { append, FencedError } from "../../src/log/append.ts";
import type { Entry, MainEntry } from "../../src/log/entry.ts";
import { readGrants } from "../../src/log/grants.ts";
import { type Log, openLog, readState } from "../../src/log/log.ts";
import { readMainEntries } from "../../src/log/read.ts";
import { connectMongo } from "../../src/mongo/connect.ts";
import { snapshotSession } from "../../src/mongo/snapshot.ts";
import { testDatabase } from "../support/mongo.ts";
import { startOwnMongod } from "../support/own-mongod.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

async function freshLog(): Promise<Log> {
  const { client, tidemarkDb, drop } = await testDatabase();
  onTestFinished(drop);
  return await openLog(client, tidemarkDb);
}

function main(k: string, seq: number, title = k): MainEntry {
  const record = new TextEncoder().encode(title);
  const rest = { feeds: ["todos/user:ana"], since: seq, marks: new Map([[2, seq]]), schema: 1, load: 4 };
  return { kind: "main", key: { c: "todos", k }, recordId: k, seq, record, ...rest };
}

async function write(log: Log, entries: readonly Entry[], more: object = {}) {
  const base = await readState(log);
  return await append(
    log,
    { base, state: { head: base.head + entries.length }, entries, ...more },
    randomUUID(),
  );
}

test("append: entries, drops, grants, quarantine and state together; a snapshot at its time shows exactly that", async () => {
  const log = await freshLog();
  await write(log, [main("a", 1), main("b", 2)]);
  const leaver = {
    kind: "leaver",
    recordId: "b",
    seq: 4,
    reason: "DELETED",
    atMs: 1_000,
    schema: 1,
  } as const;
  const grant = { key: { c: "members", k: "m" }, principal: "ana", scope: "team:t", access: "READ" } as const;
  const entries: Entry[] = [
    main("a", 3, "changed"),
    { ...leaver, key: { c: "todos", k: "b", f: "todos/user:ana" } },
  ];
  const more = {
    drops: [{ c: "todos", k: "b" }],
    grants: [grant],
    quarantine: [{ key: { c: "todos", k: "q" }, reason: "r", atMs: 5 }],
  };
  const committed = await write(log, entries, more);
  expect(committed).toMatchObject({
    before: 2,
    grantsChanged: true,
    state: { head: 4, revision: 2, grantsRevision: 2 },
  });
  await write(log, [main("a", 5, "later")]);
  const session = snapshotSession(log.client, committed.time);
  expect(await readState(log, session)).toEqual(committed.state);
  const found = await readMainEntries(
    log,
    [
      { c: "todos", k: "a" },
      { c: "todos", k: "b" },
    ],
    session,
  );
  await session.endSession();
  expect(found).toEqual([{ ...main("a", 3, "changed"), record: expect.anything() }]);
  expect(await log.quarantine.countDocuments()).toBe(1);
});

test("append: void grants → all of that collection go, whatever their keys; others and new ones stay", async () => {
  const log = await freshLog();
  const grant = (c: string, k: unknown) => ({
    key: { c, k },
    principal: "ana",
    scope: `${c}:${k}`,
    access: "READ",
  });
  await write(log, [], {
    grants: [grant("members", "a"), grant("members", 7), grant("members2", "b"), grant("m", "c")],
  });
  const { grantsChanged, state } = await write(log, [], {
    voidGrants: ["members"],
    grants: [grant("members", "d")],
  });
  expect([grantsChanged, state.grantsRevision]).toEqual([true, 2]);
  expect([...(await readGrants(log, "ana")).keys()].sort()).toEqual(["m:c", "members2:b", "members:d"]);
});

test("append: on a state that has moved on → FencedError, nothing written", async () => {
  const log = await freshLog();
  const base = await readState(log);
  await write(log, [main("a", 1)]);
  const late = append(log, { base, state: { head: 1 }, entries: [main("b", 1)] }, "late");
  await expect(late).rejects.toThrow(FencedError);
  const lateState = append(log, { base, state: { clock: new Timestamp({ t: 1, i: 1 }) } }, "late too");
  await expect(lateState).rejects.toThrow(FencedError);
  expect(await log.entries.countDocuments()).toBe(1);
});

test("append: two at once on the same state → one of them", async () => {
  const log = await freshLog();
  const base = await readState(log);
  const both = ["a", "b"].map((k) => append(log, { base, state: { head: 1 }, entries: [main(k, 1)] }, k));
  const settled = await Promise.allSettled(both);
  expect(settled.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  expect(await log.entries.countDocuments()).toBe(1);
});

test("append: seqs with a gap, or not from head on → refused before anything is written", async () => {
  const log = await freshLog();
  for (const seqs of [[2], [1, 3], [1, 1]]) {
    await expect(
      write(
        log,
        seqs.map((seq) => main(`${seq}`, seq)),
      ),
    ).rejects.toThrow("invariant");
  }
  expect((await readState(log)).revision).toBe(0);
});

test("append: stamps change load and generation of the main entries named, nothing else", async () => {
  const log = await freshLog();
  await write(log, [main("a", 1), main("b", 2)]);
  await write(log, [], { stamps: { load: 9, schema: 3, keys: [{ c: "todos", k: "a" }] } });
  const found = await readMainEntries(log, [
    { c: "todos", k: "a" },
    { c: "todos", k: "b" },
  ]);
  expect(found.map(({ recordId, load, schema, seq }) => [recordId, load, schema, seq]).sort()).toEqual([
    ["a", 9, 3, 1],
    ["b", 4, 1, 2],
  ]);
});

const failures: ReadonlyArray<readonly [string, object]> = [
  ["the commit's answer is lost", { failCommands: ["commitTransaction"], closeConnection: true }],
  [
    "the commit's answer says unknown",
    { failCommands: ["commitTransaction"], writeConcernError: { code: 64, errmsg: "planted" } },
  ],
  ["a write fails", { failCommands: ["insert"], errorCode: 112, errorLabels: ["TransientTransactionError"] }],
  ["the connection breaks", { failCommands: ["insert"], closeConnection: true }],
];

test("append: the outcome of a commit is lost, or it fails → committed exactly once", async () => {
  const mongod = await startOwnMongod(await temporaryFolder());
  const client = await connectMongo(mongod.uri);
  try {
    const log = await openLog(client, "tidemark");
    for (const [index, [name, data]] of failures.entries()) {
      const failPoint = { configureFailPoint: "failCommand", mode: { times: 2 }, data };
      await client.db("admin").command(failPoint);
      const committed = await write(log, [main(`r${index}`, index + 1)]);
      await client.db("admin").command({ configureFailPoint: "failCommand", mode: "off" });
      expect([name, committed.state.revision, await readState(log)]).toEqual([
        name,
        index + 1,
        committed.state,
      ]);
      expect(await log.entries.countDocuments()).toBe(index + 1);
    }
  } finally {
    await client.close();
    await mongod.close();
  }
});
