// Several nodes: one leads, the others follow; whoever is behind is fenced; an outdated schema waits.
import { beforeAll, expect, test } from "vitest";
import { isSettled } from "../../src/log/state.ts";
import type { Schema } from "../../src/schema/schema.ts";
import { startOwnMongod } from "../support/own-mongod.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { waitFor } from "../support/wait-for.ts";
import { ingestFixture, type Node } from "./ingest-fixture.ts";
import { TODO_FIELDS, testSchema } from "./test-schema.ts";

let schema: Schema;
beforeAll(async () => {
  schema = await testSchema();
});

const titled = (_id: string, title = _id) => ({ _id, title, ownerId: "ana" });
const leaders = (nodes: readonly Node[]) => nodes.filter((node) => node.status().role === "LEADING");

test("nodes: one leads, the other follows and knows whether the log is settled; closed → the other leads at once", async () => {
  const fixture = await ingestFixture(schema);
  const nodes = [await fixture.start({ settings: { leaseMs: 60_000 } }), await fixture.start()];
  await waitFor(() => nodes.every((node) => node.status().settled));
  const [leader] = leaders(nodes);
  const follower = nodes.find((node) => node !== leader);
  expect([leaders(nodes).length, follower?.status().role, follower?.appends.length]).toEqual([
    1,
    "FOLLOWING",
    0,
  ]);
  await leader?.close();
  expect(leader?.status().role).toBe("CLOSED");
  await waitFor(() => follower?.status().role === "LEADING");
  await fixture.todos.insertOne(titled("a"));
  await fixture.settled();
  expect(follower?.appends.some(({ entries }) => entries.length === 1)).toBe(true);
});

test("nodes: the leader is killed → another leads when its lease has run out", async () => {
  const fixture = await ingestFixture(schema);
  const first = await fixture.start();
  await fixture.settled();
  const second = await fixture.start();
  await first.kill();
  await fixture.todos.insertOne(titled("a"));
  await fixture.settled();
  expect(second.status().role).toBe("LEADING");
  expect((await fixture.state()).term).toBe(2);
});

test("nodes: killed inside an append → its open transaction is ended, the next leader needn't wait for it", async () => {
  const fixture = await ingestFixture(schema);
  const first = await fixture.start();
  await fixture.todos.insertOne(titled("a"));
  await fixture.settled();
  await first.close();
  // As a killed leader leaves it: the lease held, a transaction open in the lease's session.
  const session = fixture.client.startSession();
  session.startTransaction();
  await fixture.log.states.updateOne({}, { $inc: { revision: 1 } }, { session });
  await fixture.log.entries.deleteMany({}, { session });
  await fixture.log.db
    .collection("lease")
    .updateOne({}, { $set: { holder: "dead", sessions: [session.id] } });
  await fixture.start();
  await fixture.todos.updateOne({ _id: "a" }, { $set: { title: "b" } });
  await fixture.settled();
  await session.endSession();
});

test("nodes: a leader that lost its lease unawares → fenced by the next one's term, steps down", async () => {
  const fixture = await ingestFixture(schema);
  // Beats so seldom that only the fence can tell it.
  const first = await fixture.start({ settings: { leaseMs: 600_000 } });
  await fixture.settled();
  await fixture.log.db.collection("lease").updateOne({}, { $set: { holder: "" } });
  const second = await fixture.start({ settings: { leaseMs: 600_000 } });
  await waitFor(() => second.status().role === "LEADING" && second.status().settled);
  await fixture.todos.insertOne(titled("a"));
  await fixture.settled();
  await waitFor(() => first.status().role === "FOLLOWING");
  const revisions = [...first.appends, ...second.appends].map(({ state }) => state.revision);
  expect(new Set(revisions).size).toBe(revisions.length);
});

test("nodes: two that both believe to lead, all the time → seqs dense, nothing lost or doubled", async () => {
  const fixture = await ingestFixture(schema);
  const nodes = [await fixture.start(), await fixture.start()];
  for (let n = 0; n < 40; n++) {
    await fixture.todos.updateOne(
      { _id: `t${n % 7}` },
      { $set: titled(`t${n % 7}`, `${n}`) },
      { upsert: true },
    );
    await fixture.log.db.collection("lease").updateOne({}, { $set: { holder: "" } });
  }
  await fixture.settled();
  const appends = nodes.flatMap((node) => node.appends).sort((a, b) => a.state.revision - b.state.revision);
  let head = 0;
  for (const { before, state, entries } of appends) {
    expect([before, state.head]).toEqual([head, head + entries.length]);
    head = state.head;
  }
});

test("nodes: appends are told in order, each after it is committed; a listener's fault stops nothing", async () => {
  const fixture = await ingestFixture(schema);
  const told: number[] = [];
  await fixture.start({
    onAppend: ({ state }) => {
      told.push(state.revision);
      throw new Error("planted");
    },
  });
  for (let n = 0; n < 20; n++) await fixture.todos.insertOne(titled(`t${n}`));
  await fixture.settled();
  expect(told).toEqual(Array.from({ length: told.length }, (_, index) => index + 1));
});

test("nodes: an outdated schema doesn't lead while there are newer nodes; rolled back → it does, with a new generation", async () => {
  const newer = await testSchema({ todoFields: `${TODO_FIELDS} string notes = 11;` });
  const fixture = await ingestFixture(schema);
  await fixture.todos.insertOne({ ...titled("a"), notes: "n" });
  const first = await fixture.start();
  await fixture.settled();
  await first.close();
  const second = await fixture.start({ schema: newer });
  await waitFor(() => second.status().settled);
  const settings = { rollbackAfterMs: 1e9 };
  const outdated = await fixture.start({ settings });
  await second.close();
  const third = await fixture.start({ schema: newer });
  await waitFor(() => third.status().role === "LEADING");
  expect(outdated.status().role).toBe("FOLLOWING");
  await third.close();
  await waitFor(() => {
    outdated.clock.forward(1e9);
    return outdated.status().role === "LEADING";
  });
  await fixture.settled();
  expect((await fixture.state()).collections.find(({ name }) => name === "todos")?.generation).toBe(3);
});

test("nodes: another source database → everything of the old one leaves", async () => {
  const fixture = await ingestFixture(schema);
  await fixture.todos.insertMany([titled("a"), titled("b")]);
  const first = await fixture.start();
  await fixture.settled();
  await first.close();
  await fixture.log.states.updateOne({}, { $set: { source: "another" } });
  await fixture.todos.deleteOne({ _id: "a" });
  await fixture.start();
  await fixture.settled();
  expect(await fixture.labels()).toEqual(["todos/a ⇥ todos/user:ana", "todos/b"]);
});

test("nodes: the database fails for a while → told by status, then ingest goes on", async () => {
  const mongod = await startOwnMongod(await temporaryFolder());
  try {
    const fixture = await ingestFixture(schema, mongod.uri);
    const node = await fixture.start();
    await fixture.settled();
    const failing = ["find", "getMore", "update", "insert", "commitTransaction"];
    await fixture.client.db("admin").command({
      configureFailPoint: "failCommand",
      mode: { times: 12 },
      data: { failCommands: failing, errorCode: 10_107, errorLabels: [], namespaceless: true },
    });
    await waitFor(() => node.status().lastError !== undefined);
    await fixture.client.db("admin").command({ configureFailPoint: "failCommand", mode: "off" });
    await fixture.todos.insertOne(titled("a"));
    await fixture.settled();
    await waitFor(() => node.status().role === "LEADING" && node.status().lastError === undefined);
    expect(isSettled(await fixture.state())).toBe(true);
    await node.close();
  } finally {
    await mongod.close();
  }
});
