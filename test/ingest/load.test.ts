// Loads: first, resumed, of new, changed and removed collections; what is unmet is looked up before it is forgotten.
import { Binary, Decimal128, Long } from "mongodb";
import { beforeAll, expect, test } from "vitest";
import { readGrants } from "../../src/log/grants.ts";
import { isSettled } from "../../src/log/state.ts";
import { snapshotSession } from "../../src/mongo/snapshot.ts";
import type { Schema } from "../../src/schema/schema.ts";
import { waitFor } from "../support/wait-for.ts";
import { ingestFixture, type TestDocument } from "./ingest-fixture.ts";
import { TODO_FIELDS, testSchema } from "./test-schema.ts";

let schema: Schema;
beforeAll(async () => {
  schema = await testSchema();
});

const titled = (title: string) => ({ title, ownerId: "ana" });
const many = (count: number): TestDocument[] =>
  Array.from({ length: count }, (_, index) => ({
    _id: `t${String(index).padStart(5, "0")}`,
    ...titled(`${index}`),
  }));

test("load: a first start → every record, settled only at the end; collections that don't exist are empty", async () => {
  const fixture = await ingestFixture(schema);
  await fixture.todos.insertMany(many(250));
  const node = await fixture.start({ settings: { recordsMax: 20 } });
  await fixture.settled();
  expect((await fixture.entries()).size).toBe(250);
  const firstSettled = node.appends.findIndex(({ state }) => isSettled(state));
  expect(node.appends.slice(0, firstSettled).flatMap(({ entries }) => entries)).toHaveLength(250);
  expect(node.status()).toMatchObject({ role: "LEADING", settled: true, loads: [] });
});

test("load: keys of every BSON type are walked, those that don't fit are quarantined", async () => {
  const fixture = await ingestFixture(schema);
  const keys = [
    1,
    Long.fromNumber(2),
    2.5,
    "a",
    "b",
    { x: 1 },
    new Binary(Buffer.from("k")),
    Decimal128.fromString("9"),
  ];
  const documents = [...keys, null, true, new Date(0)].map((_id) => ({ _id, ...titled("x") }));
  await fixture.source.collection<{ _id: unknown }>("todos").insertMany(documents);
  await fixture.start({ settings: { recordsMax: 1 } });
  await fixture.settled();
  expect(await fixture.labels()).toEqual(["todos/a", "todos/b"]);
  expect(await fixture.log.quarantine.countDocuments()).toBe(documents.length - 2);
});

test("load: documents too large to share a reply → walked one by one", async () => {
  const fixture = await ingestFixture(schema);
  const blob = Buffer.alloc(12_000_000);
  for (const _id of ["a", "b", "c"]) await fixture.todos.insertOne({ _id, ...titled("large"), blob });
  await fixture.start();
  await fixture.settled();
  expect(await fixture.labels()).toEqual(["todos/a", "todos/b", "todos/c"]);
});

test("load: stopped midway → resumed after the last page, nothing appended twice", async () => {
  const fixture = await ingestFixture(schema);
  await fixture.todos.insertMany(many(400));
  const first = await fixture.start({ settings: { recordsMax: 20 } });
  await waitFor(() => first.appends.flatMap(({ entries }) => entries).length >= 100);
  await first.kill();
  const between = await fixture.state();
  expect(isSettled(between)).toBe(false);
  const progress = between.collections.find(({ name }) => name === "todos")?.load;
  const second = await fixture.start({ settings: { recordsMax: 20 } });
  await fixture.settled();
  const resumed = second.appends.find(({ entries }) => entries.length > 0)?.state.collections;
  expect(resumed?.find(({ name }) => name === "todos")?.load?.done).toBeGreaterThan(progress?.done ?? 0);
  expect((await fixture.state()).head).toBe(400);
});

test("load: written beside by others → the tail and the load agree", async () => {
  const fixture = await ingestFixture(schema);
  await fixture.todos.insertMany(many(300));
  const node = await fixture.start({ settings: { recordsMax: 10 } });
  for (let index = 0; index < 60; index++) {
    const _id = `t${String((index * 7) % 300).padStart(5, "0")}`;
    if (index % 3 === 0) await fixture.todos.deleteOne({ _id });
    else await fixture.todos.updateOne({ _id }, { $set: { title: `changed ${index}` } }, { upsert: true });
  }
  await fixture.settled();
  expect(node.appends.length).toBeGreaterThan(30);
});

test("load: lost history → token dropped, everything loaded; only what differs is appended, what is gone leaves", async () => {
  const fixture = await ingestFixture(schema);
  await fixture.todos.insertMany(many(50));
  await fixture.members.insertOne({ _id: "m", userId: "ana", teamId: "t", access: "READ" });
  await fixture.todos.insertOne({ _id: "misfit", title: 5, ownerId: "ana" });
  const first = await fixture.start({ settings: { idlePersistMs: 1e9 } });
  await fixture.settled();
  await fixture.todos.updateOne({ _id: "t00001" }, { $set: { title: "the last event" } });
  await waitFor(() => first.appends.at(-1)?.entries.length === 1);
  await first.close();
  await fixture.todos.deleteOne({ _id: "t00003" });
  await fixture.todos.deleteOne({ _id: "misfit" });
  await fixture.members.deleteOne({ _id: "m" });
  await fixture.todos.updateOne({ _id: "t00004" }, { $set: { title: "changed" } });
  const { head } = await fixture.state();
  // The token of an event that never was.
  const { resumeToken } = await fixture.state();
  const token = {
    _data: String((resumeToken as { _data: string })._data).replace(/^82.{16}/, "823B9ACA0000000001"),
  };
  await fixture.log.states.updateOne({ _id: "log" }, { $set: { token } });
  const second = await fixture.start({ settings: { recordsMax: 20 } });
  await fixture.settled();
  const reasons = second.appends.flatMap(({ state }) => state.collections.map(({ load }) => load?.reason));
  expect(reasons).toContain("lost");
  expect((await fixture.state()).head - head).toBe(3);
  expect(await fixture.labels()).toContain("todos/t00003 ⇥ todos/user:ana");
  expect(await fixture.log.grants.countDocuments()).toBe(0);
  expect(await fixture.log.quarantine.countDocuments()).toBe(0);
});

test("load: a new collection → loaded beside the others, which stay as they are", async () => {
  const without = await testSchema({ counters: false });
  const fixture = await ingestFixture(schema);
  await fixture.todos.insertMany(many(5));
  await fixture.counters.insertOne({ _id: Long.fromNumber(1), value: 1 });
  const first = await fixture.start({ schema: without });
  await waitFor(async () => isSettled(await fixture.state()));
  await first.close();
  await fixture.todos.updateOne({ _id: "t00001" }, { $set: { title: "while nobody led" } });
  await fixture.start();
  await fixture.settled();
  const { collections, head } = await fixture.state();
  expect(collections.map(({ name, generation }) => [name, generation]).sort()).toEqual([
    ["counters", 1],
    ["members", 1],
    ["todos", 1],
  ]);
  expect(head).toBe(7);
});

test("load: a collection the schema no longer has → its records leave, its state goes", async () => {
  const without = await testSchema({ counters: false });
  const fixture = await ingestFixture(without);
  await fixture.counters.insertMany([1, 2, 3].map((value) => ({ _id: Long.fromNumber(value), value })));
  const first = await fixture.start({ schema });
  await waitFor(async () => isSettled(await fixture.state()));
  await first.close();
  await fixture.start({ settings: { recordsMax: 2 } });
  await fixture.settled();
  expect((await fixture.state()).collections.map(({ name }) => name).sort()).toEqual(["members", "todos"]);
  expect(await fixture.labels()).toEqual([1, 2, 3].map((id) => `counters/${id} ⇥ counters/public`));
});

test("load: a field added → encoded anew, only what differs appended, since stays, older entries stay readable", async () => {
  const richer = await testSchema({ todoFields: `${TODO_FIELDS} string notes = 11;` });
  const fixture = await ingestFixture(richer);
  await fixture.todos.insertMany([
    { _id: "a", ...titled("a"), notes: "n" },
    { _id: "b", ...titled("b") },
  ]);
  const first = await fixture.start({ schema });
  await waitFor(async () => isSettled(await fixture.state()));
  await first.close();
  await fixture.start();
  await fixture.settled();
  const todos = (await fixture.state()).collections.find(({ name }) => name === "todos");
  expect(todos).toMatchObject({ generation: 2, oldestReadable: 1 });
  const [a, b] = [await fixture.main("todos/a"), await fixture.main("todos/b")];
  expect([a.seq, a.since, [...a.marks], a.schema]).toEqual([3, 1, [[11, 3]], 2]);
  expect([b.seq, b.since, b.marks.size, b.schema]).toEqual([2, 2, 0, 2]);
});

test("load: a field hidden → older entries withheld at once; each gets a new seq, only the field is marked", async () => {
  const hiding = await testSchema({
    todoFields: TODO_FIELDS.replace(
      "int32 votes = 5;",
      "int32 votes = 5 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];",
    ),
  });
  const fixture = await ingestFixture(hiding);
  await fixture.todos.insertMany([
    { _id: "a", ...titled("a"), votes: 3 },
    { _id: "b", ...titled("b") },
  ]);
  const first = await fixture.start({ schema });
  await waitFor(async () => isSettled(await fixture.state()));
  await first.close();
  const second = await fixture.start();
  await fixture.settled();
  const before = second.appends.find(({ entries }) => entries.length > 0);
  expect(before?.state.collections.find(({ name }) => name === "todos")).toMatchObject({
    generation: 2,
    oldestReadable: 2,
  });
  expect(second.appends[0]?.state.collections.find(({ name }) => name === "todos")?.oldestReadable).toBe(2);
  const [a, b] = [await fixture.main("todos/a"), await fixture.main("todos/b")];
  expect([a.seq, a.since, [...a.marks], a.schema]).toEqual([3, 1, [[5, 3]], 2]);
  expect([b.seq, b.since, b.marks.size, b.schema]).toEqual([4, 2, 0, 2]);
});

test("load: scopes narrowed → withheld, then leavers for the feeds left", async () => {
  const narrowed = await testSchema({ todoScopes: `["user:{owner_id}"]` });
  const fixture = await ingestFixture(narrowed);
  await fixture.todos.insertOne({ _id: "a", ...titled("a"), watcherIds: ["bo"] });
  const first = await fixture.start({ schema });
  await waitFor(async () => isSettled(await fixture.state()));
  await first.close();
  await fixture.start();
  await fixture.settled();
  expect(await fixture.labels()).toEqual(["todos/a", "todos/a ⇥ todos/user:bo"]);
  const todos = (await fixture.state()).collections.find(({ name }) => name === "todos");
  expect(todos).toMatchObject({ generation: 2, oldestReadable: 2 });
});

test("load: a membership rule taken away → its grants go", async () => {
  const ungranting = await testSchema({ memberRule: "" });
  const fixture = await ingestFixture(ungranting);
  await fixture.members.insertOne({ _id: "m", userId: "ana", teamId: "t", access: "READ" });
  const first = await fixture.start({ schema });
  await waitFor(async () => isSettled(await fixture.state()));
  expect(await fixture.log.grants.countDocuments()).toBe(1);
  await first.close();
  await fixture.start();
  await fixture.settled();
  expect(await fixture.log.grants.countDocuments()).toBe(0);
});

test("load: a membership rule changed → what the old one granted is void from the first append on, what the new one grants comes", async () => {
  const fixture = await ingestFixture(await testSchema());
  const first = await fixture.start();
  await fixture.members.insertMany([
    { _id: "m", userId: "ana", teamId: "t", access: "READ" },
    { _id: "n", userId: "ana", teamId: "", access: "READ" },
  ]);
  await fixture.settled();
  await first.close();
  const revised = await testSchema({
    memberRule: 'grant: {principal: "{user_id}" scope: "club:{team_id}" access_field: "access"}',
  });
  const second = await fixture.start({ schema: revised });
  await waitFor(() => second.appends.some(({ state }) => isSettled(state)));
  const [claim] = second.appends;
  expect([claim?.grantsChanged, claim?.state.term]).toEqual([true, 2]);
  const session = snapshotSession(fixture.client, claim?.time);
  expect(await readGrants(fixture.log, "ana", session)).toEqual(new Map());
  await session.endSession();
  expect(await readGrants(fixture.log, "ana")).toEqual(new Map([["club:t", "READ"]]));
});
