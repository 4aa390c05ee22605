// expected_version: holds only while the log's entry is that version and the record is still what the entry says.
// No ingest runs here: the log is as far as each test has written it.
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { append } from "../../src/log/append.ts";
import type { MainEntry } from "../../src/log/entry.ts";
import { readState } from "../../src/log/log.ts";
import { encodeDocument } from "../../src/schema/encode-document.ts";
import { create, type PushFixture, pushFixture, remove, send, sendOne, update } from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
});
afterAll(() => fixture.close());

const ofAna = { title: "tea", ownerId: "ana" };

/** Enters a note in the log as it is now; its version. */
async function enter(id: string, collectionName = "notes", key: unknown = id): Promise<number> {
  const { log, schema, database } = fixture;
  const collection = schema.collections.get(collectionName);
  const filter = { _id: key } as never;
  const document = await database.source.collection(collectionName).findOne(filter);
  if (collection === undefined || document === null) throw new Error("there is such a record");
  const base = await readState(log);
  const seq = base.head + 1;
  const { bytes: record, scopes } = encodeDocument(collection, document);
  const entry: MainEntry = {
    kind: "main",
    key: { c: collectionName, k: key },
    recordId: id,
    feeds: scopes.map((scope) => `${collectionName}/${scope}` as const),
    seq,
    since: seq,
    record,
    marks: new Map(),
    schema: 1,
    load: 0,
  };
  await append(log, { base, state: { head: seq }, entries: [entry] }, randomUUID());
  return seq;
}

async function noted(id: string, fields: Record<string, unknown> = {}): Promise<number> {
  await fixture.notes.insertOne({ _id: id, ...ofAna, ...fields });
  return await enter(id);
}

const told = { outcome: "CONFLICT", conflicts: [], recordAbsent: false, commitClock: 0n };

test("push: the version expected is the record's → update and delete APPLIED", async () => {
  const version = await noted("exact", { undeclared: 1, secret: "s" });
  const one = update("exact", { title: "two" }, undefined, { expectedVersion: version });
  expect(await sendOne(fixture, one)).toMatchObject({ outcome: "APPLIED" });
  expect(await sendOne(fixture, one)).toMatchObject({ outcome: "APPLIED", replayed: true });
  const next = await enter("exact");
  expect(next).toBeGreaterThan(version);
  const gone = remove("exact", undefined, { expectedVersion: next });
  expect(await sendOne(fixture, gone)).toMatchObject({ outcome: "APPLIED" });
  expect(await fixture.notes.findOne({ _id: "exact" })).toBeNull();
});

test("push: the log is of that version, the record has moved on → CONFLICT with the record, nothing written", async () => {
  const expectedVersion = await noted("lagging");
  await fixture.notes.updateOne({ _id: "lagging" }, { $set: { title: "theirs" } });
  const record = { form: "JSON", json: { id: "lagging", title: "theirs", ownerId: "ana" } };
  const { receipts } = await send(fixture, [
    update("lagging", { body: "mine" }, { body: "" }, { expectedVersion }),
    remove("lagging", undefined, { expectedVersion }),
  ]);
  expect(receipts).toMatchObject([
    { ...told, record },
    { ...told, record },
  ]);
  expect(await fixture.notes.findOne({ _id: "lagging" })).toMatchObject({ title: "theirs" });
  expect(await fixture.notes.findOne({ _id: "lagging" })).not.toHaveProperty("body");
});

test("push: the record is equal but its version is another → CONFLICT", async () => {
  const version = await noted("other");
  const versions = [version + 1, version - 1, 2 ** 53 - 1];
  const { receipts } = await send(
    fixture,
    versions.map((expectedVersion) => update("other", { body: "mine" }, { body: "" }, { expectedVersion })),
  );
  for (const receipt of receipts) expect(receipt).toMatchObject(told);
});

test("push: the log has no such record yet → CONFLICT", async () => {
  await fixture.notes.insertOne({ _id: "unlogged", ...ofAna });
  const one = update("unlogged", { body: "mine" }, { body: "" }, { expectedVersion: 1 });
  expect(await sendOne(fixture, one)).toMatchObject({ ...told, record: { json: ofAna } });
});

test("push: changed only in what clients don't see → still that version", async () => {
  const expectedVersion = await noted("unseen");
  await fixture.notes.updateOne({ _id: "unseen" }, { $set: { secret: "s", undeclared: 2 } });
  const one = update("unseen", { body: "mine" }, undefined, { expectedVersion });
  expect(await sendOne(fixture, one)).toMatchObject({ outcome: "APPLIED" });
});

test("push: the same version expected twice in a request → the first APPLIED, the second CONFLICT with its result", async () => {
  const expectedVersion = await noted("twice");
  const { receipts } = await send(fixture, [
    update("twice", { title: "first" }, undefined, { expectedVersion }),
    update("twice", { title: "second" }, undefined, { expectedVersion }),
  ]);
  expect(receipts).toMatchObject([{ outcome: "APPLIED" }, { ...told, record: { json: { title: "first" } } }]);
  expect(await fixture.notes.findOne({ _id: "twice" })).toMatchObject({ title: "first" });
});

test("push: expected by two devices at once → one APPLIED", async () => {
  const expectedVersion = await noted("race");
  const all = Array.from({ length: 6 }, (_, i) =>
    sendOne(fixture, update("race", { title: `t${i}` }, undefined, { expectedVersion }), {
      device: `phone ${i}`,
    }),
  );
  const outcomes = (await Promise.all(all)).map(({ outcome }) => outcome).sort();
  expect(outcomes).toEqual(["APPLIED", ...new Array(5).fill("CONFLICT")]);
});

test("push: in an atomic request the version is no more → nothing written", async () => {
  const expectedVersion = await noted("atomic");
  const all = [
    update("atomic", { title: "first" }, undefined, { expectedVersion }),
    update("atomic", { title: "second" }, undefined, { expectedVersion }),
  ];
  const { receipts } = await send(fixture, all, { atomic: true });
  expect(receipts).toMatchObject([
    { outcome: "NOT_ATTEMPTED" },
    { ...told, record: { json: { title: "tea" } } },
  ]);
  expect(await fixture.notes.findOne({ _id: "atomic" })).toMatchObject({ title: "tea" });
});

test("push: of an invisible record as of an absent one → update record_absent, delete APPLIED without effect", async () => {
  const expectedVersion = await noted("bobs", { ownerId: "bob" });
  const of = async (id: string) => {
    const { receipts } = await send(fixture, [
      update(id, { title: "mine" }, undefined, { expectedVersion }),
      remove(id, undefined, { expectedVersion }),
    ]);
    return receipts.map((receipt) => ({ ...receipt, mutationId: "", recordId: "", commitClock: 0n }));
  };
  const [changed, removed] = await of("bobs");
  expect(changed).toMatchObject({ outcome: "CONFLICT", recordAbsent: true, record: undefined });
  expect(removed).toMatchObject({ outcome: "APPLIED" });
  expect(await of("nowhere")).toEqual([changed, removed]);
  expect(await fixture.notes.findOne({ _id: "bobs" })).toMatchObject({ title: "tea" });
});

test("push: of a record seen but not writable → FORBIDDEN, whatever the version", async () => {
  const version = await noted("shown", { ownerId: "bob", shownTo: "ana" });
  for (const expectedVersion of [version, version + 1]) {
    const one = update("shown", { title: "mine" }, undefined, { expectedVersion });
    expect(await sendOne(fixture, one)).toMatchObject({ rejection: { reason: "FORBIDDEN" } });
  }
});

test("push: int64 ids, stored as an int32 → the version is found", async () => {
  const counters = fixture.database.source.collection<{ _id: number; ownerId: string; count: number }>(
    "counters",
  );
  await counters.insertOne({ _id: 7, ownerId: "ana", count: 1 });
  const expectedVersion = await enter("7", "counters", 7);
  const one = update("7", { count: 2 }, undefined, { collection: "counters", expectedVersion });
  expect(await sendOne(fixture, one)).toMatchObject({ outcome: "APPLIED" });
  expect(await counters.findOne()).toMatchObject({ count: 2 });
});

test("push: a create that expects a version → INVALID; a stale version is told again when replayed", async () => {
  const one = create("made", ofAna, { expectedVersion: 1 });
  expect(await sendOne(fixture, one)).toMatchObject({ rejection: { reason: "INVALID" } });
  const version = await noted("replayed");
  const stale = update("replayed", { title: "two" }, undefined, { expectedVersion: version + 1 });
  expect(await sendOne(fixture, stale)).toMatchObject({ outcome: "CONFLICT", replayed: false });
  await fixture.notes.updateOne({ _id: "replayed" }, { $set: { title: "newer" } });
  expect(await sendOne(fixture, stale)).toMatchObject({
    outcome: "CONFLICT",
    replayed: true,
    record: { json: { title: "newer" } },
  });
});
