// A quiet source: the clock goes on, but is stored only now and then, or when a push waits for it (P4).
import { beforeAll, expect, test } from "vitest";
import type { Schema } from "../../src/schema/schema.ts";
import { waitFor } from "../support/wait-for.ts";
import { ingestFixture } from "./ingest-fixture.ts";
import { testSchema } from "./test-schema.ts";

let schema: Schema;
beforeAll(async () => {
  schema = await testSchema();
});

const NEVER_MS = 1e9;

test("idle: nothing stored until it is time, then once; ingest doesn't feed itself", async () => {
  const fixture = await ingestFixture(schema);
  const node = await fixture.start({ settings: { idlePersistMs: 1_000_000 } });
  await waitFor(() => node.status().settled);
  const before = node.appends.length;
  const { operationTime } = await fixture.source.command({ insert: "other", documents: [{}] });
  node.clock.forward(1_000_000);
  const idle = await waitFor(() => node.appends[before]);
  expect(idle.entries).toEqual([]);
  expect(idle.state.clock?.greaterThanOrEqual(operationTime)).toBe(true);
  // Were it to feed itself, it would have stored the clock again by the time this has come through.
  await fixture.todos.insertOne({ _id: "a", title: "a", ownerId: "ana" });
  await waitFor(() => node.appends.some(({ entries }) => entries.length > 0));
  expect(node.appends.length - before).toBe(2);
});

test("idle: a receipt of any node → the clock reaches it at once though nothing changed (P4)", async () => {
  const fixture = await ingestFixture(schema);
  const node = await fixture.start({ settings: { idlePersistMs: NEVER_MS } });
  await waitFor(() => node.status().settled);
  const ledger = fixture.log.db.collection("ledger");
  for (let count = 0; count < 3; count++) {
    const session = fixture.client.startSession();
    await ledger.insertOne({ outcome: "CONFLICT", first: true }, { session });
    const { operationTime } = session;
    await session.endSession();
    await waitFor(async () => {
      const { clock } = await fixture.state();
      return operationTime && clock?.greaterThanOrEqual(operationTime);
    });
  }
  expect(node.appends.every(({ entries }) => entries.length === 0)).toBe(true);
});

test("idle: writes that change no declared field → the clock is not stored for each", async () => {
  const fixture = await ingestFixture(schema);
  await fixture.todos.insertOne({ _id: "a", title: "a", ownerId: "ana" });
  const node = await fixture.start({ settings: { idlePersistMs: NEVER_MS } });
  await waitFor(() => node.status().settled);
  const before = node.appends.length;
  for (let n = 0; n < 10; n++) await fixture.todos.updateOne({ _id: "a" }, { $set: { undeclared: n } });
  await fixture.todos.updateOne({ _id: "a" }, { $set: { title: "b" } });
  await waitFor(() => node.appends.some(({ entries }) => entries.some(({ seq }) => seq === 2)));
  expect(node.appends.length - before).toBe(1);
});
