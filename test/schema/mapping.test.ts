// Every row of the mapping, from MongoDB to the wire and back: what reads as what, what is unfit, what is written.
import { Binary, Decimal128, Double, deserialize, Int32, Long, ObjectId, serialize, UUID } from "bson";
import { describe, expect, test } from "vitest";
import type { JsonValue } from "../../src/model/record-form.ts";
import { sourceReadOptions } from "../../src/schema/bson-value.ts";
import { documentOf } from "../../src/schema/document-of.ts";
import { encodeField } from "../../src/schema/encode-document.ts";
import { readPushed } from "../../src/schema/pushed-record.ts";
import { bytesOf, everything, field, json, seen, unfit } from "./acme.ts";

const oid = "65f0a1b2c3d4e5f601234567";
const uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
const time = new Date("2026-11-21T03:04:05.678Z");

interface Row {
  /** The field's key in documents. */
  readonly key: string;
  /** Its JSON name, where that differs. */
  readonly name?: string;
  /** Values of a document and what clients see of them; undefined: absent. */
  readonly reads: ReadonlyArray<readonly [bson: unknown, seen: JsonValue | undefined]>;
  readonly unfit: readonly unknown[];
  /** What a push of the JSON value writes. */
  readonly writes: ReadonlyArray<readonly [json: JsonValue, bson: unknown]>;
}

const nan = Decimal128.fromString("NaN");
const decimal = (text: string) => Decimal128.fromString(text);

const integers = (min: string, max: string): Pick<Row, "reads" | "unfit"> => {
  const text = (value: string): JsonValue => (/^-?\d{1,10}$/.test(max) ? Number(value) : value);
  return {
    reads: [
      [3, text("3")],
      [new Double(3), text("3")],
      [new Int32(3), text("3")],
      [Long.fromNumber(3), text("3")],
      [3n, text("3")],
      [decimal("3.0"), text("3")],
      [decimal("3E+1"), text("30")],
      [0, undefined],
      [-0, undefined],
      [new Double(-0), undefined],
      [BigInt(max) < 2n ** 63n ? BigInt(max) : decimal(max), text(max)],
      [BigInt(min), min === "0" ? undefined : text(min)],
      [null, undefined],
      [undefined, undefined],
    ],
    unfit: [
      3.5,
      decimal("3.5"),
      decimal("1E+6000"),
      Number.NaN,
      Number.POSITIVE_INFINITY,
      nan,
      "3",
      true,
      [3],
      {},
      time,
      BigInt(max) + 1n,
      BigInt(min) - 1n,
    ],
  };
};

const int32 = integers("-2147483648", "2147483647");
const int64 = integers("-9223372036854775808", "9223372036854775807");
const uint32 = integers("0", "4294967295");
const uint64 = integers("0", "18446744073709551615");

const rows: readonly Row[] = [
  {
    key: "text",
    reads: [
      ["Ünïcode 🌊", "Ünïcode 🌊"],
      ["a\0b", "a\0b"],
      ["", undefined],
      [null, undefined],
      ["\ud800!", "\ufffd!"],
    ],
    unfit: [1, new ObjectId(oid), ["a"], {}, true],
    writes: [["x", "x"]],
  },
  {
    key: "flag",
    reads: [
      [true, true],
      [false, undefined],
      [null, undefined],
    ],
    unfit: [1, "true", {}],
    writes: [[true, true]],
  },
  {
    key: "real",
    reads: [
      [1.5, 1.5],
      [new Double(2), 2],
      [new Int32(2), 2],
      [2n ** 53n, 2 ** 53],
      [decimal("7"), 7],
      [Number.NaN, "NaN"],
      [nan, "NaN"],
      [Number.NEGATIVE_INFINITY, "-Infinity"],
      [decimal("Infinity"), "Infinity"],
      [0, undefined],
      [-0, undefined],
    ],
    unfit: ["1.5", 2n ** 53n + 1n, decimal("1.5"), time],
    writes: [
      [3, new Double(3)],
      [1.5, new Double(1.5)],
      ["NaN", new Double(Number.NaN)],
      [-0, new Double(0)],
    ],
  },
  {
    key: "single",
    reads: [
      [1.5, 1.5],
      [0.1, Math.fround(0.1)],
      [1e-60, undefined],
      [-1e-60, undefined],
      [Number.POSITIVE_INFINITY, "Infinity"],
      [Number.NaN, "NaN"],
    ],
    unfit: [1e300, "1"],
    writes: [[0.1, new Double(Math.fround(0.1))]],
  },
  { key: "small", ...int32, writes: [[5, new Int32(5)]] },
  { key: "smallSigned", ...int32, writes: [[-5, new Int32(-5)]] },
  { key: "smallSignedFixed", ...int32, writes: [[-5, new Int32(-5)]] },
  { key: "large", ...int64, writes: [["-9223372036854775808", -(2n ** 63n)]] },
  { key: "largeSigned", ...int64, writes: [[5, 5n]] },
  { key: "largeSignedFixed", ...int64, writes: [["5", 5n]] },
  { key: "smallUnsigned", ...uint32, writes: [[4294967295, 4294967295n]] },
  { key: "smallFixed", ...uint32, writes: [[5, 5n]] },
  {
    key: "largeUnsigned",
    ...uint64,
    writes: [
      ["9223372036854775807", 2n ** 63n - 1n],
      ["18446744073709551615", decimal("18446744073709551615")],
    ],
  },
  { key: "largeFixed", ...uint64, writes: [["5", 5n]] },
  { key: "wide", ...int32, writes: [[5, 5n]] },
  { key: "floating", ...int32, writes: [[5, new Double(5)]] },
  {
    key: "data",
    reads: [
      [new Binary(Buffer.from("tide"), 0), "dGlkZQ=="],
      [new Binary(Buffer.from("tide"), 2), "dGlkZQ=="],
      [Buffer.from("tide"), "dGlkZQ=="],
      [new Binary(Buffer.alloc(0), 0), undefined],
    ],
    unfit: ["dGlkZQ==", new UUID(uuid), new Binary(Buffer.from("tide"), 128)],
    writes: [["dGlkZQ==", new Binary(Buffer.from("tide"), 0)]],
  },
  {
    key: "time",
    reads: [
      [time, "2026-11-21T03:04:05.678Z"],
      [new Date(0), "1970-01-01T00:00:00Z"],
      [new Date(-1), "1969-12-31T23:59:59.999Z"],
      [new Date("0001-01-01T00:00:00Z"), "0001-01-01T00:00:00Z"],
      [new Date("9999-12-31T23:59:59.999Z"), "9999-12-31T23:59:59.999Z"],
      [null, undefined],
    ],
    unfit: [
      time.getTime(),
      "2026-11-21T03:04:05Z",
      new Date(Number.NaN),
      new Date("+010000-01-01T00:00:00Z"),
    ],
    writes: [
      ["2026-11-21T03:04:05.678Z", time],
      ["2026-11-21T03:04:05.678999999Z", time],
      ["1969-12-31T23:59:59.999999999Z", new Date(-1)],
    ],
  },
  {
    key: "price",
    reads: [
      [decimal("19.90"), "19.90"],
      [decimal("-1E+3"), "-1E+3"],
      [decimal("0"), "0"],
      [decimal("-0.00"), "0.00"],
      [nan, "NaN"],
    ],
    unfit: [19.9, "19.90", 3n],
    writes: [
      ["19.90", decimal("19.90")],
      ["1e3", decimal("1E+3")],
    ],
  },
  {
    key: "objectId",
    reads: [[new ObjectId(oid), oid]],
    unfit: [oid, new UUID(uuid)],
    writes: [[oid.toUpperCase(), new ObjectId(oid)]],
  },
  {
    key: "uuid",
    reads: [
      [new UUID(uuid), uuid],
      [new Binary(Buffer.from(uuid.replaceAll("-", ""), "hex"), 4), uuid],
    ],
    unfit: [uuid, new Binary(Buffer.alloc(16), 3), new Binary(Buffer.alloc(15), 4)],
    writes: [[uuid.toUpperCase(), new UUID(uuid)]],
  },
  {
    key: "numberText",
    reads: [
      [5n, "5"],
      [-5, "-5"],
      [0, "0"],
      [new Double(7), "7"],
    ],
    unfit: ["5", 5.5, 2n ** 63n],
    writes: [["-9223372036854775808", -(2n ** 63n)]],
  },
  {
    key: "millis",
    reads: [
      [time, String(time.getTime())],
      [new Date(0), undefined],
    ],
    unfit: [time.getTime(), new Date(Number.NaN)],
    writes: [[String(time.getTime()), time]],
  },
  {
    key: "colour",
    reads: [
      ["RED", "COLOUR_RED"],
      ["COLOUR_DARK_BLUE", "COLOUR_DARK_BLUE"],
      [2, "COLOUR_DARK_BLUE"],
      [2n, "COLOUR_DARK_BLUE"],
      [77, 77],
      ["UNSPECIFIED", undefined],
      [0, undefined],
    ],
    unfit: ["GREEN", "red", "", 1.5, true],
    writes: [
      ["COLOUR_DARK_BLUE", "DARK_BLUE"],
      [77, new Int32(77)],
    ],
  },
  {
    key: "colourNumber",
    reads: [["RED", "COLOUR_RED"]],
    unfit: ["GREEN"],
    writes: [["COLOUR_DARK_BLUE", new Int32(2)]],
  },
  {
    key: "level",
    reads: [
      ["LOW", undefined],
      ["TOP", "LEVEL_HIGH"],
      ["LEVEL_TOP", "LEVEL_HIGH"],
      ["ULTRA", "ULTRA"],
    ],
    unfit: ["MIDDLE"],
    writes: [
      ["LEVEL_TOP", "HIGH"],
      ["ULTRA", "ULTRA"],
      ["LEVEL_LOW", "LOW"],
    ],
  },
  {
    key: "part",
    reads: [
      [{}, {}],
      [
        { name: "x", count: 2, cost: "hidden", unheardOf: 1 },
        { name: "x", count: 2 },
      ],
      [{ inner: { inner: { name: "y" } } }, { inner: { inner: { name: "y" } } }],
      [null, undefined],
    ],
    unfit: ["x", [], new ObjectId(oid), { name: 1 }, { inner: { count: 1.5 } }, { width: 1, label: "x" }],
    writes: [
      [{ name: "x" }, { name: "x", count: new Int32(0), others: [] }],
      [{ width: 0 }, { name: "", count: new Int32(0), others: [], width: new Int32(0) }],
    ],
  },
  {
    key: "texts",
    reads: [
      [
        ["a", "", "a"],
        ["a", "", "a"],
      ],
      [[], undefined],
      [null, undefined],
    ],
    unfit: ["a", [null], [undefined], [1], { 0: "a" }],
    writes: [
      [
        ["a", ""],
        ["a", ""],
      ],
    ],
  },
  {
    key: "numbers",
    reads: [
      [
        [0, 3n, new Double(-1)],
        [0, 3, -1],
      ],
    ],
    unfit: [[1.5], ["1"], 1],
    writes: [
      [
        [0, 3],
        [new Int32(0), new Int32(3)],
      ],
    ],
  },
  {
    key: "parts",
    reads: [
      [
        [{}, { name: "x" }],
        [{}, { name: "x" }],
      ],
    ],
    unfit: [[null], [{ name: 1 }], {}],
    writes: [[[{ count: 1 }], [{ name: "", count: new Int32(1), others: [] }]]],
  },
  {
    key: "colours",
    reads: [
      [
        ["RED", 0, 9],
        ["COLOUR_RED", "COLOUR_UNSPECIFIED", 9],
      ],
    ],
    unfit: [["GREEN"]],
    writes: [
      [
        ["COLOUR_UNSPECIFIED", "COLOUR_RED"],
        ["UNSPECIFIED", "RED"],
      ],
    ],
  },
  {
    key: "times",
    reads: [
      [
        [time, new Date(0)],
        ["2026-11-21T03:04:05.678Z", "1970-01-01T00:00:00Z"],
      ],
    ],
    unfit: [[1]],
    writes: [[["1970-01-01T00:00:00Z"], [new Date(0)]]],
  },
  {
    key: "counts",
    reads: [
      [
        { b: 2, a: 0, gone: null },
        { a: 0, b: 2 },
      ],
      [{}, undefined],
    ],
    unfit: [[], "x", { a: "x" }, [["a", 1]]],
    writes: [
      [
        { $c: 2, "a.b": 1 },
        { $c: new Int32(2), "a.b": new Int32(1) },
      ],
    ],
  },
  {
    key: "names",
    reads: [
      [
        { 10: "ten", 9: "nine", "-1": "less" },
        { "-1": "less", 9: "nine", 10: "ten" },
      ],
    ],
    unfit: [{ "01": "x" }, { x: "x" }, { 2147483648: "x" }, { "-0": "x" }],
    writes: [[{ 10: "ten" }, { 10: "ten" }]],
  },
  {
    key: "answers",
    reads: [
      [
        { true: "yes", false: "no" },
        { false: "no", true: "yes" },
      ],
    ],
    unfit: [{ 1: "yes" }],
    writes: [[{ true: "yes" }, { true: "yes" }]],
  },
  {
    key: "partsByName",
    reads: [[{ a: { name: "x" }, b: null }, { a: { name: "x" } }]],
    unfit: [{ a: 1 }],
    writes: [[{ a: {} }, { a: { name: "", count: new Int32(0), others: [] } }]],
  },
  {
    key: "extra",
    reads: [
      [{}, {}],
      [
        { b: 1, a: [null, true, "x", { c: 1.5 }] },
        { a: [null, true, "x", { c: 1.5 }], b: 1 },
      ],
      [
        { when: time, id: new ObjectId(oid), uuid: new UUID(uuid) },
        { id: oid, uuid, when: time.toISOString() },
      ],
      [
        { small: 5n, large: 2n ** 53n, long: Long.fromNumber(7) },
        { large: "9007199254740992", long: 7, small: 5 },
      ],
      [
        { d: decimal("1.50"), b: new Binary(Buffer.from("tide")) },
        { b: "dGlkZQ==", d: "1.50" },
      ],
      [
        { nan: Number.NaN, inf: Number.NEGATIVE_INFINITY },
        { inf: "-Infinity", nan: "NaN" },
      ],
      [
        { "a.b": 1, $c: 2, "": 3 },
        { "": 3, $c: 2, "a.b": 1 },
      ],
    ],
    unfit: ["x", [], { a: new Date(Number.NaN) }, { a: new Binary(Buffer.from("x"), 128) }],
    writes: [
      [
        { a: [1, null, { b: "x" }], c: 1.5, d: true },
        { a: [1, null, { b: "x" }], c: 1.5, d: true },
      ],
    ],
  },
  {
    key: "any",
    reads: [
      ["x", "x"],
      [0, 0],
      [false, false],
      [[], []],
      [null, undefined],
    ],
    unfit: [new Date(Number.NaN)],
    writes: [[{ a: 1 }, { a: 1 }]],
  },
  {
    key: "list",
    reads: [
      [
        [1, "x", null],
        [1, "x", null],
      ],
    ],
    unfit: [{}, "x"],
    writes: [
      [
        [1, [2]],
        [1, [2]],
      ],
    ],
  },
  {
    key: "anything",
    reads: [
      [
        { a: null, b: [1] },
        { a: null, b: [1] },
      ],
    ],
    unfit: [[1]],
    writes: [[{ a: null }, { a: null }]],
  },
  {
    key: "maybeNumber",
    reads: [
      [0, 0],
      [-0, 0],
      [5, 5],
      [null, undefined],
    ],
    unfit: ["5"],
    writes: [[0, new Int32(0)]],
  },
  {
    key: "maybeText",
    reads: [
      ["", ""],
      [null, undefined],
    ],
    unfit: [5],
    writes: [["", ""]],
  },
  {
    key: "maybeColour",
    reads: [
      ["UNSPECIFIED", "COLOUR_UNSPECIFIED"],
      [null, undefined],
    ],
    unfit: ["GREEN"],
    writes: [["COLOUR_UNSPECIFIED", "UNSPECIFIED"]],
  },
  {
    key: "wrappedText",
    reads: [
      ["", ""],
      ["x", "x"],
      [null, undefined],
    ],
    unfit: [{ value: "x" }],
    writes: [["", ""]],
  },
  {
    key: "wrappedNumber",
    reads: [
      [0n, "0"],
      [5, "5"],
    ],
    unfit: [5.5],
    writes: [["5", 5n]],
  },
  { key: "nothing", reads: [[{}, {}]], unfit: [true], writes: [[{}, {}]] },
  { key: "choiceText", reads: [["", ""]], unfit: [1], writes: [["", ""]] },
  { key: "choiceNumber", reads: [[0, 0]], unfit: ["1"], writes: [[0, new Int32(0)]] },
  {
    key: "choicePart",
    reads: [[{}, {}]],
    unfit: ["1"],
    writes: [[{}, { name: "", count: new Int32(0), others: [] }]],
  },
  { key: "old-name", name: "renamed", reads: [["x", "x"]], unfit: [1], writes: [["x", "x"]] },
  { key: "constructor", reads: [["Ferrari", "Ferrari"]], unfit: [1], writes: [["Ferrari", "Ferrari"]] },
];

const all = rows.map((row) => ({ name: row.key, ...row }));

describe.each(all)("mapping: $key", ({ key, name, reads, unfit: misfits, writes }) => {
  test.each(reads)("reads %o as %o", (bson, wanted) => {
    expect(seen({ [key]: bson })).toEqual(wanted === undefined ? {} : { [name]: wanted });
  });

  test.each(reads)("reads %o the same after a journey through the database", (bson, wanted) => {
    const read = deserialize(serialize({ [key]: bson }), {
      ...sourceReadOptions,
      validation: { utf8: false },
    });
    expect(seen(read)).toEqual(wanted === undefined ? {} : { [name]: wanted });
  });

  test.each(misfits.map((value) => [value]))("unfit: %o", (value) => {
    const path = unfit({ [key]: value })?.split(/[.:[]/)[0];
    expect(path).toBe(key);
  });

  test.each(writes)("push of %o writes %o", (value, wanted) => {
    const { message } = readPushed(everything, json({ [name]: value }));
    const written = documentOf(everything, message);
    expect(written[key]).toEqual(wanted);
    expect(serialize({ v: written[key] })).toEqual(serialize({ v: wanted }));
  });

  test.each(writes)("push of %o is read back as pushed", (value) => {
    const { message } = readPushed(everything, json({ [name]: value }));
    const written = documentOf(everything, message);
    const read = deserialize(serialize(written), { ...sourceReadOptions, validation: { utf8: false } });
    const again = documentOf(
      everything,
      readPushed(everything, { form: "PROTO", bytes: bytesOf(read) }).message,
    );
    expect(serialize(again)).toEqual(serialize(written));
    expect(encodeField(everything, field(fieldName(key)), read)).toEqual(
      encodeField(everything, field(fieldName(key)), written),
    );
  });
});

function fieldName(key: string): string {
  return everything.fields.find((each) => each.key === key)?.name ?? key;
}

test("mapping: every declared field but the ones about access and scopes has a row", () => {
  const keys = everything.fields.map((each) => each.key);
  const others = ["readOnly", "secret", "ownerId", "deskIds"];
  expect(new Set([...rows.map((row) => row.key), ...others])).toEqual(new Set(keys));
});

test("mapping: two members of a oneof → unfit; null beside one is absence", () => {
  expect(unfit({ choiceText: "x", choiceNumber: 1 })).toContain("more than one member of the oneof choice");
  expect(seen({ choiceText: null, choiceNumber: 0 })).toEqual({ choiceNumber: 0 });
});

test("mapping: keys nobody declared are passed over, hidden ones too", () => {
  expect(seen({ text: "x", unheardOf: { a: 1 }, secret: "s" })).toEqual({ text: "x" });
  expect(bytesOf({ text: "x", unheardOf: 1, secret: "s" })).toEqual(bytesOf({ text: "x" }));
});

test("mapping: hidden fields have canonical bytes of their own", () => {
  expect(encodeField(everything, field("secret"), { secret: "s" }).length).toBe(4);
  expect(encodeField(everything, field("secret"), { secret: null }).length).toBe(0);
});

test("mapping: a DBRef in free form is the document it is", () => {
  const document = { extra: { $ref: "cities", $id: new ObjectId(oid), more: 1 } };
  const read = deserialize(serialize(document), sourceReadOptions);
  expect(seen(read)).toEqual({ extra: { $ref: "cities", $id: oid, more: 1 } });
});

test("mapping: `__proto__` as a key of a map or in free form is a key like any other", () => {
  const read = deserialize(serialize(JSON.parse('{"counts": {"__proto__": 1}, "extra": {"__proto__": 2}}')));
  const pushed = readPushed(everything, { form: "PROTO", bytes: bytesOf(read) });
  const written = documentOf(everything, pushed.message);
  expect(Object.keys(written["counts"])).toEqual(["__proto__"]);
  expect(Object.keys(written["extra"])).toEqual(["__proto__"]);
});

test("mapping: nesting deeper than clients can read → unfit, on the brink → read", () => {
  const nest = (levels: number): object => (levels === 0 ? {} : { inner: nest(levels - 1) });
  expect(unfit({ part: nest(98) })).toBeUndefined();
  expect(seen({ part: nest(98) })).toHaveProperty(["part", "inner", "inner"]);
  expect(unfit({ part: nest(99) })).toMatch(/^part\.inner\..*nested deeper than the 100 levels/);
});

test("mapping: free form nested deeper than clients can read → unfit, on the brink → read", () => {
  const nest = (levels: number): object => (levels === 0 ? {} : { a: nest(levels - 1) });
  const brink = Array.from({ length: 100 }, (_, levels) => levels).findIndex((levels) =>
    unfit({ extra: nest(levels) }),
  );
  expect(brink).toBe(33);
  expect(seen({ extra: nest(brink - 1) })).toHaveProperty(["extra", "a", "a"]);
  const array = (levels: number): unknown[] => (levels === 0 ? [] : [array(levels - 1)]);
  expect(unfit({ list: array(1_000) })).toContain("nested deeper");
});

test("mapping: a record over 15 MB → unfit; the next one is read", () => {
  expect(unfit({ text: "x".repeat(15_000_001) })).toContain("over 15000000 bytes");
  expect(unfit({ text: "x".repeat(14_999_000) })).toBeUndefined();
  expect(seen({ text: "x" })).toEqual({ text: "x" });
});

test("mapping: reasons tell where and what to do, and no value", () => {
  expect(unfit({ parts: [{}, { inner: { count: "secret" } }] })).toBe(
    "parts[1].inner.count: a string doesn't fit an int32",
  );
  expect(unfit({ partsByName: { "a b": { name: 1 } } })).toBe(
    'partsByName["a b"].name: a number doesn\'t fit a string',
  );
  expect(unfit({ text: new ObjectId(oid) })).toContain("declare bson_type: BSON_TYPE_OBJECT_ID");
  expect(unfit({ text: new UUID(uuid) })).toContain("declare bson_type: BSON_TYPE_UUID");
  expect(unfit({ text: decimal("1") })).toContain("declare bson_type: BSON_TYPE_DECIMAL128");
  expect(unfit({ extra: { a: [{ "b.c": new Date(Number.NaN) }] } })).toContain(
    'extra["a"][0]["b.c"]: a date',
  );
});

test("mapping: an unfit document leaves nothing behind for the next", () => {
  expect(unfit({ text: "x", parts: [{ name: "y" }, { name: 1 }] })).toBeDefined();
  expect(seen({ flag: true })).toEqual({ flag: true });
});
