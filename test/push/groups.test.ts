// Mutations that arrive together share a transaction: what is the matter with one is told for it alone, and neither
// fails the others nor keeps them waiting; each device's mutations keep their order whatever happens.
import { type ClientSession, ObjectId } from "mongodb";
import { afterAll, beforeAll, expect, test } from "vitest";
import { silentLogger } from "../../src/model/logger.ts";
import type { Mutation } from "../../src/model/mutation.ts";
import { createPush } from "../../src/push/push.ts";
import type { Schema } from "../../src/schema/schema.ts";
import { type CallToGather, type Gathered, gather, startWitness, toldOf } from "./gather.ts";
import { create, type PushFixture, principal, pushFixture, update } from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
  await fixture.notes.createIndex(
    { mail: 1 },
    { unique: true, partialFilterExpression: { mail: { $gt: "" } } },
  );
  await fixture.database.source.command({ collMod: "notes", validator: { title: { $ne: "forbidden" } } });
  await fixture.notes.insertOne({ _id: "holder", ...ofAna, mail: "taken" });
});
afterAll(() => fixture.close());

const ofAna = { title: "tea", ownerId: "ana" };

/** The commits of what succeeded. */
function clocksOf(results: readonly Gathered[]): Set<bigint> {
  return new Set(results.flatMap((one) => (one.status === "fulfilled" ? one.value.commitClock : [])));
}

let groups = 0;
/** One create each, of ten devices. */
function innocents(): CallToGather[] {
  const group = groups++;
  return Array.from({ length: 10 }, (_, i) => ({
    mutations: [create(`g${group}-${i}`, ofAna)],
    device: `innocent ${i}`,
  }));
}

test("push: thirty devices at once → far fewer commits than mutations; those that waited together share one", async () => {
  const end = await startWitness(fixture);
  const calls = Array.from({ length: 30 }, (_, i) => ({
    mutations: [create(`many-${i}`, ofAna)],
    device: `phone ${i}`,
  }));
  const results = await Promise.all(await gather(fixture, calls));
  expect(results.flatMap(toldOf)).toEqual(new Array(30).fill("APPLIED"));
  const commits = await end();
  expect(commits.length).toBe(3);
  expect(commits.at(-1)?.length).toBe(30);
});

/** Documents another program is changing. */
async function holdOpen(ids: readonly string[]): Promise<ClientSession> {
  const session = fixture.database.client.startSession();
  session.startTransaction();
  for (const _id of ids) await fixture.notes.updateOne({ _id }, { $set: { body: "theirs" } }, { session });
  return session;
}

const culprits: [string, () => Mutation, string][] = [
  ["a unique index refuses", () => create("dup", { ...ofAna, email: "taken" }), "DATABASE"],
  ["the validator refuses", () => create("unfit", { ...ofAna, title: "forbidden" }), "DATABASE"],
  ["is refused by itself", () => update("holder", { status: "x" }), "FORBIDDEN"],
  ["is in conflict", () => update("nowhere", { title: "x" }), "CONFLICT"],
];

test.each(culprits)(
  "push: one mutation of a group %s → told for it alone, all others APPLIED in one commit",
  async (_, make, why) => {
    const calls = innocents();
    const results = await gather(fixture, [...calls.slice(0, 5), { mutations: [make()] }, ...calls.slice(5)]);
    const told = await Promise.all(results);
    const culprit = told.splice(5, 1);
    expect(culprit.map(toldOf)).toEqual([[why]]);
    expect(told.flatMap(toldOf)).toEqual(new Array(10).fill("APPLIED"));
    expect(clocksOf(told).size).toBe(1);
  },
);

test("push: several of a group are refused, for different reasons → each told its own, the rest APPLIED", async () => {
  const bad = culprits.map(([, make], i) => ({ mutations: [make()], device: `culprit ${i}` }));
  const results = await Promise.all(await gather(fixture, [...bad, ...innocents()]));
  expect(results.slice(0, bad.length).flatMap(toldOf)).toEqual(culprits.map(([, , why]) => why));
  expect(results.slice(bad.length).flatMap(toldOf)).toEqual(new Array(10).fill("APPLIED"));
});

test("push: another program holds one document open → the others APPLIED meanwhile; that one when it lets go", async () => {
  await fixture.notes.insertOne({ _id: "held", ...ofAna });
  const session = await holdOpen(["held"]);
  const waiting = { mutations: [update("held", { title: "mine" }, { title: "tea" })], device: "waiting" };
  const [held, ...others] = await gather(fixture, [waiting, ...innocents()]);
  let isTold = false;
  const told = held?.then((result) => {
    isTold = true;
    return result;
  });
  const results = await Promise.all(others);
  expect(results.flatMap(toldOf)).toEqual(new Array(10).fill("APPLIED"));
  expect(isTold).toBe(false);
  await session.commitTransaction();
  await session.endSession();
  expect(await told).toMatchObject({ value: { receipts: [{ outcome: "APPLIED" }] } });
  expect(await fixture.notes.findOne({ _id: "held" })).toMatchObject({ title: "mine", body: "theirs" });
});

test("push: a document held open in a group of devices with several edits each → every other device's in one commit of its own", async () => {
  await fixture.notes.insertOne({ _id: "held-2", ...ofAna });
  const session = await holdOpen(["held-2"]);
  const edits = (name: string) => [1, 2, 3].map((i) => create(`${name}-${i}`, ofAna));
  const waiting = {
    mutations: [...edits("waits"), update("held-2", { title: "mine" }, { title: "tea" })],
    device: "waits",
  };
  const others = Array.from({ length: 10 }, (_, i) => ({
    mutations: edits(`lane-${i}`),
    device: `lane ${i}`,
  }));
  const end = await startWitness(fixture);
  const [held, ...free] = await gather(fixture, [waiting, ...others]);
  const results = await Promise.all(free);
  expect(results.flatMap(toldOf)).toEqual(new Array(30).fill("APPLIED"));
  await session.commitTransaction();
  await session.endSession();
  expect(await held).toMatchObject({ status: "fulfilled" });
  const commits = (await end()).filter((ids) => ids.some((id) => id.startsWith("lane-")));
  expect(commits.map(({ length }) => length)).toEqual(new Array(10).fill(3));
});

test("push: a mutation whose deciding throws → its call fails, with what it had behind it; the others in one commit", async () => {
  const { log, ledger, schema, database, sessions, time } = fixture;
  const { client, sourceDb } = database;
  const clock = { nowMs: () => time.nowMs, sleep: () => Promise.resolve() };
  const parts = { client, sourceDb, log, ledger, clock, sessions, logger: silentLogger };
  const push = createPush({ ...parts, schema: throwing(schema) });
  await fixture.notes.insertOne({ _id: "thrown", ...ofAna });
  const device = "throwing";
  const mutations = [
    create("before-throw", ofAna),
    update("thrown", { title: "throw" }),
    create("after-throw", ofAna),
  ];
  const later = { mutations: [create("later-call", ofAna)], device };
  const [failed, ...results] = await Promise.all(
    await gather({ push }, [{ mutations, device }, ...innocents(), later]),
  );
  expect(failed).toMatchObject({ status: "rejected", reason: { message: "a bug" } });
  expect(results.flatMap(toldOf)).toEqual(new Array(11).fill("APPLIED"));
  expect(clocksOf(results).size).toBe(1);
  expect(await fixture.notes.findOne({ _id: "before-throw" })).not.toBeNull();
  expect(await fixture.notes.findOne({ _id: "after-throw" })).toBeNull();
  await push.close();
});

/** The schema, with a rule that fails. */
function throwing(schema: Schema): Schema {
  const notes = schema.collections.get("notes");
  if (notes === undefined) throw new Error("the schema has notes");
  const rules: typeof notes.rules = (record) => {
    if (Reflect.get(record, "title") === "throw") throw new Error("a bug");
    return notes.rules(record);
  };
  return { ...schema, collections: new Map([...schema.collections, ["notes", { ...notes, rules }]]) };
}

test("push: a culprit with mutations of its device behind it → set aside together, in order, seeing its outcome", async () => {
  const device = "ordered";
  const first = [
    create("order-1", ofAna),
    create("order-2", { ...ofAna, email: "taken" }),
    update("order-2", { title: "two" }, { title: "tea" }),
    create("order-2", { ...ofAna, body: "second try" }),
    update("order-1", { title: "two" }, { title: "tea" }),
  ];
  const second = [
    update("order-1", { title: "three" }, { title: "two" }),
    update("order-2", { body: "third" }, { body: "second try" }),
  ];
  const calls = [...innocents(), { mutations: first, device }, { mutations: second, device }];
  const results = await Promise.all(await gather(fixture, calls));
  expect(results.slice(10).map(toldOf)).toEqual([
    ["APPLIED", "DATABASE", "CONFLICT", "APPLIED", "APPLIED"],
    ["APPLIED", "APPLIED"],
  ]);
  expect(results.slice(0, 10).flatMap(toldOf)).toEqual(new Array(10).fill("APPLIED"));
  expect(await fixture.notes.findOne({ _id: "order-1" })).toMatchObject({ title: "three" });
  expect(await fixture.notes.findOne({ _id: "order-2" })).toMatchObject({ body: "third" });
});

test("push: two devices of a group edit one record, the sum is refused → both alone, each told its own; the others in one commit", async () => {
  const items = fixture.database.source.collection("items");
  await items.createIndex({ name: 1 }, { unique: true });
  const [one, two] = [new ObjectId(), new ObjectId()];
  await items.insertMany([
    { _id: one, ownerId: "ana", name: "a" },
    { _id: two, ownerId: "ana", name: "b" },
  ]);
  const renamed = (name: string) => update(one.toHexString(), { name }, undefined, { collection: "items" });
  const calls = [
    { mutations: [renamed("c")], device: "one" },
    { mutations: [renamed("b")], device: "two" },
  ];
  const [free, taken, ...others] = await Promise.all(await gather(fixture, [...calls, ...innocents()]));
  expect([free, taken].map((result) => result && toldOf(result))).toEqual([["APPLIED"], ["DATABASE"]]);
  expect(others.flatMap(toldOf)).toEqual(new Array(10).fill("APPLIED"));
  expect(clocksOf(others).size).toBe(1);
  expect(await items.findOne({ _id: one })).toMatchObject({ name: "c" });
});

test("push: one id from two devices, in one group → one effect, the other a replay; with other content → reused", async () => {
  const one = create("twice-1", ofAna);
  const other = create("twice-2", ofAna);
  const calls = [
    { mutations: [one], device: "a" },
    { mutations: [one], device: "b" },
    { mutations: [other], device: "d" },
    { mutations: [{ ...create("twice-3", ofAna), mutationId: other.mutationId }], device: "e" },
    { mutations: [{ ...other }], as: "bob" },
  ];
  const results = await Promise.all(await gather(fixture, calls));
  expect(results.flatMap(toldOf)).toEqual([
    "APPLIED",
    "APPLIED",
    "APPLIED",
    "MUTATION_ID_REUSED",
    "MUTATION_ID_REUSED",
  ]);
  const replayed = results
    .slice(0, 2)
    .map((one) => one.status === "fulfilled" && one.value.receipts[0]?.replayed);
  expect(replayed).toEqual([false, true]);
  expect(await fixture.notes.countDocuments({ _id: /^twice/ })).toBe(2);
});

test("push: one id with different records from two devices, in two groups at once → one APPLIED, the other reused", async () => {
  const one = create("parallel-1", ofAna);
  const other = { ...create("parallel-2", ofAna), mutationId: one.mutationId };
  const sendings = [one, other].map((mutation, i) => ({ mutations: [mutation], device: `parallel ${i}` }));
  const results = await Promise.all(await gatherFirst(sendings));
  expect(results.flatMap(toldOf).sort()).toEqual(["APPLIED", "MUTATION_ID_REUSED"]);
  expect(await fixture.notes.countDocuments({ _id: /^parallel/ })).toBe(1);
});

/** Each call is a group of its own, at once. */
async function gatherFirst(calls: readonly CallToGather[]) {
  const ready = await Promise.all(
    calls.map(async (call) => ({ call, who: await principal("ana", {}, call.device) })),
  );
  const none = new AbortController().signal;
  return ready.map(async ({ call: { mutations }, who }) => {
    const request = { mutations, atomic: false, recordForm: "JSON" } as const;
    return (await Promise.allSettled([fixture.push.pushMutations(who, request, none)]))[0];
  });
}
