// Exactly once: however often, in whatever form and at the same time a mutation is sent, it has one effect and one
// receipt; what else comes under its id is refused; what is too old to be known is refused.
import { create as message, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { expireReceipts } from "../../src/ledger/ledger.ts";
import { commitClockOf } from "../../src/model/commit-clock.ts";
import type { Mutation } from "../../src/model/mutation.ts";
import type { JsonObject } from "../../src/model/record-form.ts";
import {
  create,
  mutation,
  NOW_MS,
  type PushFixture,
  pushFixture,
  remove,
  send,
  sendOne,
  update,
} from "./push-fixture.ts";

const DAY_MS = 86_400_000;

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
});
afterAll(() => fixture.close());

const ofAna = { title: "tea", ownerId: "ana" };

test("push: sent again → its receipt, replayed, with a later commit clock and no second effect", async () => {
  const one = create("again", ofAna);
  const first = await sendOne(fixture, one);
  await fixture.notes.updateOne({ _id: "again" }, { $set: { title: "theirs" } });
  const second = await sendOne(fixture, one);
  expect(second).toMatchObject({ outcome: "APPLIED", replayed: true, mutationId: one.mutationId });
  expect(second.commitClock).toBeGreaterThanOrEqual(first.commitClock);
  expect(await fixture.notes.findOne({ _id: "again" })).toMatchObject({ title: "theirs" });
  await fixture.notes.deleteOne({ _id: "again" });
  expect(await sendOne(fixture, one)).toMatchObject({ outcome: "APPLIED", replayed: true });
  expect(await fixture.notes.findOne({ _id: "again" })).toBeNull();
});

test("push: the id in another case, the record in the other form, made_at changed → still the same mutation", async () => {
  const { mutationId } = await sendOne(fixture, create("form", ofAna));
  const collection = fixture.schema.collections.get("notes");
  if (collection === undefined) throw new Error("the schema has notes");
  const bytes = toBinary(collection.message, message(collection.message, { ...ofAna, id: "form" }));
  const again = mutation("form", { case: "create", record: { form: "PROTO", bytes } });
  const receipt = await sendOne(fixture, { ...again, mutationId: mutationId.toUpperCase(), madeAtMs: 5 });
  expect(receipt).toMatchObject({ mutationId, outcome: "APPLIED", replayed: true });
});

test("push: map entries and keys in another order, unnamed extras in base → still the same mutation", async () => {
  await fixture.notes.insertOne({ _id: "order", ...ofAna });
  const one = update("order", { labels: { a: "1", b: "2" }, body: "b" }, { labels: {}, body: "" });
  await sendOne(fixture, one);
  const reordered = update("order", { body: "b", labels: { b: "2", a: "1" } }, { title: "tea" });
  expect(await sendOne(fixture, { ...reordered, mutationId: one.mutationId })).toMatchObject({
    outcome: "APPLIED",
    replayed: true,
  });
});

const others: [string, (one: Mutation) => Mutation, string][] = [
  ["other values", (one) => ({ ...one, kind: update("reused", { title: "b" }).kind }), "ana"],
  ["another record", (one) => ({ ...one, recordId: "reused too" }), "ana"],
  ["another kind", (one) => ({ ...one, kind: remove("reused").kind }), "ana"],
  ["a base added", (one) => ({ ...one, kind: update("reused", { title: "a" }, {}).kind }), "ana"],
  ["another made_after", (one) => ({ ...one, madeAfter: 7n }), "ana"],
  ["another principal", (one) => one, "bob"],
];

test.each(others)("push: a known id with %s → MUTATION_ID_REUSED, nothing told", async (_, other, as) => {
  await fixture.notes.updateOne({ _id: "reused" }, { $set: { ...ofAna, shownTo: "bob" } }, { upsert: true });
  const one = update("reused", { title: "a" });
  expect(await sendOne(fixture, one)).toMatchObject({ outcome: "APPLIED" });
  const receipt = await sendOne(fixture, other(one), { as });
  expect(receipt).toMatchObject({
    outcome: "REJECTED",
    replayed: false,
    commitClock: 0n,
    record: undefined,
    conflicts: [],
    rejection: { reason: "MUTATION_ID_REUSED", violations: [] },
  });
  expect(await fixture.notes.findOne({ _id: "reused" })).toMatchObject({ title: "a" });
});

test("push: outcomes the database had a part in are final: CONFLICT, FORBIDDEN and ID_TAKEN are told again", async () => {
  await fixture.notes.insertOne({ _id: "final-taken", title: "t", ownerId: "bob" });
  await fixture.notes.insertOne({ _id: "final-shown", title: "t", ownerId: "bob", shownTo: "ana" });
  const all = [
    update("final-absent", { title: "x" }),
    create("final-taken", ofAna),
    update("final-shown", { title: "x" }),
  ];
  const { receipts: first } = await send(fixture, all);
  await fixture.notes.deleteMany({ _id: /^final/ });
  await fixture.notes.insertMany(["final-absent", "final-shown"].map((_id) => ({ _id, ...ofAna })));
  const { receipts: second, commitClock } = await send(fixture, all);
  expect(first.map(({ outcome, rejection }) => rejection?.reason ?? outcome)).toEqual([
    "CONFLICT",
    "ID_TAKEN",
    "FORBIDDEN",
  ]);
  expect(second).toEqual(first.map((receipt) => ({ ...receipt, replayed: true })));
  expect(commitClock).toBe(0n);
  expect(await fixture.notes.countDocuments({ _id: "final-taken" })).toBe(0);
});

test("push: what was refused by itself isn't recorded: its id is free for the mended mutation", async () => {
  const refused = create("mended", { ownerId: "ana" });
  expect(await sendOne(fixture, refused)).toMatchObject({ rejection: { reason: "INVALID" } });
  const mended = { ...create("mended", ofAna), mutationId: refused.mutationId };
  expect(await sendOne(fixture, mended)).toMatchObject({ outcome: "APPLIED", replayed: false });
});

test("push: twice in one request → the second is a replay; with other content → MUTATION_ID_REUSED", async () => {
  const one = create("twice", ofAna);
  const other = { ...remove("twice"), mutationId: one.mutationId };
  const { receipts } = await send(fixture, [one, one, other]);
  expect(receipts).toMatchObject([
    { outcome: "APPLIED", replayed: false },
    { outcome: "APPLIED", replayed: true },
    { outcome: "REJECTED", rejection: { reason: "MUTATION_ID_REUSED" } },
  ]);
  expect(await fixture.notes.countDocuments({ _id: "twice" })).toBe(1);
});

test("push: eight copies arriving at once → one write, one receipt, all told the same", async () => {
  await fixture.notes.insertOne({ _id: "copies", ...ofAna, log: [] });
  const stream = fixture.notes.watch([{ $match: { "documentKey._id": "copies" } }]);
  await stream.tryNext();
  const one = update("copies", { body: "once" }, { body: "" });
  const receipts = await Promise.all(Array.from({ length: 8 }, () => sendOne(fixture, one)));
  expect(receipts.filter(({ replayed }) => !replayed)).toHaveLength(1);
  expect(new Set(receipts.map(({ outcome }) => outcome))).toEqual(new Set(["APPLIED"]));
  await fixture.notes.deleteOne({ _id: "copies" });
  expect([(await stream.next()).operationType, (await stream.next()).operationType]).toEqual([
    "update",
    "delete",
  ]);
  await stream.close();
});

test("push: the commit clock of a receipt is the cluster time of the write's change event", async () => {
  const stream = fixture.notes.watch([{ $match: { "documentKey._id": "clock" } }]);
  await stream.tryNext();
  const receipt = await sendOne(fixture, create("clock", ofAna));
  const { clusterTime } = await stream.next();
  expect(clusterTime && commitClockOf(clusterTime)).toBe(receipt.commitClock);
  await stream.close();
});

test("push: receipts expired → made_after below the floor is EXPIRED, at or above it and 0 go through", async () => {
  const own = await pushFixture();
  const old = commitClockOf({ t: Math.floor((NOW_MS - 100 * DAY_MS) / 1000), i: 1 });
  const recent = commitClockOf({ t: Math.floor((NOW_MS - DAY_MS) / 1000), i: 1 });
  own.time.nowMs = NOW_MS - 100 * DAY_MS;
  const forgotten = create("forgotten", ofAna, { madeAfter: old });
  const unclocked = create("unclocked", ofAna);
  await send(own, [forgotten, unclocked]);
  own.time.nowMs = NOW_MS;
  const remembered = create("remembered", ofAna, { madeAfter: old });
  expect(await sendOne(own, remembered)).toMatchObject({ outcome: "APPLIED" });
  expect(await expireReceipts(own.ledger, NOW_MS)).toBe(2);
  await own.notes.deleteMany({});
  const sent = [
    forgotten,
    remembered,
    create("late", ofAna, { madeAfter: recent }),
    create("typed long ago", ofAna),
  ];
  const { receipts } = await send(own, sent);
  expect(receipts).toMatchObject([
    { outcome: "REJECTED", rejection: { reason: "EXPIRED" }, commitClock: 0n },
    { outcome: "APPLIED", replayed: true },
    { outcome: "APPLIED", replayed: false },
    { outcome: "APPLIED", replayed: false },
  ]);
  expect(await own.notes.findOne({ _id: "forgotten" })).toBeNull();
  await own.close();
});

test("push: made_after later than now (a lying client) → as good as 0: applied once, replayed when sent again", async () => {
  const future = commitClockOf({ t: Math.floor(NOW_MS / 1000) + 1_000_000, i: 1 });
  const one = create("future", ofAna, { madeAfter: future });
  expect(await sendOne(fixture, one)).toMatchObject({ outcome: "APPLIED", replayed: false });
  const again = await sendOne(fixture, one);
  expect(again).toMatchObject({ outcome: "APPLIED", replayed: true });
  expect(again.commitClock).toBeLessThan(future);
});

test("push: a record of the collection unreadable by now, under a known id → INVALID, nothing told", async () => {
  const one = create("misfit", ofAna);
  await sendOne(fixture, one);
  const json: JsonObject = { ...ofAna, gone: 1 };
  expect(await sendOne(fixture, { ...create("misfit", json), mutationId: one.mutationId })).toMatchObject({
    outcome: "REJECTED",
    rejection: { reason: "INVALID" },
  });
});
