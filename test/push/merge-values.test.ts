// Merging by rules that work on one value: who wins, what is counted, compared, united.
import { Decimal128, Double, Int32, Long } from "mongodb";
import { afterAll, beforeAll, test } from "vitest";
import { pushRow, type Row } from "./merge-table.ts";
import { type PushFixture, pushFixture } from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
});
afterAll(() => fixture.close());

const MERGED = "MERGED";
const APPLIED = "APPLIED";
const INT32_MAX = 2 ** 31 - 1;
const date = (text: string) => new Date(text);

/** The three cases no rule has a say in, and the one it has. */
function allCases(field: string, [a, b, c]: readonly [string, string, string], row: Partial<Row>): Row[] {
  return [
    {
      what: `${field}: only the client changed it → written`,
      base: { [field]: a },
      current: { [field]: a },
      proposed: { [field]: b },
      stored: { [field]: b },
      outcome: APPLIED,
    },
    {
      what: `${field}: only the source changed it → stays`,
      base: { [field]: a },
      current: { [field]: b },
      proposed: { [field]: a },
      outcome: APPLIED,
    },
    {
      what: `${field}: both made the same change → stays, no conflict`,
      base: { [field]: a },
      current: { [field]: b },
      proposed: { [field]: b },
      outcome: APPLIED,
    },
    {
      what: `${field}: blind → written, whatever the rule`,
      base: undefined,
      current: { [field]: b },
      proposed: { [field]: c },
      stored: { [field]: c },
      outcome: APPLIED,
    },
    {
      what: `${field}: both changed it → the rule decides`,
      base: { [field]: a },
      current: { [field]: b },
      proposed: { [field]: c },
      outcome: MERGED,
      conflicts: [field],
      ...row,
    },
  ];
}

const winners: readonly Row[] = [
  ...allCases("last", ["a", "b", "c"], { stored: { last: "c" } }),
  ...allCases("kept", ["a", "b", "c"], {}),
  ...allCases("firm", ["a", "b", "c"], { outcome: "CONFLICT" }),
  {
    what: "SERVER_WINS beside an edit nobody else made → that is written, the source's value stays",
    base: { kept: "a", last: "a" },
    current: { kept: "b", last: "a" },
    proposed: { kept: "c", last: "c" },
    stored: { kept: "b", last: "c" },
    outcome: MERGED,
    conflicts: ["kept"],
  },
  {
    what: "REJECT beside edits that would do → nothing of them written, all conflicts told",
    base: { firm: "a", last: "a", kept: "a", count: 1 },
    current: { firm: "b", last: "b", kept: "a", count: 1 },
    proposed: { firm: "c", last: "c", kept: "c", count: 2 },
    outcome: "CONFLICT",
    conflicts: ["last", "firm"],
  },
  {
    what: "the source cleared what the client changed → the client's value",
    base: { last: "a" },
    current: {},
    proposed: { last: "c" },
    stored: { last: "c" },
    outcome: MERGED,
    conflicts: ["last"],
  },
];

function counted(what: string, row: Omit<Row, "what" | "outcome"> & { outcome?: string }): Row {
  return { what: `COUNTER: ${what}`, outcome: MERGED, ...row };
}

const counters: readonly Row[] = [
  counted("both added → both count", {
    base: { count: 1 },
    current: { count: 5 },
    proposed: { count: 3 },
    stored: { count: 7 },
    conflicts: ["count"],
  }),
  counted("both counted the same → both count", {
    base: { count: 1 },
    current: { count: 2 },
    proposed: { count: 2 },
    stored: { count: 3 },
    conflicts: ["count"],
  }),
  counted("the sum is what is there → MERGED, nothing written", {
    base: { countDouble: 1 },
    current: { countDouble: 2 ** 60 },
    proposed: { countDouble: 2 },
    conflicts: ["count_double"],
  }),
  counted("only the client counted → its value", {
    base: { count: 1 },
    current: { count: 1 },
    proposed: { count: 4 },
    stored: { count: 4 },
    outcome: APPLIED,
  }),
  counted("the client didn't → the source's stays", {
    base: { count: 1 },
    current: { count: 4 },
    proposed: { count: 1 },
    outcome: APPLIED,
  }),
  counted("the document has a long where an int32 is declared → counted, as an int32", {
    base: { count: 0 },
    current: { count: Long.fromNumber(3) },
    proposed: { count: 2 },
    stored: { count: 5 },
    conflicts: ["count"],
  }),
  counted("int32 below its range → INVALID", {
    base: { count: 0 },
    current: { count: -INT32_MAX },
    proposed: { count: -2 },
    outcome: "INVALID",
  }),
  counted("int32 above its range → INVALID, other edits neither", {
    base: { count: 0, last: "" },
    current: { count: INT32_MAX, last: "" },
    proposed: { count: 1, last: "c" },
    outcome: "INVALID",
  }),
  counted("int32 at its limit → counted", {
    base: { count: 0 },
    current: { count: INT32_MAX - 1 },
    proposed: { count: 1 },
    stored: { count: INT32_MAX },
    conflicts: ["count"],
  }),
  counted("int64 beyond what doubles hold → exact", {
    base: { countLong: "1" },
    current: { countLong: 9007199254740993n },
    proposed: { countLong: "3" },
    stored: { countLong: 9007199254740995n },
    conflicts: ["count_long"],
  }),
  counted("int64 above its range → INVALID", {
    base: {},
    current: { countLong: 2n ** 63n - 1n },
    proposed: { countLong: "1" },
    outcome: "INVALID",
  }),
  counted("uint64 beyond what BSON's integers hold → exact, as a decimal", {
    base: {},
    current: { countWide: 2n ** 63n - 1n },
    proposed: { countWide: "1" },
    stored: { countWide: new Decimal128("9223372036854775808") },
    conflicts: ["count_wide"],
  }),
  counted("uint64 above its range → INVALID", {
    base: {},
    current: { countWide: new Decimal128("18446744073709551615") },
    proposed: { countWide: "1" },
    outcome: "INVALID",
  }),
  counted("uint32 below zero → INVALID", {
    base: { countNatural: 5 },
    current: { countNatural: 2 },
    proposed: { countNatural: 0 },
    outcome: "INVALID",
  }),
  counted("double → fractions", {
    base: { countDouble: 1 },
    current: { countDouble: 2.5 },
    proposed: { countDouble: 0.5 },
    stored: { countDouble: 2 },
    conflicts: ["count_double"],
  }),
  counted("double, to infinity → stays there", {
    base: {},
    current: { countDouble: 1e308 },
    proposed: { countDouble: 1e308 },
    stored: { countDouble: Number.POSITIVE_INFINITY },
    conflicts: ["count_double"],
  }),
  counted("float → the sum as a float", {
    base: { countFloat: 1 },
    current: { countFloat: 2.5 },
    proposed: { countFloat: 0.5 },
    stored: { countFloat: 2 },
    conflicts: ["count_float"],
  }),
  counted("float beyond what a float holds → infinity", {
    base: {},
    current: { countFloat: Math.fround(3e38) },
    proposed: { countFloat: 3e38 },
    stored: { countFloat: Number.POSITIVE_INFINITY },
    conflicts: ["count_float"],
  }),
  counted("optional, absent in base and source changed → from zero", {
    base: {},
    current: { countOptional: 5 },
    proposed: { countOptional: 1 },
    stored: { countOptional: 6 },
    conflicts: ["count_optional"],
  }),
  counted("optional, cleared by the source → what the client added", {
    base: { countOptional: 5 },
    current: {},
    proposed: { countOptional: 6 },
    stored: { countOptional: 1 },
    conflicts: ["count_optional"],
  }),
  counted("optional, cleared by the client → the difference to zero", {
    base: { countOptional: 5 },
    current: { countOptional: 7 },
    proposed: { countOptional: null },
    stored: { countOptional: 2 },
    conflicts: ["count_optional"],
  }),
  counted("blind → INVALID", {
    base: undefined,
    current: { count: 1 },
    proposed: { count: 2 },
    outcome: "INVALID",
  }),
];

function compared(what: string, row: Omit<Row, "what" | "outcome">): Row {
  return { outcome: MERGED, what, ...row };
}

const extremes: readonly Row[] = [
  compared("MAX: the client's is larger → written", {
    base: { most: 1 },
    current: { most: 2 },
    proposed: { most: 3 },
    stored: { most: 3 },
    conflicts: ["most"],
  }),
  compared("MAX: the source's is larger → stays", {
    base: { most: 1 },
    current: { most: 3 },
    proposed: { most: -2 },
    conflicts: ["most"],
  }),
  compared("MAX: beyond what doubles hold → exact", {
    base: {},
    current: { mostLong: 9007199254740992n },
    proposed: { mostLong: "9007199254740993" },
    stored: { mostLong: 9007199254740993n },
    conflicts: ["most_long"],
  }),
  compared("MAX: absent in the source → the client's, negative too", {
    base: { mostLong: "1" },
    current: {},
    proposed: { mostLong: "-5" },
    stored: { mostLong: -5n },
    conflicts: ["most_long"],
  }),
  compared("MAX: cleared by the client → the source's stays", {
    base: { mostLong: "1" },
    current: { mostLong: -5n },
    proposed: { mostLong: null },
    conflicts: ["most_long"],
  }),
  compared("MAX: the later Timestamp → written", {
    base: { latest: "2026-01-01T00:00:00Z" },
    current: { latest: date("2026-02-01T00:00:00Z") },
    proposed: { latest: "2026-02-01T00:00:00.001Z" },
    stored: { latest: date("2026-02-01T00:00:00.001Z") },
    conflicts: ["latest"],
  }),
  compared("MAX: the earlier Timestamp, before 1970 → the source's stays", {
    base: {},
    current: { latest: date("1960-01-01T00:00:00.5Z") },
    proposed: { latest: "1960-01-01T00:00:00.499Z" },
    conflicts: ["latest"],
  }),
  compared("MAX: the client's is NaN → the source's stays", {
    base: {},
    current: { mostDouble: -1 },
    proposed: { mostDouble: "NaN" },
    conflicts: ["most_double"],
  }),
  compared("MAX: the source's is NaN → the client's", {
    base: {},
    current: { mostDouble: new Double(Number.NaN) },
    proposed: { mostDouble: "-Infinity" },
    stored: { mostDouble: Number.NEGATIVE_INFINITY },
    conflicts: ["most_double"],
  }),
  compared("MIN: the client's is smaller → written", {
    base: { least: 5 },
    current: { least: 4 },
    proposed: { least: 3.5 },
    stored: { least: 3.5 },
    conflicts: ["least"],
  }),
  compared("MIN: the source's is smaller → stays", {
    base: { least: 5 },
    current: { least: -1 },
    proposed: { least: 0 },
    conflicts: ["least"],
  }),
  compared("MIN: NaN loses as well", {
    base: { least: 5 },
    current: { least: 4 },
    proposed: { least: "NaN" },
    conflicts: ["least"],
  }),
  compared("MIN: absence loses as well", {
    base: { earliest: "2026-01-01T00:00:00Z" },
    current: { earliest: date("2026-02-01T00:00:00Z") },
    proposed: { earliest: null },
    conflicts: ["earliest"],
  }),
  compared("MIN: the earlier Timestamp → written", {
    base: {},
    current: { earliest: date("2026-02-01T00:00:00Z") },
    proposed: { earliest: "2026-01-31T00:00:00Z" },
    stored: { earliest: date("2026-01-31T00:00:00Z") },
    conflicts: ["earliest"],
  }),
];

test.each([...winners, ...counters, ...extremes])("push: $what", (row) => pushRow(fixture, row));

test("push: an Int32 in a double's COUNTER and MAX → counted and compared as the numbers they are", async () => {
  await pushRow(fixture, {
    what: "",
    base: { countDouble: 1, mostDouble: 1 },
    current: { countDouble: new Int32(2), mostDouble: new Int32(4) },
    proposed: { countDouble: 1.5, mostDouble: 3.5 },
    stored: { countDouble: 2.5, mostDouble: 4 },
    outcome: MERGED,
    conflicts: ["count_double", "most_double"],
  });
});
