// Old leavers are removed, and the horizon tells who can no longer resume.
import { Binary } from "mongodb";
import { beforeAll, expect, test } from "vitest";
import type { Schema } from "../../src/schema/schema.ts";
import { waitFor } from "../support/wait-for.ts";
import { type IngestFixture, ingestFixture } from "./ingest-fixture.ts";
import { testSchema } from "./test-schema.ts";

let schema: Schema;
beforeAll(async () => {
  schema = await testSchema();
});

const DAY_MS = 86_400_000;
const titled = (_id: string) => ({ _id, title: _id, ownerId: "ana" });

/** Five records deleted one after the other, the first three long ago. */
async function withOldLeavers(): Promise<IngestFixture> {
  const fixture = await ingestFixture(schema);
  const node = await fixture.start();
  const ids = ["a", "b", "c", "d", "e"];
  await fixture.todos.insertMany(ids.map(titled));
  await fixture.settled();
  for (const _id of ids) {
    await fixture.todos.deleteOne({ _id });
    await fixture.settled();
  }
  await node.close();
  const at = new Date(Date.now() - 31 * DAY_MS);
  await fixture.log.entries.updateMany({ id: { $in: ["a", "b", "c"] } }, { $set: { at } });
  return fixture;
}

test("horizon: leavers older than tombstoneDays go on start, a page at a time; the horizon is the highest seq removed", async () => {
  const fixture = await withOldLeavers();
  const node = await fixture.start({ settings: { recordsMax: 2 } });
  await waitFor(async () => (await fixture.state()).horizon === 8);
  expect(await fixture.labels()).toEqual(["todos/d ⇥ todos/user:ana", "todos/e ⇥ todos/user:ana"]);
  expect([...new Set(node.appends.map(({ state }) => state.horizon))]).toEqual([0, 7, 8]);
});

test("horizon: kept as long as tombstoneDays says; looked for again every upkeepEveryMs", async () => {
  const fixture = await withOldLeavers();
  const node = await fixture.start({ settings: { tombstoneDays: 32 } });
  await fixture.settled();
  expect((await fixture.labels()).length).toBe(5);
  const at = new Date(Date.now() - 33 * DAY_MS);
  await fixture.log.entries.updateOne({ id: "b" }, { $set: { at } });
  node.clock.forward(3_600_000);
  await waitFor(async () => (await fixture.state()).horizon === 7);
  expect((await fixture.labels()).length).toBe(4);
});

test("feed sets nobody has used for as long → dropped", async () => {
  const fixture = await ingestFixture(schema);
  const content = new Binary(new Uint8Array([1]));
  await fixture.log.feedSets.insertMany([
    { _id: "old", content, used_at: new Date(Date.now() - 31 * DAY_MS) },
    { _id: "new", content, used_at: new Date(Date.now() - 29 * DAY_MS) },
  ]);
  await fixture.start();
  await waitFor(async () => (await fixture.log.feedSets.countDocuments()) === 1);
  expect((await fixture.log.feedSets.findOne())?._id).toBe("new");
});
