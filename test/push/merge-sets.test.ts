// Merging of lists by SET, and of lists, maps and free-form values as one value.
import { Binary, Double } from "mongodb";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pushRow, type Row } from "./merge-table.ts";
import { type PushFixture, pushFixture, sendOne, update } from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
});
afterAll(() => fixture.close());

const MERGED = "MERGED";
const APPLIED = "APPLIED";
const blob = (text: string) => new Binary(Buffer.from(text));
const wire = (text: string) => Buffer.from(text).toString("base64");

function united(what: string, row: Omit<Row, "what" | "outcome"> & { outcome?: string }): Row {
  return { what: `SET: ${what}`, outcome: MERGED, ...row };
}

const sets: readonly Row[] = [
  united("both added → the source's in their order, then the client's", {
    base: { tags: ["a"] },
    current: { tags: ["z", "a", "m"] },
    proposed: { tags: ["c", "a", "b"] },
    stored: { tags: ["z", "a", "m", "c", "b"] },
    conflicts: ["tags"],
  }),
  united("both added the same, and one more → each once", {
    base: { tags: [] },
    current: { tags: ["x", "y"] },
    proposed: { tags: ["y", "z"] },
    stored: { tags: ["x", "y", "z"] },
    conflicts: ["tags"],
  }),
  united("both took something away → both are gone", {
    base: { tags: ["a", "b", "c"] },
    current: { tags: ["b", "c"] },
    proposed: { tags: ["a", "b"] },
    stored: { tags: ["b"] },
    conflicts: ["tags"],
  }),
  united("the client took away what the source kept beside an addition → gone, the addition stays", {
    base: { tags: ["a", "b"] },
    current: { tags: ["a", "b", "c"] },
    proposed: { tags: ["b"] },
    stored: { tags: ["b", "c"] },
    conflicts: ["tags"],
  }),
  united("the source took away what the client kept → stays gone", {
    base: { tags: ["a", "b"] },
    current: { tags: ["b"] },
    proposed: { tags: ["a", "b", "c"] },
    stored: { tags: ["b", "c"] },
    conflicts: ["tags"],
  }),
  united("the client took all away, the source added → the addition", {
    base: { tags: ["a"] },
    current: { tags: ["a", "b"] },
    proposed: { tags: null },
    stored: { tags: ["b"] },
    conflicts: ["tags"],
  }),
  united("both took all away → equal, no conflict", {
    base: { tags: ["a"] },
    current: { tags: [] },
    proposed: { tags: [] },
    outcome: APPLIED,
  }),
  united("nothing comes of it → MERGED, nothing written", {
    base: { tags: ["a"] },
    current: { tags: ["b"] },
    proposed: { tags: [] },
    conflicts: ["tags"],
  }),
  united("duplicates on all sides → each once, where it came first", {
    base: { tags: ["a", "a"] },
    current: { tags: ["a", "b", "a", "b"] },
    proposed: { tags: ["a", "c", "c"] },
    stored: { tags: ["a", "b", "c"] },
    conflicts: ["tags"],
  }),
  united("one of two duplicates taken away → the element stays", {
    base: { tags: ["a", "a"] },
    current: { tags: ["a", "a", "b"] },
    proposed: { tags: ["a"] },
    stored: { tags: ["a", "b"] },
    conflicts: ["tags"],
  }),
  united("only the order differs on both sides → the source's order", {
    base: { tags: ["a", "b", "c"] },
    current: { tags: ["c", "b", "a"] },
    proposed: { tags: ["b", "a", "c"] },
    conflicts: ["tags"],
  }),
  united("only the client changed it → its list as it is, duplicates too", {
    base: { tags: ["a"] },
    current: { tags: ["a"] },
    proposed: { tags: ["b", "b", "a"] },
    stored: { tags: ["b", "b", "a"] },
    outcome: APPLIED,
  }),
  united("enums → by value", {
    base: { colors: ["COLOR_RED"] },
    current: { colors: ["RED", "BLUE"] },
    proposed: { colors: ["COLOR_GREEN"] },
    stored: { colors: ["BLUE", "GREEN"] },
    conflicts: ["colors"],
  }),
  united("bytes → by content", {
    base: { blobs: [wire("a")] },
    current: { blobs: [blob("a"), blob("b")] },
    proposed: { blobs: [wire("b"), wire("c")] },
    stored: { blobs: [blob("b"), blob("c")] },
    conflicts: ["blobs"],
  }),
  united("doubles → -0 is 0, NaN is NaN", {
    base: { numbers: [0, 1] },
    current: { numbers: [new Double(-0), 2, Number.NaN] },
    proposed: { numbers: [-0, "NaN", 3] },
    stored: { numbers: [0, 2, Number.NaN, 3] },
    conflicts: ["numbers"],
  }),
  united("doubles: zero taken away → -0 goes", {
    base: { numbers: [0, 1] },
    current: { numbers: [new Double(-0), 1, 2] },
    proposed: { numbers: [1] },
    stored: { numbers: [1, 2] },
    conflicts: ["numbers"],
  }),
  united("blind → INVALID", {
    base: undefined,
    current: { tags: ["a"] },
    proposed: { tags: ["b"] },
    outcome: "INVALID",
  }),
];

const whole: readonly Row[] = [
  {
    what: "a map changed on both sides, at other keys → the client's, whole",
    base: { labels: { a: 1 } },
    current: { labels: { a: 1, b: 2 } },
    proposed: { labels: { a: 1, c: 3 } },
    stored: { labels: { a: 1, c: 3 } },
    outcome: MERGED,
    conflicts: ["labels"],
  },
  {
    what: "a map under SERVER_WINS → the source's, whole",
    base: { keptLabels: { a: 1 } },
    current: { keptLabels: { a: 1, b: 2 } },
    proposed: { keptLabels: { a: 1, c: 3 } },
    outcome: MERGED,
    conflicts: ["kept_labels"],
  },
  {
    what: "a list of messages → the client's, whole, its inner rules silent",
    base: { list: [{ text: "a", votes: 1, kept: "k" }] },
    current: { list: [{ text: "a", votes: 5, kept: "k" }] },
    proposed: { list: [{ text: "b", votes: 2, kept: "c" }] },
    stored: {
      list: [{ text: "b", votes: 2, kept: "c", tags: [], firm: "" }],
    },
    outcome: MERGED,
    conflicts: ["list"],
  },
  {
    what: "a blind update of a list of messages with counters in it → written",
    base: undefined,
    current: { list: [] },
    proposed: { list: [{ votes: 2 }] },
    stored: { list: [{ text: "", kept: "", votes: 2, tags: [], firm: "" }] },
    outcome: APPLIED,
  },
  {
    what: "a free-form value → the client's, whole",
    base: { free: { a: 1 } },
    current: { free: { a: 2, b: { c: 1 } } },
    proposed: { free: { a: 1, d: null } },
    stored: { free: { a: 1, d: null } },
    outcome: MERGED,
    conflicts: ["free"],
  },
];

test.each([...sets, ...whole])("push: $what", (row) => pushRow(fixture, row));

test("push: a list whose elements hold undeclared keys, merged to the client's → kept in what stays, else UNDECLARED_DATA", async () => {
  const ruled = fixture.database.source.collection<{ _id: string }>("ruled");
  const element = (text: string) => ({ text, kept: "", votes: 0, tags: [], firm: "" });
  const list = [
    { ...element("a"), mine: 1 },
    { ...element("b"), hush: "h" },
  ];
  await ruled.insertOne({ _id: "elements", ownerId: "ana", list } as never);
  const push = (proposed: readonly { text: string }[]) =>
    sendOne(
      fixture,
      update("elements", { list: [...proposed] }, { list: [{ text: "a" }] }, { collection: "ruled" }),
    );
  const swapped = await push([{ text: "b" }, { text: "c" }, { text: "a" }]);
  expect(swapped).toMatchObject({ outcome: MERGED, conflicts: [{ name: "list" }] });
  const stored = await ruled.findOne({ _id: "elements" });
  expect(stored).toMatchObject({ list: [list[1], element("c"), list[0]] });
  expect(await push([{ text: "b" }])).toMatchObject({ rejection: { reason: "UNDECLARED_DATA" } });
  expect(await ruled.findOne({ _id: "elements" })).toEqual(stored);
});
