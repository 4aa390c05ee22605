// What the database itself refuses: told for that mutation alone, never by what clients may not know.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Logger } from "../../src/model/logger.ts";
import { silentLogger } from "../../src/model/logger.ts";
import { create, type PushFixture, pushFixture, remove, send, sendOne, update } from "./push-fixture.ts";

let fixture: PushFixture;
const warnings: object[] = [];
const logger: Logger = { ...silentLogger, warn: (fields) => warnings.push(fields) };

beforeAll(async () => {
  fixture = await pushFixture({ logger, mutationBytesMax: 4 * 2 ** 20 });
});
afterAll(() => fixture.close());

const ofAna = { title: "tea", ownerId: "ana" };

test("push: a unique index refuses one of three → DATABASE for it alone, naming the field, logged", async () => {
  await fixture.notes.createIndex(
    { mail: 1 },
    { unique: true, partialFilterExpression: { mail: { $gt: "" } } },
  );
  await fixture.notes.insertOne({ _id: "holder", title: "t", ownerId: "bob", mail: "m@x" });
  const mutations = [
    create("u-1", ofAna),
    create("u-2", { ...ofAna, email: "m@x" }),
    create("u-3", { ...ofAna, email: "n@x" }),
  ];
  const { receipts } = await send(fixture, mutations);
  expect(receipts.map(({ outcome }) => outcome)).toEqual(["APPLIED", "REJECTED", "APPLIED"]);
  expect(receipts[1]?.rejection).toMatchObject({
    reason: "DATABASE",
    violations: [{ path: "email", ruleId: "unique" }],
  });
  expect(JSON.stringify(receipts[1]?.rejection)).not.toMatch(/m@x|bob|mail_1|E11000/);
  expect(warnings).toMatchObject([{ collection: "notes", mutationId: mutations[1]?.mutationId }]);
  await fixture.notes.deleteOne({ _id: "holder" });
  const { receipts: again } = await send(fixture, mutations);
  expect(again).toMatchObject([
    { outcome: "APPLIED", replayed: true },
    { outcome: "REJECTED", replayed: true, rejection: { reason: "DATABASE" } },
    { outcome: "APPLIED", replayed: true },
  ]);
});

test("push: a unique index over a HIDDEN field → DATABASE, the field not named", async () => {
  await fixture.notes.createIndex(
    { secret: 1, stars: 1 },
    { unique: true, partialFilterExpression: { secret: "s" } },
  );
  await fixture.notes.insertMany(
    [1, 2].map((stars) => ({ _id: `h-${stars}`, ...ofAna, body: "b", secret: "s", stars })),
  );
  const { rejection } = await sendOne(fixture, update("h-2", { stars: 1 }));
  expect(rejection).toMatchObject({ reason: "DATABASE", violations: [{ path: "stars" }] });
});

test("push: the collection's validator refuses → DATABASE", async () => {
  await fixture.database.source.command({ collMod: "notes", validator: { title: { $ne: "forbidden" } } });
  expect(await sendOne(fixture, create("v-1", { ...ofAna, title: "forbidden" }))).toMatchObject({
    outcome: "REJECTED",
    rejection: { reason: "DATABASE" },
  });
  await fixture.database.source.command({ collMod: "notes", validator: {} });
});

test("push: an index that can't hold the value → DATABASE", async () => {
  await fixture.notes.createIndex({ place: "2dsphere" }, { partialFilterExpression: { title: "geo" } });
  const receipt = await sendOne(fixture, create("g-1", { ...ofAna, title: "geo", place: { name: "x" } }));
  expect(receipt).toMatchObject({ outcome: "REJECTED", rejection: { reason: "DATABASE" } });
});

test("push: the document would be over 16 MB, or the record over what the log holds → TOO_LARGE", async () => {
  await fixture.notes.insertOne({ _id: "fat", ...ofAna, undeclared: "x".repeat(15_500_000) });
  const fat = await sendOne(fixture, update("fat", { body: "y".repeat(2_000_000) }));
  expect(fat).toMatchObject({ outcome: "REJECTED", rejection: { reason: "TOO_LARGE", violations: [] } });
  await fixture.notes.insertOne({ _id: "long", ...ofAna, body: "x".repeat(14_000_000) });
  const long = await sendOne(fixture, update("long", { tags: ["y".repeat(1_500_000)] }));
  expect(long).toMatchObject({ outcome: "REJECTED", rejection: { reason: "TOO_LARGE", violations: [] } });
  expect(await fixture.notes.findOne({ _id: "long" })).not.toHaveProperty("tags");
});

test("push: a receipt keeps long conflicting values by their size only", async () => {
  await fixture.notes.insertOne({ _id: "values", ...ofAna, body: "x".repeat(1_000_000) });
  const one = update("values", { body: "mine" }, { body: "base" });
  expect(await sendOne(fixture, one)).toMatchObject({ outcome: "MERGED" });
  const stored = await fixture.ledger.receipts.findOne({ _id: one.mutationId });
  expect(stored?.conflicts?.[0]?.current).toEqual({ bytes: 1_000_004 });
});

test("push: data nobody declared survives updates, also in nested messages and lists", async () => {
  const undeclared = { deep: [{ a: 1 }] };
  const steps = [
    { what: "one", undeclared },
    { what: "two", undeclared },
  ];
  await fixture.notes.insertOne({
    _id: "kept",
    ...ofAna,
    undeclared,
    place: { name: "p", undeclared },
    steps,
  });
  const changes = {
    place: { name: "q" },
    title: "two",
    steps: [{ what: "two" }, { what: "one" }, { what: "new" }],
  };
  expect(await sendOne(fixture, update("kept", changes))).toMatchObject({ outcome: "APPLIED" });
  expect(await fixture.notes.findOne({ _id: "kept" })).toMatchObject({
    undeclared,
    place: { name: "q", undeclared },
    steps: [steps[1], steps[0], { what: "new" }],
  });
});

test("push: an update that would destroy undeclared keys in a list → UNDECLARED_DATA, naming none of them", async () => {
  const steps = [{ what: "one", undisclosed: 1 }];
  await fixture.notes.insertOne({ _id: "destroy", ...ofAna, steps });
  const receipt = await sendOne(fixture, update("destroy", { steps: [{ what: "other" }] }));
  expect(receipt).toMatchObject({ outcome: "REJECTED", rejection: { reason: "UNDECLARED_DATA" } });
  expect(JSON.stringify(receipt.rejection)).not.toContain("undisclosed");
  expect(await fixture.notes.findOne({ _id: "destroy" })).toMatchObject({ steps });
});

test("push: map keys with dots and dollars → stored and changed as they are", async () => {
  const labels = { "a.b": "1", $c: "2", __proto__x: "3" };
  expect(await sendOne(fixture, create("keys", { ...ofAna, labels }))).toMatchObject({ outcome: "APPLIED" });
  const changed = { ...labels, "d.e": "4", $f: "5" };
  expect(await sendOne(fixture, update("keys", { labels: changed }, { labels }))).toMatchObject({
    outcome: "APPLIED",
  });
  expect((await fixture.notes.findOne({ _id: "keys" }))?.["labels"]).toEqual(changed);
  const again = await sendOne(fixture, create("keys", { ...ofAna, labels: changed }));
  expect(again).toMatchObject({ outcome: "APPLIED" });
});

test("push: ids compared without case by the collection → another's document is never taken for one's own", async () => {
  const caseless = await pushFixture();
  await caseless.database.source.createCollection("notes", { collation: { locale: "en", strength: 2 } });
  await caseless.notes.insertOne({ _id: "Case", ...ofAna });
  expect(await sendOne(caseless, update("case", { title: "x" }))).toMatchObject({ recordAbsent: true });
  expect(await sendOne(caseless, remove("case"))).toMatchObject({ outcome: "APPLIED" });
  expect(await sendOne(caseless, create("case", ofAna))).toMatchObject({ rejection: { reason: "ID_TAKEN" } });
  expect(await caseless.notes.findOne({ _id: "Case" })).toMatchObject({ title: "tea" });
  await caseless.close();
});
