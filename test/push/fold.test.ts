// Mutations of one record in one group are written as their sum: the record, and what each mutation is told, are as if
// they had been pushed one by one.
import { type Document, Long } from "mongodb";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Mutation } from "../../src/model/mutation.ts";
import type { Receipt } from "../../src/model/receipt.ts";
import type { JsonObject } from "../../src/model/record-form.ts";
import { sourceReadOptions } from "../../src/schema/bson-value.ts";
import { type Random, randomOf, seedOf } from "../support/random.ts";
import { create, type PushFixture, pushFixture, remove, send, sendOne, update } from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
});
afterAll(() => fixture.close());

/** A mutation of whichever record. */
type Of = (id: string) => Mutation;

interface Case {
  readonly collection: string;
  /** Undefined: there is no record at first. */
  readonly document: Document | undefined;
  readonly mutations: readonly Of[];
}

let ids = 0;

async function expectSame({ collection, document, mutations }: Case, what = ""): Promise<Document | null> {
  const [folded, single] = [`folded-${ids}`, `single-${ids++}`];
  const documents = fixture.database.source.collection<Document & { _id: string }>(collection);
  if (document) await documents.insertMany([folded, single].map((_id) => ({ ...document, _id })));
  const { receipts } = await send(
    fixture,
    mutations.map((of) => of(folded)),
  );
  const commits = new Set(receipts.map(({ commitClock }) => commitClock).filter((clock) => clock > 0n));
  expect(commits.size, what).toBeLessThan(2);
  const singly: Receipt[] = [];
  for (const of of mutations) singly.push(await sendOne(fixture, of(single)));
  expect(receipts.map(comparable), what).toEqual(singly.map(comparable));
  const stored = (_id: string) => documents.findOne({ _id }, sourceReadOptions);
  const [one, other] = [await stored(folded), await stored(single)];
  expect(one && { ...one, _id: "" }, what).toEqual(other && { ...other, _id: "" });
  const graves = [folded, single].map((id) =>
    fixture.ledger.graves.countDocuments({ _id: `${collection}/${id}` }),
  );
  const [inFolded, inSingle] = await Promise.all(graves);
  expect(inFolded, what).toBe(inSingle);
  return one;
}

function comparable({ record, ...receipt }: Receipt) {
  const told = record?.form === "JSON" ? { ...record.json, id: "" } : undefined;
  return { ...receipt, told, mutationId: "", recordId: "", commitClock: receipt.commitClock > 0n };
}

const ofAna = { ownerId: "ana" };
const ruled = { collection: "ruled" };
const wins = { collection: "edit_wins" };
const inner = (json: JsonObject | null, base?: JsonObject): Of => {
  const before = base && { inner: base };
  return (id) => update(id, { inner: json }, before ?? {}, ruled);
};

const cases: [string, Case][] = [
  [
    "delete, then create",
    {
      collection: "ruled",
      document: { ...ofAna, last: "old", undeclared: 1 },
      mutations: [(id) => remove(id, undefined, ruled), (id) => create(id, { ...ofAna, last: "new" }, ruled)],
    },
  ],
  [
    "create, then delete",
    {
      collection: "ruled",
      document: undefined,
      mutations: [(id) => create(id, ofAna, ruled), (id) => remove(id, ofAna, ruled)],
    },
  ],
  [
    "create, delete, create, update",
    {
      collection: "edit_wins",
      document: undefined,
      mutations: [
        (id) => create(id, { ...ofAna, body: "first" }, wins),
        (id) => remove(id, undefined, wins),
        (id) => create(id, { ...ofAna, title: "second" }, wins),
        (id) => update(id, { votes: 2 }, {}, wins),
      ],
    },
  ],
  [
    "a nested path set after its parent was unset",
    {
      collection: "ruled",
      document: { ...ofAna, inner: { text: "a", deeper: { text: "b" } } },
      mutations: [
        inner(null, { text: "a", deeper: { text: "b" } }),
        inner({ note: "n" }),
        inner({ note: "n", text: "c" }, { note: "n" }),
      ],
    },
  ],
  [
    "the parent unset after a nested path was set",
    {
      collection: "ruled",
      document: { ...ofAna, inner: { text: "a" } },
      mutations: [inner({ text: "a", note: "n" }, { text: "a" }), inner(null, { text: "a", note: "n" })],
    },
  ],
  [
    "the parent unset where undeclared keys keep it, then set again",
    {
      collection: "ruled",
      document: { ...ofAna, inner: { text: "a", mine: 1, deeper: { text: "b", mine: 2 } } },
      mutations: [inner(null, { text: "a", deeper: { text: "b" } }), inner({ deeper: { note: "n" } })],
    },
  ],
  [
    "an optional inside set and cleared where there was no parent",
    {
      collection: "ruled",
      document: { ...ofAna, inner: null },
      mutations: [inner({ note: "n" }), inner({}, { note: "n" })],
    },
  ],
  [
    "members of a oneof in turn",
    {
      collection: "ruled",
      document: { ...ofAna, word: "a" },
      mutations: [
        (id) => update(id, { held: { text: "b" } }, {}, ruled),
        (id) => update(id, { held: { text: "c", small: 1 } }, { held: { text: "b" } }, ruled),
        (id) => update(id, { word: "d" }, {}, ruled),
        (id) => update(id, { held: { large: 2 } }, {}, ruled),
      ],
    },
  ],
  [
    "counted by several, beyond the range at last",
    {
      collection: "ruled",
      document: { ...ofAna, count: 2 ** 31 - 4 },
      mutations: [1, 2, 3].map(() => (id) => update(id, { count: 2 }, { count: 0 }, ruled)),
    },
  ],
];

test.each(cases)("push: %s, in one group → as if one by one", async (_, one) => {
  await expectSame(one);
});

test("push: delete and create in one group, the `_id` stored as another type of number → replaced, the id as it was", async () => {
  const counters = fixture.database.source.collection<{ _id: number | Long; ownerId: string; count: number }>(
    "counters",
  );
  await counters.insertOne({ _id: 7, ownerId: "ana", count: 1 });
  const sent = { collection: "counters" };
  const { receipts } = await send(fixture, [
    remove("7", undefined, sent),
    create("7", { ...ofAna, count: "2" }, sent),
  ]);
  expect(receipts.map(({ outcome }) => outcome)).toEqual(["APPLIED", "APPLIED"]);
  expect(await counters.find().toArray()).toMatchObject([{ _id: 7, count: 2 }]);
});

const texts = ["", "a", "b", "c"];

function randomInner(random: Random, depth = 0): JsonObject {
  const json: JsonObject = {};
  if (random.below(2) > 0) json["text"] = random.of(texts);
  if (random.below(3) === 0) json["note"] = random.of(texts);
  if (random.below(2) > 0) json["votes"] = random.below(4);
  if (random.below(3) === 0) json["tags"] = [random.of(texts), random.of(texts)];
  if (random.below(3) === 0) json[random.of(["small", "large"])] = random.below(3);
  if (depth < 2 && random.below(2) > 0) json["deeper"] = randomInner(random, depth + 1);
  return json;
}

function randomFields(random: Random): JsonObject {
  const all: [string, () => JsonObject[string]][] = [
    ["last", () => random.of(texts)],
    ["kept", () => random.of(texts)],
    ["firm", () => random.of(["", "a"])],
    ["count", () => random.below(4)],
    ["tags", () => [random.of(texts), random.of(texts)]],
    ["inner", () => randomInner(random)],
    ["keptInner", () => randomInner(random)],
    ["labels", () => ({ [random.of(texts)]: random.below(3) })],
    ["list", () => [randomInner(random, 2)]],
    random.below(2) > 0 ? ["word", () => random.of(texts)] : ["held", () => randomInner(random)],
  ];
  return Object.fromEntries(all.filter(() => random.below(3) === 0).map(([name, value]) => [name, value()]));
}

/** Fields it changes, some cleared; a base that may well be stale. */
function randomMutation(random: Random): Of {
  const kind = random.below(10);
  const json = randomFields(random);
  const base = randomFields(random);
  if (kind === 0) return (id) => create(id, { ...ofAna, ...json }, ruled);
  if (kind === 1) return (id) => remove(id, random.below(2) > 0 ? undefined : { ...ofAna, ...base }, ruled);
  const cleared = Object.keys(base).filter((name) => !(name in json) && random.below(3) === 0);
  const changes = { ...json, ...Object.fromEntries(cleared.map((name) => [name, null])) };
  return (id) => update(id, changes, base, ruled);
}

/** With keys nobody declared, and nulls, among the others. */
function randomDocument(random: Random): Document | undefined {
  if (random.below(4) === 0) return undefined;
  const { count, labels, ...fields } = randomFields(random);
  const withMore = (value: unknown): unknown => {
    if (typeof value === "number") return value;
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    const more = random.below(2) > 0 ? { mine: 1 } : {};
    return {
      ...Object.fromEntries(Object.entries(value).map(([key, inside]) => [key, withMore(inside)])),
      ...more,
    };
  };
  return { ...ofAna, ...(withMore(fields) as Document), mine: Long.fromNumber(5), count: count ?? null };
}

const RUNS = 40;
const seed = seedOf(0);

test(`push: any sequence of mutations in one group (seed ${seed}) → as if one by one`, async () => {
  for (let run = 0; run < RUNS; run++) {
    const random = randomOf(seed, `fold ${run}`);
    const document = randomDocument(random);
    const mutations = Array.from({ length: 2 + random.below(5) }, () => randomMutation(random));
    // Each is made twice from the same choices, under its own id.
    const fixed = mutations.map((of) => {
      const one = of("");
      return (recordId: string): Mutation => ({ ...one, recordId, mutationId: of("").mutationId });
    });
    await expectSame({ collection: "ruled", document, mutations: fixed }, `seed ${seed}, run ${run}`);
  }
});
