// Who may push what, and what a receipt may tell: scopes before and after, records one can't see, replays after a
// right was lost. `user:` scopes are READ_WRITE, `shown:` scopes READ, `team:` scopes by membership.
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  create,
  grantTeam,
  type PushFixture,
  principal,
  pushFixture,
  remove,
  sendOne,
  update,
} from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
  await grantTeam(fixture.log, "ana", "READ_WRITE");
  await grantTeam(fixture.log, "rob", "READ");
});
afterAll(() => fixture.close());

const ofBob = { title: "tea", ownerId: "bob" };

async function bobsNote(id: string, fields: Record<string, unknown> = {}): Promise<void> {
  await fixture.notes.insertOne({ _id: id, ...ofBob, body: "private", ...fields });
}

test("push: an invisible record → update as if absent, delete APPLIED without effect, create ID_TAKEN", async () => {
  await bobsNote("bobs");
  const before = await fixture.notes.findOne({ _id: "bobs" });
  const absent = await sendOne(fixture, update("not there", { title: "x" }, {}));
  const hidden = await sendOne(fixture, update("bobs", { title: "x" }, {}));
  expect({ ...hidden, mutationId: "", recordId: "" }).toEqual({ ...absent, mutationId: "", recordId: "" });
  expect(await sendOne(fixture, remove("bobs", ofBob))).toMatchObject({ outcome: "APPLIED", conflicts: [] });
  const taken = await sendOne(fixture, create("bobs", { title: "tea", ownerId: "ana" }));
  expect(taken).toMatchObject({ outcome: "REJECTED", record: undefined, conflicts: [], recordAbsent: false });
  expect(taken.rejection).toMatchObject({ reason: "ID_TAKEN", violations: [] });
  expect(JSON.stringify(taken.rejection)).not.toMatch(/bob|private/);
  expect(await fixture.notes.findOne({ _id: "bobs" })).toEqual(before);
});

test("push: a document that is no record (quarantined) → treated as invisible, left as it is", async () => {
  await fixture.notes.insertOne({ _id: "unfit", title: "tea", ownerId: "ana", stars: "many" });
  expect(await sendOne(fixture, update("unfit", { title: "x" }))).toMatchObject({ recordAbsent: true });
  expect(await sendOne(fixture, remove("unfit"))).toMatchObject({ outcome: "APPLIED" });
  expect(await sendOne(fixture, create("unfit", { title: "x", ownerId: "ana" }))).toMatchObject({
    rejection: { reason: "ID_TAKEN" },
  });
  expect(await fixture.notes.countDocuments({ _id: "unfit" })).toBe(1);
});

test("push: visible but not writable → update, delete and create FORBIDDEN", async () => {
  await bobsNote("shown", { shownTo: "ana" });
  const mine = { ...ofBob, ownerId: "ana" };
  for (const one of [update("shown", { title: "x" }), remove("shown"), create("shown", mine)]) {
    const receipt = await sendOne(fixture, one);
    expect(receipt).toMatchObject({ outcome: "REJECTED", rejection: { reason: "FORBIDDEN" } });
    expect(receipt.record).toBeUndefined();
  }
  expect(await fixture.notes.findOne({ _id: "shown" })).toMatchObject({ title: "tea" });
});

test("push: a create into a scope one can't write, or into none → FORBIDDEN, whether the id is free or not", async () => {
  await bobsNote("somewhere");
  for (const id of ["somewhere", "nowhere"]) {
    expect(await sendOne(fixture, create(id, ofBob))).toMatchObject({ rejection: { reason: "FORBIDDEN" } });
  }
  const none = await sendOne(fixture, create("nowhere", { title: "x" }));
  expect(none).toMatchObject({ rejection: { reason: "FORBIDDEN" } });
  expect(await fixture.notes.findOne({ _id: "nowhere" })).toBeNull();
});

test("push: an update that moves a record out of all scopes one can write → FORBIDDEN; within them → APPLIED", async () => {
  await fixture.notes.insertOne({ _id: "moving", title: "tea", ownerId: "ana" });
  const away = await sendOne(fixture, update("moving", { ownerId: "bob" }));
  expect(away).toMatchObject({ rejection: { reason: "FORBIDDEN" } });
  const toTeam = await sendOne(fixture, update("moving", { ownerId: "", teamId: "red" }));
  expect(toTeam).toMatchObject({ outcome: "APPLIED" });
  expect(await fixture.notes.findOne({ _id: "moving" })).toMatchObject({ ownerId: "", teamId: "red" });
});

test("push: rights by membership: READ_WRITE writes, READ sees but doesn't write, none sees nothing", async () => {
  await bobsNote("team", { teamId: "red" });
  const change = () => update("team", { title: "red" });
  expect(await sendOne(fixture, change(), { as: "ana" })).toMatchObject({ outcome: "APPLIED" });
  expect(await sendOne(fixture, change(), { as: "rob" })).toMatchObject({
    rejection: { reason: "FORBIDDEN" },
  });
  expect(await sendOne(fixture, change(), { as: "eve" })).toMatchObject({ recordAbsent: true });
});

test("push: a caller without a token → FORBIDDEN, unrecorded", async () => {
  expect((await principal("")).claimGrants.size).toBeGreaterThan(0);
  const one = create("anonymous", ofBob);
  expect(await sendOne(fixture, one, { as: "" })).toMatchObject({ rejection: { reason: "FORBIDDEN" } });
  expect(await fixture.ledger.receipts.findOne({ _id: one.mutationId })).toBeNull();
});

test("push: replay of a CONFLICT after the record left one's scopes → outcome stays, record and conflicts go", async () => {
  await fixture.notes.insertOne({ _id: "leaving", title: "theirs", ownerId: "ana" });
  const one = create("leaving", { title: "mine", ownerId: "ana" });
  const first = await sendOne(fixture, one);
  expect(first).toMatchObject({ outcome: "CONFLICT", record: { json: { title: "theirs" } } });
  await fixture.notes.updateOne({ _id: "leaving" }, { $set: { title: "newer" } });
  expect(await sendOne(fixture, one)).toMatchObject({
    outcome: "CONFLICT",
    replayed: true,
    record: { json: { title: "newer" } },
    conflicts: [{ name: "title" }],
  });
  await fixture.notes.updateOne({ _id: "leaving" }, { $set: { ownerId: "bob" } });
  const replayed = await sendOne(fixture, one);
  expect(replayed).toMatchObject({ outcome: "CONFLICT", replayed: true, conflicts: [] });
  expect(replayed.record).toBeUndefined();
});

test("push: a response holds a bounded amount of records; what doesn't fit is left to the pull", async () => {
  const body = "x".repeat(3_000_000);
  const ids = ["big-1", "big-2"];
  await fixture.notes.insertMany(ids.map((_id) => ({ _id, title: "theirs", ownerId: "ana", body })));
  const mutations = ids.map((id) => create(id, { title: "mine", ownerId: "ana" }));
  const { receipts } = await fixture.push.pushMutations(
    await principal("ana"),
    { mutations, atomic: false, recordForm: "PROTO" },
    new AbortController().signal,
  );
  expect(receipts.map(({ outcome }) => outcome)).toEqual(["CONFLICT", "CONFLICT"]);
  expect(receipts.map(({ record }) => record !== undefined)).toEqual([true, false]);
});
