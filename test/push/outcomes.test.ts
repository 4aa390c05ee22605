// What becomes of creates, updates and deletes by what the source holds: existence, base values, merge, validation.

import { create as message, toBinary } from "@bufbuild/protobuf";
import { Long } from "mongodb";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JsonObject } from "../../src/model/record-form.ts";
import {
  create,
  mutation,
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
});
afterAll(() => fixture.close());

const ofAna = { title: "tea", ownerId: "ana" };

async function noteOf(id: string, fields: Record<string, unknown> = {}): Promise<void> {
  await fixture.notes.insertOne({ _id: id, ...ofAna, body: "", stars: 0, ...fields });
}

function proto(json: JsonObject): Uint8Array {
  const collection = fixture.schema.collections.get("notes");
  if (collection === undefined) throw new Error("the schema has notes");
  return toBinary(collection.message, message(collection.message, json));
}

test("push: create of an absent record → APPLIED, the document is there with its id", async () => {
  const receipt = await sendOne(fixture, create("made", { id: "made", ...ofAna, tags: ["a"], rank: 0 }));
  expect(receipt).toMatchObject({ outcome: "APPLIED", recordId: "made", replayed: false, record: undefined });
  expect(receipt.commitClock).toBeGreaterThan(0n);
  const stored = await fixture.notes.findOne({ _id: "made" });
  expect(stored).toMatchObject({ _id: "made", title: "tea", ownerId: "ana", tags: ["a"], rank: 0 });
});

test("push: create of an existing record with equal content → APPLIED, nothing written", async () => {
  await noteOf("equal", { undeclared: 1, status: "open", secret: "s" });
  const before = await fixture.notes.findOne({ _id: "equal" });
  expect(await sendOne(fixture, create("equal", ofAna))).toMatchObject({ outcome: "APPLIED" });
  expect(await fixture.notes.findOne({ _id: "equal" })).toEqual(before);
});

test("push: create of an existing record with other content → CONFLICT with the record and the fields", async () => {
  await noteOf("other", { body: "theirs", secret: "s" });
  const receipt = await sendOne(fixture, create("other", { ...ofAna, body: "mine" }));
  expect(receipt).toMatchObject({
    outcome: "CONFLICT",
    commitClock: 0n,
    recordAbsent: false,
    conflicts: [{ field: 3, name: "body" }],
    record: { form: "JSON", json: { id: "other", ...ofAna, body: "theirs" } },
  });
  expect(await fixture.notes.findOne({ _id: "other" })).toMatchObject({ body: "theirs" });
});

test("push: update of an absent record → CONFLICT, record_absent", async () => {
  const receipt = await sendOne(fixture, update("nowhere", { title: "x" }, { title: "y" }));
  expect(receipt).toMatchObject({
    outcome: "CONFLICT",
    recordAbsent: true,
    record: undefined,
    conflicts: [],
  });
});

test("push: delete of an absent record → APPLIED", async () => {
  const receipt = await sendOne(fixture, remove("nowhere"));
  expect(receipt).toMatchObject({ outcome: "APPLIED", recordAbsent: false });
  expect(receipt.commitClock).toBeGreaterThan(0n);
});

test("push: update on the base the source still has → APPLIED, only the changed leaf is written", async () => {
  await noteOf("leaf", { place: { name: "home", lat: 1, undeclared: 2 }, undeclared: { deep: [1] } });
  const base = { place: { name: "home", lat: 1 } };
  const receipt = await sendOne(fixture, update("leaf", { place: { name: "away", lat: 1 } }, base));
  expect(receipt).toMatchObject({ outcome: "APPLIED", conflicts: [], record: undefined });
  expect(await fixture.notes.findOne({ _id: "leaf" })).toMatchObject({
    place: { name: "away", lat: 1, undeclared: 2 },
    undeclared: { deep: [1] },
  });
});

test("push: fields that differ on both sides → both stay, APPLIED", async () => {
  await noteOf("apart", { body: "theirs", stars: 1 });
  const receipt = await sendOne(fixture, update("apart", { title: "mine" }, { title: "tea" }));
  expect(receipt).toMatchObject({ outcome: "APPLIED", conflicts: [] });
  expect(await fixture.notes.findOne({ _id: "apart" })).toMatchObject({ title: "mine", body: "theirs" });
});

test("push: the same field changed on both sides → the client's value, MERGED with conflict and record", async () => {
  await noteOf("same", { title: "theirs", secret: "s", status: "open" });
  const receipt = await sendOne(fixture, update("same", { title: "mine", stars: 0 }, { title: "tea" }));
  expect(receipt).toMatchObject({
    outcome: "MERGED",
    conflicts: [{ field: 2, name: "title" }],
    record: { form: "JSON", json: { id: "same", title: "mine", ownerId: "ana", status: "open" } },
  });
  expect(receipt.commitClock).toBeGreaterThan(0n);
  expect(await fixture.notes.findOne({ _id: "same" })).toMatchObject({ title: "mine", secret: "s" });
});

test("push: both sides made the same change → APPLIED, no conflict", async () => {
  await noteOf("agreed", { title: "both" });
  const receipt = await sendOne(fixture, update("agreed", { title: "both" }, { title: "tea" }));
  expect(receipt).toMatchObject({ outcome: "APPLIED", conflicts: [] });
});

test("push: a field named as changed but left at its base → the source's newer value stays", async () => {
  await noteOf("unmoved", { title: "theirs" });
  const receipt = await sendOne(fixture, update("unmoved", { title: "tea", body: "b" }, { title: "tea" }));
  expect(receipt).toMatchObject({ outcome: "APPLIED", conflicts: [] });
  expect(await fixture.notes.findOne({ _id: "unmoved" })).toMatchObject({ title: "theirs", body: "b" });
});

test("push: a blind update over an unseen value → APPLIED, no conflict to tell", async () => {
  await noteOf("blind", { title: "theirs" });
  expect(await sendOne(fixture, update("blind", { title: "mine" }))).toMatchObject({
    outcome: "APPLIED",
    conflicts: [],
  });
  expect(await fixture.notes.findOne({ _id: "blind" })).toMatchObject({ title: "mine" });
});

test("push: a changed field absent from base meant its default; a source value there → MERGED", async () => {
  await noteOf("default", { body: "theirs" });
  const receipt = await sendOne(fixture, update("default", { body: "mine" }, {}));
  expect(receipt).toMatchObject({ outcome: "MERGED", conflicts: [{ field: 3 }] });
});

test("push: values equal when decoded (long and int, NaN, -0, absent and zero, map order) → no conflict", async () => {
  await noteOf("decoded", { stars: Long.fromNumber(0), score: -0, labels: { b: "2", a: "1" }, body: null });
  const base = { stars: 0, score: 0, labels: { a: "1", b: "2" }, body: "" };
  const changes = { score: "NaN", labels: { a: "1" }, body: "mine" };
  expect(await sendOne(fixture, update("decoded", changes, base))).toMatchObject({ outcome: "APPLIED" });
  const again = update("decoded", { score: 2 }, { score: "NaN" });
  expect(await sendOne(fixture, again)).toMatchObject({ outcome: "APPLIED" });
});

test("push: in JSON form null clears, and clearing an optional field unsets it in the document", async () => {
  await noteOf("cleared", { rank: 3, tags: ["a"], nickname: "n" });
  const base = { rank: 3, tags: ["a"], nickname: "n" };
  await sendOne(fixture, update("cleared", { rank: null, tags: null, nickname: null }, base));
  const stored = await fixture.notes.findOne({ _id: "cleared" });
  expect(stored).not.toHaveProperty("rank");
  expect(stored).not.toHaveProperty("nickname");
  expect(stored).toMatchObject({ tags: [] });
});

test("push: in PROTO form `changed` names the fields; others in the record don't count", async () => {
  await noteOf("proto", { body: "theirs", rank: 3 });
  const record = { form: "PROTO", bytes: proto({ title: "mine", body: "not named" }) } as const;
  const base = { form: "PROTO", bytes: proto({ title: "tea", rank: 3 }) } as const;
  const one = mutation("proto", { case: "update", record, changed: [8, 2], base });
  expect(await sendOne(fixture, one, { recordForm: "PROTO" })).toMatchObject({ outcome: "APPLIED" });
  const stored = await fixture.notes.findOne({ _id: "proto" });
  expect(stored).toMatchObject({ title: "mine", body: "theirs" });
  expect(stored).not.toHaveProperty("rank");
});

test("push: records are told in the form asked for, canonical", async () => {
  await noteOf("form", { title: "theirs" });
  const receipt = await sendOne(fixture, create("form", ofAna), { recordForm: "PROTO" });
  const bytes = proto({ id: "form", title: "theirs", ownerId: "ana" });
  expect(receipt.record).toEqual({ form: "PROTO", bytes });
});

test("push: setting a member of a oneof clears the others", async () => {
  await noteOf("oneof", { someday: "soon" });
  const base = { someday: "soon" };
  await sendOne(fixture, update("oneof", { at: "2026-01-01T00:00:00Z", someday: null }, base));
  const dated = await fixture.notes.findOne({ _id: "oneof" });
  expect(dated).toMatchObject({ at: new Date("2026-01-01T00:00:00Z") });
  expect(dated).not.toHaveProperty("someday");
  const named = update("oneof", { someday: "later" }, { at: "2026-01-01T00:00:00Z" });
  expect(await sendOne(fixture, named)).toMatchObject({ outcome: "APPLIED" });
  expect(await fixture.notes.findOne({ _id: "oneof" })).not.toHaveProperty("at");
});

test("push: a oneof whose member the source has changed meanwhile → MERGED, one member left", async () => {
  await noteOf("oneof2", { someday: "theirs" });
  const receipt = await sendOne(fixture, update("oneof2", { at: "2026-01-01T00:00:00Z" }, {}));
  expect(receipt).toMatchObject({ outcome: "MERGED", conflicts: [{ name: "someday" }] });
  expect(await fixture.notes.findOne({ _id: "oneof2" })).not.toHaveProperty("someday");
});

test("push: a oneof held by a member clients can't set → FORBIDDEN", async () => {
  await noteOf("decreed", { decreed: "now" });
  const receipt = await sendOne(fixture, update("decreed", { someday: "soon" }));
  expect(receipt).toMatchObject({ outcome: "REJECTED", rejection: { reason: "FORBIDDEN" } });
  expect(await fixture.notes.findOne({ _id: "decreed" })).toMatchObject({ decreed: "now" });
});

test("push: delete → the document is gone; with a base the source still has → APPLIED", async () => {
  await noteOf("gone");
  expect(await sendOne(fixture, remove("gone", ofAna))).toMatchObject({ outcome: "APPLIED", conflicts: [] });
  expect(await fixture.notes.findOne({ _id: "gone" })).toBeNull();
});

test("push: delete over an edit its client had not seen → deleted, MERGED with the fields, no record", async () => {
  await noteOf("edited", { body: "theirs", status: "closed" });
  const receipt = await sendOne(fixture, remove("edited", ofAna));
  expect(receipt).toMatchObject({
    outcome: "MERGED",
    record: undefined,
    conflicts: [{ name: "body" }, { name: "status" }],
  });
  expect(await fixture.notes.findOne({ _id: "edited" })).toBeNull();
});

test("push: a later mutation of a request sees the earlier ones", async () => {
  const { receipts, commitClock } = await send(fixture, [
    create("chain", ofAna),
    update("chain", { title: "two" }, { title: "tea" }),
    update("chain", { title: "three" }, { title: "two" }),
    remove("chain", { title: "three", ownerId: "ana" }),
    create("chain", { title: "four", ownerId: "ana" }),
  ]);
  expect(receipts.map(({ outcome }) => outcome)).toEqual(new Array(5).fill("APPLIED"));
  expect(await fixture.notes.findOne({ _id: "chain" })).toMatchObject({ title: "four" });
  const clocks = receipts.map((receipt) => receipt.commitClock);
  expect(clocks).toEqual(clocks.toSorted((a, b) => (a < b ? -1 : 1)));
  expect(commitClock).toBe(clocks.at(-1));
});

const invalid: [string, Parameters<typeof sendOne>[1], string][] = [
  ["no field named as changed", update("x", {}), "INVALID"],
  ["only the id named", update("x", { id: "x" }), "INVALID"],
  ["record.id that isn't record_id", create("x", { ...ofAna, id: "y" }), "INVALID"],
  ["base.id that isn't record_id", remove("x", { ...ofAna, id: "y" }), "INVALID"],
  ["a create with expected_version", create("x", ofAna, { expectedVersion: 3 }), "INVALID"],
  ["a create that breaks a rule", create("x", { ownerId: "ana" }), "INVALID"],
  ["an unknown collection", create("x", ofAna, { collection: "nope" }), "UNKNOWN_COLLECTION"],
  ["a SERVER_ONLY collection", create("x", { name: "P" }, { collection: "countries" }), "FORBIDDEN"],
  ["a READ_ONLY field in a create", create("x", { ...ofAna, status: "open" }), "FORBIDDEN"],
  ["a READ_ONLY field in an update", update("x", { status: null }), "FORBIDDEN"],
  ["a record of the wrong shape", create("x", { ...ofAna, stars: "many" }), "INVALID"],
  ["an id the collection can't have", create("x", { ownerId: "ana" }, { collection: "items" }), "INVALID"],
];

test.each(invalid)("push: %s → REJECTED, unrecorded", async (_, one, reason) => {
  const receipt = await sendOne(fixture, one);
  expect(receipt).toMatchObject({ outcome: "REJECTED", commitClock: 0n, rejection: { reason } });
  expect(receipt.rejection?.description).not.toBe("");
  expect(await fixture.ledger.receipts.findOne({ _id: one.mutationId })).toBeNull();
});

test("push: PROTO form with the id, an unknown or a HIDDEN number in `changed` → INVALID, the last two alike", async () => {
  const record = { form: "PROTO", bytes: proto({}) } as const;
  const told = async (number: number) => {
    const one = mutation("x", { case: "update", record, changed: [number], base: undefined });
    const { rejection } = await sendOne(fixture, one);
    return JSON.parse(JSON.stringify(rejection).replaceAll(String(number), "N")) as typeof rejection;
  };
  expect(await told(1)).toMatchObject({ reason: "INVALID" });
  expect(await told(17)).toMatchObject({ reason: "INVALID", violations: [{ path: "update.changed" }] });
  expect(await told(17)).toEqual(await told(99));
});

test("push: a HIDDEN field named in JSON, or in PROTO bytes → answered exactly like an unknown one", async () => {
  const inJson = async (name: string) =>
    JSON.stringify((await sendOne(fixture, update("x", { [name]: "v" }))).rejection).replaceAll(name, "F");
  expect(await inJson("secret")).toBe(await inJson("nonsense"));
  const inBytes = async (number: number) => {
    const bytes = Uint8Array.of(...varint((number << 3) | 2), 1, 65);
    const one = mutation("x", { case: "create", record: { form: "PROTO", bytes } });
    return JSON.stringify((await sendOne(fixture, one)).rejection).replaceAll(String(number), "N");
  };
  expect(await inBytes(17)).toBe(await inBytes(99));
});

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
}

test("push: changed numbers in JSON form → INVALID", async () => {
  const record = { form: "JSON", json: { title: "x" } } as const;
  const one = mutation("x", { case: "update", record, changed: [2], base: undefined });
  expect(await sendOne(fixture, one)).toMatchObject({ rejection: { reason: "INVALID" } });
});

test("push: an update that breaks a rule of a field or of the record → INVALID with the violation", async () => {
  await noteOf("rules", { stars: 0 });
  const long = await sendOne(fixture, update("rules", { title: "x".repeat(21) }));
  expect(long).toMatchObject({
    outcome: "REJECTED",
    rejection: { reason: "INVALID", violations: [{ path: "title", ruleId: "string.max_len" }] },
  });
  const starred = await sendOne(fixture, update("rules", { stars: 1 }));
  expect(starred).toMatchObject({ rejection: { violations: [{ path: "", ruleId: "stars_need_a_body" }] } });
  const nested = await sendOne(fixture, update("rules", { place: { lat: 91 } }));
  expect(nested).toMatchObject({ rejection: { violations: [{ path: "place.lat" }] } });
});

test("push: rules broken before, in fields the update doesn't touch → don't stop it", async () => {
  await noteOf("broken", { title: "", stars: 5 });
  expect(await sendOne(fixture, update("broken", { score: 1 }))).toMatchObject({ outcome: "APPLIED" });
  const touched = await sendOne(fixture, update("broken", { title: "y".repeat(30) }));
  expect(touched).toMatchObject({ outcome: "REJECTED", rejection: { reason: "INVALID" } });
});

test("push: ObjectId ids in any case → canonical lower case in receipt and document", async () => {
  const id = "65F0AA0BB1C2D3E4F5061728";
  const one = create(id, { id, ownerId: "ana", name: "n" }, { collection: "items" });
  const receipt = await sendOne(fixture, one);
  expect(receipt).toMatchObject({ outcome: "APPLIED", recordId: id.toLowerCase() });
  const stored = await fixture.database.source.collection("items").findOne();
  expect(stored?._id.toHexString()).toBe(id.toLowerCase());
  expect(await sendOne(fixture, remove(id.toLowerCase(), undefined, { collection: "items" }))).toMatchObject({
    outcome: "APPLIED",
  });
  expect(await fixture.database.source.collection("items").countDocuments()).toBe(0);
});

test("push: int64 ids and values → exact, whatever integer type the document has", async () => {
  const counters = fixture.database.source.collection<{ _id: Long | number }>("counters");
  const id = "9007199254740993";
  const owned = { ownerId: "ana", count: id };
  expect(await sendOne(fixture, create(id, owned, { collection: "counters" }))).toMatchObject({
    outcome: "APPLIED",
  });
  const exact = await counters.findOne({}, { promoteLongs: false });
  expect(exact).toMatchObject({ _id: Long.fromString(id), count: Long.fromString(id) });
  await counters.insertOne({ _id: 7, ownerId: "ana", count: 1 } as never);
  const one = update("7", { count: id }, { count: "1" }, { collection: "counters" });
  expect(await sendOne(fixture, one)).toMatchObject({ outcome: "APPLIED", recordId: "7" });
  expect(await counters.countDocuments()).toBe(2);
});

test("push: conflicts keep base, current and proposed values in the ledger", async () => {
  await noteOf("audit", { title: "theirs" });
  const one = update("audit", { title: "mine" }, { title: "tea" }, { madeAtMs: 1_700_000_000_000 });
  await sendOne(fixture, one);
  const stored = await fixture.ledger.receipts.findOne({ _id: one.mutationId });
  expect(stored).toMatchObject({
    principal: "ana",
    device: "ana's phone",
    collection: "notes",
    record: "audit",
    kind: "update",
    fields: [2],
    outcome: "MERGED",
    made_at: new Date(1_700_000_000_000),
  });
  const texts = ["base", "current", "proposed"].map((side) =>
    Buffer.from(Reflect.get(stored?.conflicts?.[0] ?? {}, side).buffer)
      .subarray(2)
      .toString(),
  );
  expect(texts).toEqual(["tea", "theirs", "mine"]);
  expect(stored).not.toHaveProperty("document");
});

test("push: no mutation, or more than 1,000 → INVALID_REQUEST", async () => {
  await expect(send(fixture, [])).rejects.toMatchObject({ reason: "INVALID_REQUEST" });
  const many = Array.from({ length: 1001 }, () => remove("x"));
  await expect(send(fixture, many)).rejects.toMatchObject({ reason: "INVALID_REQUEST" });
});
