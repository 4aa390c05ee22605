// What the tail makes of writes: which entries, feeds, marks and leavers, and when nothing at all.
import { Long, ObjectId } from "mongodb";
import { beforeAll, expect, test } from "vitest";
import type { Schema } from "../../src/schema/schema.ts";
import { waitFor } from "../support/wait-for.ts";
import { type IngestFixture, ingestFixture, type Node } from "./ingest-fixture.ts";
import { testSchema } from "./test-schema.ts";

let schema: Schema;
beforeAll(async () => {
  schema = await testSchema();
});

async function started(): Promise<IngestFixture & { readonly node: Node }> {
  const fixture = await ingestFixture(schema);
  const node = await fixture.start();
  await fixture.settled();
  return { ...fixture, node };
}

const titled = (title: string) => ({ title, ownerId: "ana" });

test("tail: insert, update, replace, delete → one entry each, as the source is", async () => {
  const fixture = await started();
  await fixture.todos.insertOne({ _id: "a", ...titled("one") });
  await fixture.settled();
  expect(await fixture.main("todos/a")).toMatchObject({
    seq: 1,
    since: 1,
    feeds: ["todos/user:ana"],
    recordId: "a",
  });
  await fixture.todos.updateOne({ _id: "a" }, { $set: { title: "two" } });
  await fixture.settled();
  await fixture.todos.replaceOne({ _id: "a" }, { title: "two", ownerId: "ana", votes: 3 });
  await fixture.settled();
  const main = await fixture.main("todos/a");
  expect([main.seq, main.since, [...main.marks]]).toEqual([
    3,
    1,
    [
      [2, 2],
      [5, 3],
    ],
  ]);
  await fixture.todos.deleteOne({ _id: "a" });
  await fixture.settled();
  const entries = await fixture.entries();
  expect([...entries.keys()].sort()).toEqual(["todos/a ⇥ todos/user:ana"]);
  expect([...entries.values()][0]).toMatchObject({ seq: 4, reason: "DELETED" });
});

test("tail: several writes to one record in one fetch → one entry", async () => {
  const fixture = await started();
  await fixture.node.close();
  await fixture.todos.insertOne({ _id: "a", ...titled("1") });
  for (const title of ["2", "3", "4"]) await fixture.todos.updateOne({ _id: "a" }, { $set: { title } });
  await fixture.start();
  await fixture.settled();
  expect((await fixture.state()).head).toBe(1);
});

test("tail: no declared field, feed or grant changed → no entry", async () => {
  const fixture = await started();
  await fixture.todos.insertOne({ _id: "a", ...titled("one") });
  const { head } = await fixture.settled();
  await fixture.todos.updateOne(
    { _id: "a" },
    { $set: { undeclared: 1, secret: "s", votes: 0, place: null } },
  );
  await fixture.todos.updateOne({ _id: "a" }, { $set: { title: "other" } });
  await fixture.todos.updateOne({ _id: "a" }, { $set: { title: "one" } });
  await fixture.settled();
  const { marks } = await fixture.main("todos/a");
  expect([...marks.keys()].filter((field) => field !== 2)).toEqual([]);
  await fixture.todos.updateOne({ _id: "a" }, { $set: { undeclared: 2 } });
  const before = (await fixture.state()).head;
  await fixture.settled();
  expect((await fixture.state()).head).toBe(before);
  expect(before - head).toBeLessThanOrEqual(2);
});

test("tail: a record changes scope → a leaver of its own seq below the main entry's, since raised", async () => {
  const fixture = await started();
  await fixture.todos.insertOne({ _id: "a", ...titled("one"), watcherIds: ["bo", "cy"] });
  await fixture.settled();
  await fixture.todos.updateOne({ _id: "a" }, { $set: { watcherIds: ["dee"] } });
  await fixture.settled();
  const entries = await fixture.entries();
  expect([...entries.keys()].sort()).toEqual([
    "todos/a",
    "todos/a ⇥ todos/user:bo",
    "todos/a ⇥ todos/user:cy",
  ]);
  const main = await fixture.main("todos/a");
  expect([main.seq, main.since, main.marks.size]).toEqual([4, 4, 0]);
  const seqs = [...entries.values()].map(({ seq }) => seq).sort();
  expect(seqs).toEqual([2, 3, 4]);
  expect(entries.get("todos/a ⇥ todos/user:bo")).toMatchObject({ reason: "LEFT_SCOPE" });
});

test("tail: a record leaves a feed and enters none → since stays", async () => {
  const fixture = await started();
  await fixture.todos.insertOne({ _id: "a", ...titled("one"), watcherIds: ["bo"] });
  await fixture.settled();
  await fixture.todos.updateOne({ _id: "a" }, { $set: { watcherIds: [] } });
  await fixture.settled();
  const main = await fixture.main("todos/a");
  expect([main.seq, main.since, [...main.marks]]).toEqual([3, 1, [[4, 3]]]);
});

test("tail: re-entering a feed → that leaver goes, others stay", async () => {
  const fixture = await started();
  await fixture.todos.insertOne({ _id: "a", ...titled("one"), watcherIds: ["bo", "cy"] });
  await fixture.settled();
  await fixture.todos.deleteOne({ _id: "a" });
  await fixture.settled();
  await fixture.todos.insertOne({ _id: "a", ...titled("one"), watcherIds: ["bo"] });
  await fixture.settled();
  expect(await fixture.labels()).toEqual(["todos/a", "todos/a ⇥ todos/user:cy"]);
});

test("tail: a record in no scope → no entry; in one again → whole", async () => {
  const fixture = await started();
  await fixture.todos.insertOne({ _id: "a", title: "nobody's" });
  await fixture.settled();
  expect((await fixture.entries()).size).toBe(0);
  await fixture.todos.updateOne({ _id: "a" }, { $set: { ownerId: "ana" } });
  await fixture.settled();
  expect((await fixture.main("todos/a")).since).toBe(1);
});

test("tail: a transaction over two records → one append (P3)", async () => {
  const fixture = await started();
  const session = fixture.client.startSession();
  await session.withTransaction(async () => {
    await fixture.todos.insertOne({ _id: "a", ...titled("one") }, { session });
    await fixture.todos.insertOne({ _id: "b", ...titled("two") }, { session });
  });
  await session.endSession();
  await fixture.settled();
  const sizes = fixture.node.appends.map(({ entries }) => entries.length).filter((size) => size > 0);
  expect(sizes).toEqual([2]);
});

test("tail: a document that can't be encoded → quarantined, absent; mended → whole again", async () => {
  const fixture = await started();
  await fixture.todos.insertMany([
    { _id: "a", ...titled("one") },
    { _id: "b", ...titled("two") },
  ]);
  await fixture.settled();
  await fixture.todos.updateOne({ _id: "a" }, { $set: { votes: "many" } });
  await fixture.settled();
  expect(await fixture.labels()).toEqual(["todos/a ⇥ todos/user:ana", "todos/b"]);
  const [found] = await fixture.log.quarantine.find().toArray();
  expect(found).toMatchObject({ _id: { c: "todos", k: "a" }, reason: expect.stringContaining("votes") });
  await waitFor(() => fixture.node.status().quarantined === 1);
  await fixture.todos.updateOne({ _id: "a" }, { $set: { votes: 2 } });
  await fixture.settled();
  const main = await fixture.main("todos/a");
  expect(main.since).toBe(main.seq);
  expect(await fixture.log.quarantine.countDocuments()).toBe(0);
});

test("tail: an _id of another type than declared → quarantined; ingest goes on", async () => {
  const fixture = await started();
  await fixture.todos.insertMany([
    { _id: new ObjectId(), ...titled("one") },
    { _id: { x: 1 }, ...titled("two") },
  ]);
  await fixture.todos.insertOne({ _id: "a", ...titled("three") });
  await fixture.settled();
  expect(await fixture.log.quarantine.countDocuments()).toBe(2);
  expect(await fixture.labels()).toEqual(["todos/a"]);
});

test("tail: an int64 id as long, int or double → the same entry; looked up by any of them", async () => {
  const fixture = await started();
  const { counters } = fixture;
  await counters.insertOne({ _id: Long.fromNumber(7), value: 1 });
  await fixture.settled();
  await counters.deleteOne({ _id: 7 });
  await counters.insertOne({ _id: 7, value: 2 });
  await fixture.settled();
  expect(await fixture.labels()).toEqual(["counters/7"]);
  expect(await fixture.log.entries.countDocuments({ _id: { c: "counters", k: Long.fromNumber(7) } })).toBe(1);
  await counters.deleteOne({ _id: 7 });
  await fixture.settled();
  expect(await fixture.labels()).toEqual(["counters/7 ⇥ counters/public"]);
});

test("tail: keys are matched exactly where a collation finds another", async () => {
  const fixture = await ingestFixture(schema);
  await fixture.source.createCollection("todos", { collation: { locale: "en", strength: 1 } });
  await fixture.todos.insertOne({ _id: "a", ...titled("small") });
  const node = await fixture.start();
  await fixture.settled();
  await node.close();
  await fixture.todos.deleteOne({ _id: "a" });
  await fixture.todos.insertOne({ _id: "A", ...titled("large") });
  await fixture.start();
  await fixture.settled();
  expect(await fixture.labels()).toEqual(["todos/A", "todos/a ⇥ todos/user:ana"]);
});

test("tail: a membership grants in the append of its record; changed and deleted likewise", async () => {
  const fixture = await started();
  const { members } = fixture;
  await members.insertOne({ _id: "m", userId: "ana", teamId: "t1", access: "READ" });
  await fixture.settled();
  expect(await fixture.log.grants.find().toArray()).toEqual([
    { _id: { c: "members", k: "m" }, principal: "ana", scope: "team:t1", access: "READ" },
  ]);
  const { grantsRevision } = await fixture.state();
  await members.updateOne({ _id: "m" }, { $set: { access: "READ_WRITE" } });
  await fixture.settled();
  expect((await fixture.log.grants.findOne())?.access).toBe("READ_WRITE");
  expect((await fixture.state()).grantsRevision).toBeGreaterThan(grantsRevision);
  await members.deleteOne({ _id: "m" });
  await fixture.settled();
  expect(await fixture.log.grants.countDocuments()).toBe(0);
});

test("tail: 16 MB documents and more than one reply holds → all there, none quarantined for its undeclared part", async () => {
  const fixture = await started();
  const large = Buffer.alloc(6_000_000);
  const session = fixture.client.startSession();
  await session.withTransaction(async () => {
    for (const _id of ["a", "b", "c", "d"]) {
      await fixture.todos.insertOne({ _id, ...titled("large"), blob: large }, { session });
    }
  });
  await session.endSession();
  await fixture.todos.insertOne({ _id: "e", ...titled("x".repeat(15_500_000)) });
  await fixture.settled();
  expect(await fixture.labels()).toEqual(["todos/a", "todos/b", "todos/c", "todos/d"]);
  expect((await fixture.log.quarantine.findOne())?._id).toEqual({ c: "todos", k: "e" });
});
