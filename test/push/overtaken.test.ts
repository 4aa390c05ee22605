// What another program or node does between a group's reads and its writes: the records it touched are settled alone,
// by what is there now; the rest of the group is committed by its next run.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Ledger } from "../../src/ledger/ledger.ts";
import { silentLogger } from "../../src/model/logger.ts";
import { createPush, type Push } from "../../src/push/push.ts";
import { type CallToGather, type Gathered, gather, toldOf } from "./gather.ts";
import { create, NOW_MS, type PushFixture, pushFixture, sendOne, update } from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
});
afterAll(() => fixture.close());

const ofAna = { title: "tea", ownerId: "ana" };

/** A push whose first group of several mutations is overtaken once: all is read then, nothing yet written. */
function overtakenPush(overtake: () => Promise<unknown>): Push {
  const { log, schema, database, sessions } = fixture;
  const { client, sourceDb } = database;
  const { receipts } = fixture.ledger;
  let isOvertaken = false;
  const insertMany: typeof receipts.insertMany = async (documents, options) => {
    if (documents.length > 1 && !isOvertaken) {
      isOvertaken = true;
      await overtake();
    }
    return await receipts.insertMany(documents, options);
  };
  const proxied = new Proxy(receipts, {
    get: (target, name) => {
      const value: unknown = name === "insertMany" ? insertMany : Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const ledger: Ledger = { ...fixture.ledger, receipts: proxied };
  const clock = { nowMs: () => NOW_MS, sleep: () => Promise.resolve() };
  return createPush({ client, sourceDb, log, ledger, schema, clock, logger: silentLogger, sessions });
}

let groups = 0;
function innocents(): CallToGather[] {
  const group = groups++;
  return Array.from({ length: 8 }, (_, i) => ({
    mutations: [create(`g${group}-${i}`, ofAna)],
    device: `innocent ${i}`,
  }));
}

/** All APPLIED, by one commit. */
function expectTogether(results: readonly Gathered[]): void {
  expect(results.flatMap(toldOf)).toEqual(new Array(results.length).fill("APPLIED"));
  const clocks = results.map((one) => (one.status === "fulfilled" ? one.value.commitClock : undefined));
  expect(new Set(clocks).size).toBe(1);
}

test("push: a document changed under a group → its mutation sees the change, with what its device had behind it; the rest in one commit", async () => {
  await fixture.notes.insertOne({ _id: "changed", ...ofAna });
  const push = overtakenPush(() =>
    fixture.notes.updateOne({ _id: "changed" }, { $set: { title: "theirs" } }),
  );
  const mutations = [
    create("ahead", ofAna),
    update("changed", { title: "mine" }, { title: "tea" }),
    create("behind", ofAna),
  ];
  const calls = [...innocents(), { mutations, device: "overtaken" }];
  const results = await Promise.all(await gather({ push }, calls));
  expectTogether(results.slice(0, -1));
  expect(results.slice(-1).map(toldOf)).toEqual([["APPLIED", "MERGED", "APPLIED"]]);
  const [overtaken] = results.slice(-1);
  const clocks =
    overtaken?.status === "fulfilled" ? overtaken.value.receipts.map((one) => one.commitClock) : [];
  expect(clocks).toEqual(clocks.toSorted((a, b) => (a < b ? -1 : 1)));
  expect(await fixture.notes.findOne({ _id: "changed" })).toMatchObject({ title: "mine" });
  await push.close();
});

test("push: a document made under a group that makes it too → CONFLICT for that one; the rest in one commit", async () => {
  const push = overtakenPush(() => fixture.notes.insertOne({ _id: "made", ...ofAna, title: "theirs" }));
  const calls = [...innocents(), { mutations: [create("made", ofAna)], device: "overtaken" }];
  const results = await Promise.all(await gather({ push }, calls));
  expectTogether(results.slice(0, -1));
  expect(results.slice(-1).map(toldOf)).toEqual([["CONFLICT"]]);
  await push.close();
});

test("push: a document deleted under a group that edits it → record_absent for that one; the rest in one commit", async () => {
  await fixture.notes.insertOne({ _id: "deleted", ...ofAna });
  const push = overtakenPush(() => fixture.notes.deleteOne({ _id: "deleted" }));
  const calls = [...innocents(), { mutations: [update("deleted", { title: "mine" })], device: "overtaken" }];
  const results = await Promise.all(await gather({ push }, calls));
  expectTogether(results.slice(0, -1));
  expect(results.at(-1)).toMatchObject({
    value: { receipts: [{ outcome: "CONFLICT", recordAbsent: true }] },
  });
  await push.close();
});

test("push: a copy of one mutation pushed by another node under a group → replayed; all in one commit", async () => {
  const copied = create("copied", ofAna);
  const push = overtakenPush(() => sendOne(fixture, copied));
  const calls = [...innocents(), { mutations: [copied], device: "overtaken" }];
  const results = await Promise.all(await gather({ push }, calls));
  expectTogether(results);
  expect(results.at(-1)).toMatchObject({ value: { receipts: [{ outcome: "APPLIED", replayed: true }] } });
  expect(await fixture.notes.countDocuments({ _id: "copied" })).toBe(1);
  await push.close();
});

test("push: a copy that writes nothing pushed by another node under a group → replayed; all others in one commit", async () => {
  const copied = update("never was", { title: "x" });
  const push = overtakenPush(() => sendOne(fixture, copied));
  const calls = [...innocents(), { mutations: [copied], device: "overtaken" }];
  const results = await Promise.all(await gather({ push }, calls));
  expectTogether(results.slice(0, -1));
  expect(results.at(-1)).toMatchObject({ value: { receipts: [{ recordAbsent: true, replayed: true }] } });
  await push.close();
});

test("push: a document changed under an atomic request → the whole request sees the change", async () => {
  await fixture.notes.insertOne({ _id: "whole", ...ofAna, stars: 1, body: "b" });
  const push = overtakenPush(() => fixture.notes.updateOne({ _id: "whole" }, { $set: { title: "theirs" } }));
  const mutations = [
    create("with whole", ofAna),
    update("whole", { title: "mine" }, { title: "tea" }),
    update("whole", { stars: 2 }, { stars: 1 }),
  ];
  const results = await Promise.all(await gather({ push }, [{ mutations, atomic: true }]));
  expect(results.flatMap(toldOf)).toEqual(["APPLIED", "MERGED", "APPLIED"]);
  expect(await fixture.notes.findOne({ _id: "whole" })).toMatchObject({ title: "mine", stars: 2 });
  await push.close();
});
