// The mapping of single values: scalars, times, enums, what a string can stand for, and presence.
import { Binary, Double, Int32, Long, ObjectId, UUID } from "bson";
import type { JsonValue } from "../../src/model/record-form.ts";
import { decimal, oid, type Row, time, uuid } from "./mapping-row.ts";

const nan = decimal("NaN");

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
export const leafRows: readonly Row[] = [
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
  { key: "old-name", name: "renamed", reads: [["x", "x"]], unfit: [1], writes: [["x", "x"]] },
  { key: "constructor", reads: [["Ferrari", "Ferrari"]], unfit: [1], writes: [["Ferrari", "Ferrari"]] },
];
