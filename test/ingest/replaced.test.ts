// Collections that are dropped, renamed, or written over: a load tells what is left, and nothing is forgotten merely
// because a dropped collection reads empty.
import { beforeAll, expect, test } from "vitest";
import { isSettled } from "../../src/log/state.ts";
import type { Schema } from "../../src/schema/schema.ts";
import { waitFor } from "../support/wait-for.ts";
import { type IngestFixture, ingestFixture, type Node } from "./ingest-fixture.ts";
import { testSchema } from "./test-schema.ts";

let schema: Schema;
beforeAll(async () => {
  schema = await testSchema();
});

const titled = (_id: string, title = _id) => ({ _id, title, ownerId: "ana" });
const gone = (...ids: string[]) => ids.map((id) => `todos/${id} ⇥ todos/user:ana`);

async function started(): Promise<IngestFixture & { readonly node: Node }> {
  const fixture = await ingestFixture(schema);
  await fixture.todos.insertMany([titled("a"), titled("b"), titled("c")]);
  const node = await fixture.start();
  await fixture.settled();
  return { ...fixture, node };
}

test("drop → every record leaves; written again → there again", async () => {
  const fixture = await started();
  await fixture.todos.drop();
  await fixture.settled();
  expect(await fixture.labels()).toEqual(gone("a", "b", "c"));
  await fixture.todos.insertOne(titled("b"));
  await fixture.settled();
  expect(await fixture.labels()).toEqual([...gone("a"), "todos/b", ...gone("c")].sort());
});

test("rename away → every record leaves; rename into → those of the other collection", async () => {
  const fixture = await started();
  await fixture.todos.rename("elsewhere");
  await fixture.settled();
  expect(await fixture.labels()).toEqual(gone("a", "b", "c"));
  await fixture.source.collection<{ _id: string }>("elsewhere").deleteOne({ _id: "c" });
  await fixture.source.collection("elsewhere").rename("todos");
  await fixture.settled();
  expect(await fixture.labels()).toEqual([...gone("c"), "todos/a", "todos/b"].sort());
});

test("rename over an existing collection → the difference", async () => {
  const fixture = await started();
  await fixture.source
    .collection<{ _id: string }>("other")
    .insertMany([titled("a"), titled("b", "new"), titled("d")]);
  const { head } = await fixture.state();
  await fixture.source.collection("other").rename("todos", { dropTarget: true });
  await fixture.settled();
  expect(await fixture.labels()).toEqual([...gone("c"), "todos/a", "todos/b", "todos/d"].sort());
  expect((await fixture.state()).head - head).toBe(3);
});

test("$out → shows only as a rename; the difference", async () => {
  const fixture = await started();
  await fixture.source
    .collection<{ _id: string }>("staging")
    .insertMany([titled("a", "changed"), titled("d")]);
  await fixture.source
    .collection("staging")
    .aggregate([{ $out: "todos" }])
    .toArray();
  await fixture.settled();
  expect(await fixture.labels()).toEqual([...gone("b", "c"), "todos/a", "todos/d"].sort());
});

test("dropDatabase → everything leaves", async () => {
  const fixture = await started();
  await fixture.members.insertOne({ _id: "m", userId: "ana", teamId: "t", access: "READ" });
  await fixture.settled();
  await fixture.source.dropDatabase();
  await fixture.settled();
  expect(await fixture.labels()).toEqual([...gone("a", "b", "c"), "members/m ⇥ members/user:ana"].sort());
  expect(await fixture.log.grants.countDocuments()).toBe(0);
});

test("a collection of that name dropped in another database → nothing", async () => {
  const fixture = await started();
  const other = fixture.client.db(`${fixture.sourceDb}-other`);
  await other.collection("todos").insertOne({ title: "x" });
  const { head } = await fixture.state();
  await other.dropDatabase();
  await fixture.settled();
  expect((await fixture.state()).head).toBe(head);
});

test("records written, then dropped, before ingest reads them → unsettled until the drop, no record leaves before", async () => {
  const fixture = await started();
  await fixture.node.close();
  for (const id of ["a", "b", "c"]) await fixture.todos.updateOne({ _id: id }, { $set: { title: "late" } });
  await fixture.todos.drop();
  await fixture.source.collection<{ _id: string }>("todos").insertOne(titled("c", "late"));
  const node = await fixture.start({ settings: { recordsMax: 1 } });
  await fixture.settled();
  const settled = node.appends.filter(({ state }) => isSettled(state));
  const firstLeaver = node.appends.findIndex(({ entries }) => entries.some(({ kind }) => kind === "leaver"));
  const dropped = node.appends.findIndex(({ state }) =>
    state.collections.some(({ load }) => load?.reason === "replaced"),
  );
  expect(dropped).toBeGreaterThanOrEqual(0);
  expect(firstLeaver).toBeGreaterThan(dropped);
  expect(settled.every(({ state }) => state.collections.every(({ load }) => !load))).toBe(true);
  expect(await fixture.labels()).toEqual([...gone("a", "b"), "todos/c"].sort());
});

test("dropped while it loads → loaded anew", async () => {
  const fixture = await ingestFixture(schema);
  await fixture.todos.insertMany(Array.from({ length: 200 }, (_, index) => titled(`t${index}`)));
  let dropping: Promise<unknown> | undefined;
  const drop = async () => {
    await fixture.todos.drop();
    await fixture.source.collection<{ _id: string }>("todos").insertMany([titled("t7"), titled("new")]);
  };
  await fixture.start({
    settings: { recordsMax: 5 },
    onAppend: ({ state }) => {
      if (state.head > 40) dropping ??= drop();
    },
  });
  await waitFor(() => dropping !== undefined);
  await dropping;
  await fixture.settled();
  const present = (await fixture.labels()).filter((label) => !label.includes("⇥"));
  expect(present).toEqual(["todos/new", "todos/t7"]);
});
