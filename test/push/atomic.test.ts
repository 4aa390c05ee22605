// Atomic requests: all or nothing, the innocent untouched, the guilty remembered.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Mutation } from "../../src/model/mutation.ts";
import {
  create,
  type PushFixture,
  pushFixture,
  remove,
  type Sending,
  send,
  sendOne,
  update,
} from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
  await fixture.notes.createIndex({ mail: 1 }, { unique: true, sparse: true });
});
afterAll(() => fixture.close());

const ofAna = { title: "tea", ownerId: "ana", email: "" };

function atomically(mutations: readonly Mutation[], sending: Sending = {}) {
  return send(fixture, mutations, { atomic: true, ...sending });
}

async function outcomesOf(mutations: readonly Mutation[]): Promise<string[]> {
  const { receipts } = await atomically(mutations);
  return receipts.map(({ outcome, rejection }) => rejection?.reason ?? outcome);
}

function noted(id: string, fields: Record<string, unknown> = {}): Promise<unknown> {
  return fixture.notes.insertOne({ _id: id, title: "tea", ownerId: "ana", ...fields });
}

test("atomic: all in order, later ones seeing earlier ones → one commit clock, one transaction, one write per record", async () => {
  await noted("a-1");
  await noted("a-3");
  const stream = fixture.notes.watch();
  await stream.tryNext();
  const { receipts, commitClock } = await atomically([
    update("a-1", { title: "two" }, { title: "tea" }),
    update("a-1", { title: "three" }, { title: "two" }),
    create("a-2", { ...ofAna, email: "a-2" }),
    remove("a-1", { title: "three", ownerId: "ana" }),
    update("a-3", { title: "two" }, { title: "tea" }),
    update("a-3", { title: "three", body: "b" }, { title: "two" }),
  ]);
  expect(receipts.map(({ outcome }) => outcome)).toEqual(new Array(6).fill("APPLIED"));
  expect(new Set(receipts.map((receipt) => receipt.commitClock))).toEqual(new Set([commitClock]));
  await noted("a-end");
  const events: string[] = [];
  const times = new Set<string | undefined>();
  for (;;) {
    const event = await stream.next();
    if (!("documentKey" in event) || event.documentKey._id === "a-end") break;
    events.push(`${event.operationType} ${event.documentKey._id}`);
    times.add(event.clusterTime?.toString());
  }
  expect(events.sort()).toEqual(["delete a-1", "insert a-2", "update a-3"]);
  expect(times.size).toBe(1);
  expect(await fixture.notes.findOne({ _id: "a-3" })).toMatchObject({ title: "three", body: "b" });
  await stream.close();
});

const guilty: [string, () => Mutation, string][] = [
  ["a CONFLICT", () => update("absent", { title: "x" }), "CONFLICT"],
  ["a broken rule", () => update("b-1", { title: "x".repeat(30) }), "INVALID"],
  ["an unreadable record", () => update("b-1", { nonsense: 1 }), "INVALID"],
  ["a foreign record's id", () => create("b-foreign", { ...ofAna, email: "f" }), "ID_TAKEN"],
  ["a unique index", () => create("b-new", { ...ofAna, email: "taken" }), "DATABASE"],
];

test.each(guilty)(
  "atomic: one fails by %s → nothing written, the innocent NOT_ATTEMPTED",
  async (_, make, why) => {
    await fixture.notes.deleteMany({});
    await noted("b-1");
    await noted("b-foreign", { ownerId: "bob", mail: "taken" });
    const before = await fixture.notes.find().toArray();
    const innocent = [update("b-1", { title: "two" }), create("b-2", { ...ofAna, email: "b-2" })];
    const [first, last] = innocent;
    if (!first || !last) throw new Error("two");
    const bad = make();
    expect(await outcomesOf([first, bad, last])).toEqual(["NOT_ATTEMPTED", why, "NOT_ATTEMPTED"]);
    expect(await fixture.notes.find().toArray()).toEqual(before);
    const { receipts } = await atomically(innocent);
    expect(receipts).toMatchObject([
      { outcome: "APPLIED", replayed: false },
      { outcome: "APPLIED", replayed: false },
    ]);
  },
);

test("atomic: every mutation refused by itself keeps its reason, the rest is NOT_ATTEMPTED", async () => {
  await noted("c-1");
  const all = [update("c-1", {}), update("c-1", { title: "two" }), create("c-2", { ...ofAna, status: "x" })];
  expect(await outcomesOf(all)).toEqual(["INVALID", "NOT_ATTEMPTED", "FORBIDDEN"]);
});

test("atomic: the guilty CONFLICT tells the record as it is, without the edits that were undone", async () => {
  await noted("d-1", { body: "theirs" });
  const { receipts } = await atomically([
    update("d-1", { body: "undone" }, { body: "theirs" }),
    create("d-1", { ...ofAna, body: "mine" }),
  ]);
  expect(receipts).toMatchObject([
    { outcome: "NOT_ATTEMPTED" },
    { outcome: "CONFLICT", replayed: false, record: { json: { body: "theirs" } } },
  ]);
});

test("atomic: a copy of a failed request, arriving when all would succeed → fails the same way", async () => {
  const all = [create("e-1", { ...ofAna, email: "e-1" }), update("e-2", { title: "two" })];
  expect(await outcomesOf(all)).toEqual(["NOT_ATTEMPTED", "CONFLICT"]);
  await noted("e-2");
  expect(await outcomesOf(all)).toEqual(["NOT_ATTEMPTED", "CONFLICT"]);
  expect(await fixture.notes.findOne({ _id: "e-1" })).toBeNull();
});

test("atomic: sent again after it succeeded → all replayed", async () => {
  const all = [create("f-1", { ...ofAna, email: "f-1" }), create("f-2", { ...ofAna, email: "f-2" })];
  await atomically(all);
  await fixture.notes.deleteMany({ _id: /^f-/ });
  const { receipts } = await atomically(all);
  expect(receipts).toMatchObject(all.map(() => ({ outcome: "APPLIED", replayed: true })));
  expect(await fixture.notes.countDocuments({ _id: /^f-/ })).toBe(0);
});

test("atomic: one mutation applied before by itself → replayed, the others applied together", async () => {
  const before = create("g-1", { ...ofAna, email: "g-1" });
  await sendOne(fixture, before);
  const { receipts } = await atomically([update("g-1", { title: "two" }, { title: "tea" }), before]);
  expect(receipts).toMatchObject([
    { outcome: "APPLIED", replayed: false },
    { outcome: "APPLIED", replayed: true },
  ]);
});

test("atomic: an id twice → one effect, the second a replay; with other content the request fails", async () => {
  const one = create("h-1", { ...ofAna, email: "h-1" });
  const { receipts } = await atomically([one, one]);
  expect(receipts).toMatchObject([{ replayed: false }, { outcome: "APPLIED", replayed: true }]);
  const two = update("h-1", { title: "two" });
  const other = { ...remove("h-1"), mutationId: two.mutationId };
  expect(await outcomesOf([two, other])).toEqual(["NOT_ATTEMPTED", "MUTATION_ID_REUSED"]);
  expect(await fixture.notes.findOne({ _id: "h-1" })).toMatchObject({ title: "tea" });
});

test("atomic: copies arriving at once → one effect, everyone told the same", async () => {
  await noted("i-1", { stars: 0, body: "b" });
  const all = [
    update("i-1", { stars: 1 }, { stars: 0 }),
    update("i-1", { stars: 2 }, { stars: 1 }),
    create("i-2", { ...ofAna, email: "i-2" }),
  ];
  const told = await Promise.all(Array.from({ length: 5 }, () => atomically(all)));
  for (const { receipts } of told) {
    expect(receipts.map(({ outcome }) => outcome)).toEqual(["APPLIED", "APPLIED", "APPLIED"]);
  }
  expect(told.filter(({ receipts }) => !receipts[0]?.replayed)).toHaveLength(1);
  expect(await fixture.notes.findOne({ _id: "i-1" })).toMatchObject({ stars: 2 });
});

test("atomic: the conflicting copies of a failing request, at once → nothing written, everyone told the same", async () => {
  const all = [create("j-1", { ...ofAna, email: "j-1" }), update("j-2", { title: "two" })];
  const told = await Promise.all(Array.from({ length: 5 }, () => atomically(all)));
  for (const { receipts } of told) {
    expect(receipts.map(({ outcome }) => outcome)).toEqual(["NOT_ATTEMPTED", "CONFLICT"]);
  }
  expect(await fixture.notes.countDocuments({ _id: /^j-/ })).toBe(0);
});

test("atomic: a merged record of most of what a response carries, sent again → still told", async () => {
  await noted("k-1", { title: "theirs", body: "b".repeat(2_500_000) });
  const one = update("k-1", { title: "mine" }, { title: "tea" });
  for (const replayed of [false, true]) {
    const { receipts } = await atomically([one], { recordForm: "PROTO" });
    expect(receipts).toMatchObject([{ outcome: "MERGED", replayed, record: { form: "PROTO" } }]);
  }
});
