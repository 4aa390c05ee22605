// The mapping of what holds values: messages, lists, maps and free form.
import { Binary, Double, Int32, Long, ObjectId, UUID } from "bson";
import { decimal, oid, type Row, time, uuid } from "./mapping-row.ts";

export const structureRows: readonly Row[] = [
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
    key: "choicePart",
    reads: [[{}, {}]],
    unfit: ["1"],
    writes: [[{}, { name: "", count: new Int32(0), others: [] }]],
  },
];
