// While the log is at no single cluster time it says so: parts of one transaction, reads at "now".
import type { ClientSession } from "mongodb";
import { beforeAll, expect, test } from "vitest";
import type { CommittedAppend } from "../../src/log/append.ts";
import { isSettled } from "../../src/log/state.ts";
import { classOf } from "../../src/mongo/error-class.ts";
import type { Schema } from "../../src/schema/schema.ts";
import { startOwnMongod } from "../support/own-mongod.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { waitFor } from "../support/wait-for.ts";
import { type IngestFixture, ingestFixture } from "./ingest-fixture.ts";
import { faultsOf } from "./log-checker.ts";
import { testSchema } from "./test-schema.ts";

let schema: Schema;
beforeAll(async () => {
  schema = await testSchema();
});

const ids = Array.from({ length: 50 }, (_, index) => `t${index}`);
const titled = (_id: string, title = _id) => ({ _id, title, ownerId: "ana" });

async function inTransaction(
  fixture: IngestFixture,
  work: (session: ClientSession) => Promise<unknown>,
): Promise<void> {
  const session = fixture.client.startSession();
  await session.withTransaction(async () => {
    await work(session);
  });
  await session.endSession();
}

const writing = (appends: readonly CommittedAppend[]) => appends.filter(({ entries }) => entries.length > 0);

test("a transaction over several appends → unsettled until its last part; no part of it ever settled (P3)", async () => {
  const fixture = await ingestFixture(schema);
  const node = await fixture.start({ settings: { recordsMax: 8 } });
  await fixture.settled();
  await inTransaction(fixture, (session) =>
    fixture.todos.insertMany(
      ids.map((id) => titled(id)),
      { session },
    ),
  );
  await fixture.settled();
  const parts = writing(node.appends);
  expect(parts.length).toBeGreaterThanOrEqual(7);
  expect(parts.slice(0, -1).some(({ state }) => isSettled(state))).toBe(false);
  const last = parts.at(-1);
  expect(last && isSettled(last.state)).toBe(true);
});

test("killed between the parts of a transaction → the rest follows, nothing is doubled, never settled between", async () => {
  const fixture = await ingestFixture(schema);
  const first = await fixture.start({ settings: { recordsMax: 4 } });
  await fixture.settled();
  await inTransaction(fixture, (session) =>
    fixture.todos.insertMany(
      ids.map((id) => titled(id)),
      { session },
    ),
  );
  await waitFor(() => writing(first.appends).length >= 2);
  await first.kill();
  const between = await fixture.state();
  expect(isSettled(between) && between.head < 50).toBe(false);
  await fixture.start({ settings: { recordsMax: 4 } });
  await fixture.settled();
  expect((await fixture.state()).head).toBe(50);
});

test("appends are bounded by bytes → a group of large records is spread, unsettled meanwhile", async () => {
  const fixture = await ingestFixture(schema);
  const node = await fixture.start({ settings: { appendBytesMax: 100_000 } });
  await fixture.settled();
  const large = (id: string) => ({ ...titled(id), title: "x".repeat(30_000) });
  await inTransaction(fixture, (session) => fixture.todos.insertMany(ids.map(large), { session }));
  await fixture.settled();
  const parts = writing(node.appends);
  expect(Math.max(...parts.map(({ entries }) => entries.length))).toBeLessThanOrEqual(4);
  expect(parts.slice(0, -1).some(({ state }) => isSettled(state))).toBe(false);
});

test("a time fallen out of the snapshot window → read at now, settled when the clock has reached it", async () => {
  const mongod = await startOwnMongod(await temporaryFolder());
  try {
    await readTooLate(mongod.uri);
  } finally {
    await mongod.close();
  }
});

async function readTooLate(uri: string): Promise<void> {
  const fixture = await ingestFixture(schema, uri);
  const keepHistory = (seconds: number) =>
    fixture.client.db("admin").command({ setParameter: 1, minSnapshotHistoryWindowInSeconds: seconds });
  await fixture.todos.insertMany([titled("a"), titled("b"), titled("c")]);
  const first = await fixture.start();
  await fixture.settled();
  await first.close();
  await keepHistory(0);
  for (const id of ["a", "b"]) await fixture.todos.updateOne({ _id: id }, { $set: { title: "1" } });
  for (const id of ["b", "a"]) await fixture.todos.updateOne({ _id: id }, { $set: { title: "2" } });
  await fixture.todos.deleteOne({ _id: "c" });
  const { clock } = await fixture.state();
  const readConcern = { level: "snapshot", atClusterTime: clock };
  await waitFor(async () => {
    await fixture.source.collection("other").insertOne({});
    const read = fixture.source.command({ find: "todos", readConcern });
    return await read.then(() => false).catch((error: unknown) => classOf(error) === "snapshot-lost");
  });
  const second = await fixture.start({ settings: { recordsMax: 1 } });
  await waitFor(() => second.appends.some(({ state }) => state.settledAfter !== undefined));
  await waitFor(() => second.status().settled);
  await keepHistory(300);
  await fixture.todos.insertOne(titled("d"));
  await fixture.settled();
  const ahead = second.appends.find(({ state }) => state.settledAfter);
  expect(ahead && isSettled(ahead.state)).toBe(false);
  const titles = writing(second.appends).flatMap(({ entries }) => entries.map((entry) => entry.recordId));
  expect(titles.filter((id) => id === "a")).toHaveLength(1);
  expect(await faultsOf(fixture)).toEqual([]);
  await second.close();
}
