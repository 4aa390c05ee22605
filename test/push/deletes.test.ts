// Deletes against edits and creates, by each collection's rule; and how a record comes back from its grave.
import { BSON, type Document } from "mongodb";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Mutation } from "../../src/model/mutation.ts";
import type { Receipt } from "../../src/model/receipt.ts";
import type { JsonObject } from "../../src/model/record-form.ts";
import {
  create,
  grantTeam,
  NOW_MS,
  type PushFixture,
  pushFixture,
  remove,
  send,
  sendOne,
  update,
} from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
  await grantTeam(fixture.log, "ana", "READ_WRITE");
});
afterAll(() => fixture.close());

const ofAna = { title: "tea", ownerId: "ana" };
const inWins = { collection: "edit_wins" };

type Documents = Document & { _id: string };
const documentsOf = (collection: string) => fixture.database.source.collection<Documents>(collection);
const storedOf = (collection: string, _id: string) => documentsOf(collection).findOne({ _id });
const graveOf = (id: string) => fixture.ledger.graves.findOne({ _id: `edit_wins/${id}` });

let ids = 0;
async function fresh(collection: string, fields: Document = {}): Promise<string> {
  const _id = `r-${ids++}`;
  await documentsOf(collection).insertOne({ _id, ...ofAna, ...fields });
  return _id;
}

function short({ outcome, rejection, recordAbsent, record, conflicts }: Receipt) {
  const told = record?.form === "JSON" ? record.json["title"] : undefined;
  const names = conflicts.map(({ name }) => name);
  return { outcome: rejection?.reason ?? outcome, recordAbsent, told, names };
}

const applied = { outcome: "APPLIED", recordAbsent: false, told: undefined, names: [] };
const absent = { outcome: "CONFLICT", recordAbsent: true, told: undefined, names: [] };
const names = ["title"];

/** What becomes of a delete of an edited record whose base is stale, and whether the record is there afterwards. */
const staleDeletes: [string, object, boolean][] = [
  ["delete_wins", { ...applied, outcome: "MERGED", names }, false],
  ["edit_wins", { ...applied, outcome: "MERGED", told: "edited", names }, true],
  ["delete_rejected", { ...applied, outcome: "CONFLICT", told: "edited", names }, true],
];

test.each(staleDeletes)(
  "push: %s: delete of a record edited since → by the rule",
  async (name, told, stays) => {
    const id = await fresh(name, { title: "edited" });
    const receipt = await sendOne(fixture, remove(id, ofAna, { collection: name }));
    expect(short(receipt)).toEqual(told);
    expect((await storedOf(name, id)) !== null).toBe(stays);
    expect(receipt.commitClock > 0n).toBe(receipt.outcome === "MERGED");
  },
);

const everyRule = staleDeletes.map(([name]) => name);

test.each(everyRule)(
  "push: %s: delete with the record's own base, or blind, or of nothing → APPLIED",
  async (name) => {
    const sent = { collection: name };
    const seen = await fresh(name);
    const blind = await fresh(name, { title: "edited" });
    const { receipts } = await send(fixture, [
      remove(seen, ofAna, sent),
      remove(blind, undefined, sent),
      remove("nowhere", ofAna, sent),
      remove("nowhere", undefined, sent),
    ]);
    expect(receipts.map(short)).toEqual(new Array(4).fill(applied));
    expect(await documentsOf(name).countDocuments({ _id: { $in: [seen, blind] } })).toBe(0);
  },
);

test.each(everyRule)(
  "push: %s: update of what never was, or what another program deleted → record_absent",
  async (name) => {
    const id = await fresh(name);
    await documentsOf(name).deleteOne({ _id: id });
    for (const base of [undefined, { title: "tea" }, { title: "older" }]) {
      for (const target of [id, "never was"]) {
        const receipt = await sendOne(fixture, update(target, { title: "mine" }, base, { collection: name }));
        expect(short(receipt)).toEqual(absent);
      }
    }
  },
);

test.each(everyRule)(
  "push: %s: create: free → APPLIED, equal → APPLIED, other → CONFLICT, after a delete → APPLIED",
  async (name) => {
    const id = `made-${name}`;
    const sent = { collection: name };
    const { receipts } = await send(fixture, [
      create(id, ofAna, sent),
      create(id, ofAna, sent),
      create(id, { ...ofAna, title: "other" }, sent),
      remove(id, undefined, sent),
      create(id, { ...ofAna, title: "other" }, sent),
    ]);
    const conflict = { ...applied, outcome: "CONFLICT", told: "tea", names };
    expect(receipts.map(short)).toEqual([applied, applied, conflict, applied, applied]);
    expect(await storedOf(name, id)).toMatchObject({ title: "other" });
  },
);

test.each(["delete_wins", "delete_rejected"])(
  "push: %s: edit after a delete by a push → record_absent, no grave is kept",
  async (name) => {
    const id = await fresh(name);
    await sendOne(fixture, remove(id, ofAna, { collection: name }));
    const edit = update(id, { title: "mine" }, { title: "tea" }, { collection: name });
    expect(short(await sendOne(fixture, edit))).toEqual(absent);
    expect(await fixture.ledger.graves.countDocuments({ _id: `${name}/${id}` })).toBe(0);
  },
);

test("push: EDIT_WINS: edit after a delete → back as it was, undeclared, hidden and stamped fields too, with the edit", async () => {
  fixture.time.nowMs = NOW_MS + 50;
  const createdAt = new Date(1_700_000_000_123);
  const whole = {
    body: "b",
    votes: 3,
    status: "open",
    secret: "s",
    undeclared: { deep: [1, { a: null }], when: createdAt },
    createdAt,
    writtenAt: 5,
  };
  const id = await fresh("edit_wins", whole);
  await sendOne(fixture, remove(id, undefined, inWins));
  expect(await storedOf("edit_wins", id)).toBeNull();
  const edit = update(id, { title: "mine", votes: 5 }, { title: "tea", votes: 3 }, inWins);
  const receipt = await sendOne(fixture, edit);
  expect(short(receipt)).toEqual({ ...applied, outcome: "MERGED", told: "mine" });
  expect(receipt.commitClock).toBeGreaterThan(0n);
  const back = { _id: id, ...ofAna, ...whole, title: "mine", votes: 5, writtenAt: NOW_MS + 50 };
  expect(await storedOf("edit_wins", id)).toEqual(back);
  expect(await graveOf(id)).toBeNull();
  expect(await sendOne(fixture, edit)).toMatchObject({ outcome: "MERGED", replayed: true });
  fixture.time.nowMs = NOW_MS;
});

const orders: [string, JsonObject, JsonObject | undefined][] = [
  ["an edit", { title: "mine" }, { title: "tea" }],
  ["a count", { votes: 3 }, { votes: 1 }],
  ["a blind edit", { body: "mine" }, undefined],
  ["an edit on an older base", { title: "mine" }, { title: "older" }],
];

test.each(orders)(
  "push: EDIT_WINS: %s before or after a delete that hadn't seen it → the same record",
  async (_, json, base) => {
    const fields = { votes: 1, undeclared: 1 };
    const both = async (order: (id: string) => Mutation[]) => {
      const id = await fresh("edit_wins", fields);
      for (const one of order(id)) await sendOne(fixture, one);
      return { ...(await storedOf("edit_wins", id)), _id: "" };
    };
    const edit = (id: string) => update(id, json, base, inWins);
    const gone = (id: string) => remove(id, { ...ofAna, votes: 1 }, inWins);
    const before = await both((id) => [edit(id), gone(id)]);
    expect(before).toMatchObject({ ownerId: "ana", undeclared: 1, ...json });
    expect(await both((id) => [gone(id), edit(id)])).toEqual(before);
  },
);

test("push: EDIT_WINS: an edit to what was deleted already → back, written at the time it came back", async () => {
  const id = await fresh("edit_wins", { writtenAt: 5 });
  await sendOne(fixture, remove(id, undefined, inWins));
  const receipt = await sendOne(fixture, update(id, { title: "tea" }, undefined, inWins));
  expect(short(receipt)).toEqual({ ...applied, outcome: "MERGED", told: "tea" });
  expect(await storedOf("edit_wins", id)).toMatchObject({ ...ofAna, writtenAt: NOW_MS });
});

test("push: EDIT_WINS: several edits after a delete, in one request and later → all stand", async () => {
  const id = await fresh("edit_wins", { votes: 1 });
  const { receipts } = await send(fixture, [
    remove(id, undefined, inWins),
    update(id, { title: "one" }, { title: "tea" }, inWins),
    update(id, { body: "two" }, { body: "" }, inWins),
  ]);
  expect(receipts.map(({ outcome }) => outcome)).toEqual(["APPLIED", "MERGED", "APPLIED"]);
  await sendOne(fixture, update(id, { votes: 2 }, { votes: 1 }, inWins));
  expect(await storedOf("edit_wins", id)).toMatchObject({ title: "one", body: "two", votes: 2 });
  expect(await graveOf(id)).toBeNull();
});

test("push: EDIT_WINS: deleted twice with a return between → the later state comes back", async () => {
  const id = await fresh("edit_wins");
  await sendOne(fixture, remove(id, undefined, inWins));
  await sendOne(fixture, update(id, { title: "second" }, undefined, inWins));
  await sendOne(fixture, remove(id, undefined, inWins));
  await sendOne(fixture, update(id, { body: "b" }, undefined, inWins));
  expect(await storedOf("edit_wins", id)).toMatchObject({ title: "second", body: "b" });
});

test("push: EDIT_WINS: created anew after a delete → its grave is gone; deleted by another program then → stays gone", async () => {
  const id = await fresh("edit_wins", { body: "old" });
  await sendOne(fixture, remove(id, undefined, inWins));
  expect(await graveOf(id)).not.toBeNull();
  await sendOne(fixture, create(id, { ...ofAna, title: "new" }, inWins));
  expect(await graveOf(id)).toBeNull();
  await documentsOf("edit_wins").deleteOne({ _id: id });
  expect(short(await sendOne(fixture, update(id, { title: "mine" }, undefined, inWins)))).toEqual(absent);
});

test("push: EDIT_WINS: made and deleted in one request → an edit brings it back", async () => {
  const id = `brief-${ids++}`;
  await send(fixture, [create(id, ofAna, inWins), remove(id, undefined, inWins)]);
  expect(await storedOf("edit_wins", id)).toBeNull();
  const receipt = await sendOne(fixture, update(id, { title: "mine" }, undefined, inWins));
  expect(short(receipt)).toEqual({ ...applied, outcome: "MERGED", told: "mine" });
});

const unhelped: [string, Parameters<typeof update>, string][] = [
  ["an edit that expects a version", ["", { title: "x" }, undefined, { expectedVersion: 3 }], "CONFLICT"],
  ["an edit REJECT decides against", ["", { firm: "c" }, { firm: "a" }], "CONFLICT"],
  ["an edit that breaks a rule", ["", { title: "x".repeat(21) }], "INVALID"],
  ["an edit into a foreign scope", ["", { ownerId: "bob" }], "FORBIDDEN"],
];

test.each(unhelped)(
  "push: EDIT_WINS: %s → doesn't bring the record back",
  async (_, [, json, base, sent], outcome) => {
    const id = await fresh("edit_wins", { firm: "b" });
    await sendOne(fixture, remove(id, undefined, inWins));
    const receipt = await sendOne(fixture, update(id, json, base, { ...inWins, ...sent }));
    const expected = { ...applied, outcome, recordAbsent: outcome === "CONFLICT" };
    expect(short(receipt)).toEqual(expected);
    expect(await storedOf("edit_wins", id)).toBeNull();
    expect(await graveOf(id)).not.toBeNull();
  },
);

test("push: EDIT_WINS: a delete and an edit in a failed atomic request → record there, no grave", async () => {
  const id = await fresh("edit_wins");
  const all = [remove(id, undefined, inWins), update("never was", { title: "x" }, undefined, inWins)];
  const { receipts } = await send(fixture, all, { atomic: true });
  expect(receipts.map(({ outcome }) => outcome)).toEqual(["NOT_ATTEMPTED", "CONFLICT"]);
  expect(await storedOf("edit_wins", id)).not.toBeNull();
  expect(await graveOf(id)).toBeNull();
});

const strangers: [string, string, Document][] = [
  ["who may not see it", "eve", {}],
  ["who may see but not write it", "eve", { shownTo: "eve" }],
  ["whose team was never theirs", "eve", { teamId: "red" }],
];

test.each(strangers)(
  "push: EDIT_WINS: edit of a deleted record by one %s → as if it had never been",
  async (_, as, fields) => {
    const id = await fresh("edit_wins", fields);
    await sendOne(fixture, remove(id, undefined, inWins));
    const all = (target: string) => [
      update(target, { title: "mine" }, undefined, inWins),
      update(target, { ownerId: as, votes: 1 }, { votes: 0 }, inWins),
      update(target, { title: "x".repeat(30) }, undefined, inWins),
    ];
    const of = async (target: string) =>
      (await send(fixture, all(target), { as })).receipts.map((one) => ({
        ...one,
        mutationId: "",
        recordId: "",
      }));
    const told = await of(id);
    expect(told.map(short)).toEqual(new Array(3).fill(absent));
    expect(told).toEqual(await of("never was"));
    expect(await storedOf("edit_wins", id)).toBeNull();
  },
);

test("push: EDIT_WINS: a teammate edits after the owner's delete → back; a stranger's delete leaves no grave", async () => {
  const id = await fresh("edit_wins", { ownerId: "bob", teamId: "red" });
  await sendOne(fixture, remove(id, undefined, inWins), { as: "eve" });
  expect(await graveOf(id)).toBeNull();
  await sendOne(fixture, remove(id, undefined, inWins), { as: "bob" });
  const receipt = await sendOne(fixture, update(id, { title: "mine" }, undefined, inWins));
  expect(short(receipt)).toEqual({ ...applied, outcome: "MERGED", told: "mine" });
});

test("push: a grave is told in no receipt, and holds the document byte by byte", async () => {
  const id = await fresh("edit_wins", { secret: "hidden-1", undeclared: "hidden-2" });
  const { receipts } = await send(fixture, [
    remove(id, ofAna, inWins),
    create(id, { ...ofAna, title: "new" }, inWins),
    create(id, { ...ofAna, title: "other" }, inWins),
    remove(id, { ...ofAna, title: "new" }, inWins),
    update(id, { body: "b" }, undefined, inWins),
  ]);
  expect(receipts.map(({ outcome }) => outcome)).toEqual([
    "APPLIED",
    "APPLIED",
    "CONFLICT",
    "APPLIED",
    "MERGED",
  ]);
  const text = JSON.stringify(receipts, (_, value) => (typeof value === "bigint" ? String(value) : value));
  expect(text).not.toContain("hidden-");
  const other = await fresh("edit_wins", { secret: "s", undeclared: { a: [null, 1.5] } });
  const kept = await storedOf("edit_wins", other);
  await sendOne(fixture, remove(other, undefined, inWins));
  const grave = await graveOf(other);
  expect(BSON.deserialize(grave?.document.buffer ?? new Uint8Array())).toEqual(kept);
});
