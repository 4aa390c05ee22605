// Random documents: equal decoded values have equal bytes and the other way round; what is written back decodes to
// the same; deltas patch. Each run's seed is printed by fast-check where it fails, and replays it: FC_SEED=… vitest.
import { equals, fromBinary } from "@bufbuild/protobuf";
import {
  Binary,
  Decimal128,
  type Document,
  Double,
  deserialize,
  Int32,
  Long,
  ObjectId,
  serialize,
  UUID,
} from "bson";
import fc from "fast-check";
import { expect, test } from "vitest";
import { sourceReadOptions } from "../../src/schema/bson-value.ts";
import { changedFields, pickFields } from "../../src/schema/delta.ts";
import { documentOf } from "../../src/schema/document-of.ts";
import { encodeDocument } from "../../src/schema/encode-document.ts";
import { readPushed } from "../../src/schema/pushed-record.ts";
import { recordToJson } from "../../src/schema/record-json.ts";
import { UnfitDocument } from "../../src/schema/unfit-document.ts";
import { everything, field, messageOf } from "./acme.ts";

const seed = Number(process.env["FC_SEED"] ?? Date.now() % 1_000_000);
const parameters = { seed, numRuns: 300 };

/** One value and the ways a document may hold it: encodings of any two are equal. */
const int = (min: number, max: number) =>
  fc
    .integer({ min, max })
    .chain((value) =>
      fc.constantFrom<unknown>(
        value,
        new Double(value),
        new Int32(value),
        Long.fromNumber(value),
        BigInt(value),
      ),
    );
const int32 = int(-(2 ** 31), 2 ** 31 - 1);
const text = fc.string({ unit: "grapheme", maxLength: 8 });
const date = fc.date({ noInvalidDate: true, min: new Date("0001-01-01"), max: new Date("9999-12-31") });
const orNull = <T>(value: fc.Arbitrary<T>) => fc.option(value, { freq: 10 });
const colour = fc.constantFrom<unknown>("RED", "COLOUR_RED", 1, 1n, "DARK_BLUE", 2, "UNSPECIFIED", 0, 99);
const decimal = fc
  .tuple(fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }), fc.integer({ min: -30, max: 30 }))
  .map(([digits, exponent]) => Decimal128.fromString(`${digits}E${exponent}`));
const bytes = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength });
const uuid = bytes(16, 16).map((value) => new Binary(value, 4));
const objectId = bytes(12, 12).map((value) => new ObjectId(value));

const { free } = fc.letrec<{ free: unknown }>((tie) => ({
  free: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.double(),
    int32,
    text,
    date,
    objectId,
    uuid,
    decimal,
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.array(tie("free"), { maxLength: 3 }),
    fc.dictionary(text, tie("free"), { maxKeys: 3 }),
  ),
}));

const { part } = fc.letrec<{ part: Document }>((tie) => ({
  part: fc.oneof(
    { depthSize: "small" },
    fc.record({ name: orNull(text), count: orNull(int32), more: fc.integer() }, { requiredKeys: [] }),
    fc.record(
      {
        name: text,
        inner: orNull(tie("part")),
        others: fc.array(tie("part"), { maxLength: 2 }),
        width: int32,
      },
      { requiredKeys: [] },
    ),
  ),
}));

const dictionary = <T>(value: fc.Arbitrary<T>) => fc.dictionary(text, value, { maxKeys: 4 });
const list = <T>(value: fc.Arbitrary<T>) => fc.array(value, { maxLength: 4 });

const fields = fc.record(
  {
    ...{ text: orNull(text), flag: orNull(fc.boolean()), real: orNull(fc.oneof(fc.double(), int32)) },
    ...{ single: fc.float().map((value) => value), small: orNull(int32), floating: int32 },
    ...{ large: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), smallUnsigned: int(0, 2 ** 31 - 1) },
    ...{
      largeUnsigned: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
      data: bytes(0, 6).map((value) => new Binary(value)),
    },
    ...{ time: orNull(date), millis: date, price: decimal, objectId, uuid, numberText: int32, wide: int32 },
    ...{
      colour: orNull(colour),
      colourNumber: colour,
      part: orNull(part),
      texts: orNull(list(text)),
      numbers: list(int32),
    },
    ...{
      parts: list(part),
      colours: list(colour),
      counts: orNull(dictionary(orNull(int32))),
      times: list(date),
    },
    names: fc.dictionary(fc.integer().map(String), text, { maxKeys: 4 }),
    answers: fc.dictionary(fc.boolean().map(String), text),
    ...{
      partsByName: dictionary(part),
      extra: dictionary(free),
      any: free,
      list: list(free),
      anything: dictionary(free),
    },
    ...{
      maybeNumber: orNull(int32),
      maybeText: orNull(text),
      maybeColour: colour,
      wrappedText: orNull(text),
    },
    ...{
      wrappedNumber: int32,
      nothing: fc.constant({}),
      level: fc.constantFrom("LOW", "TOP", 2),
      more: free,
    },
  },
  { requiredKeys: [] },
);
const choice = fc.oneof(
  fc.constant({}),
  fc.record({ choiceText: text }),
  fc.record({ choiceNumber: int32, choiceText: fc.constant(null) }),
  fc.record({ choicePart: part }),
);
const document = fc
  .tuple(fields, choice)
  .map(([some, others]): Document => ({ _id: "a", ...some, ...others }));

const encode = (each: Document) => encodeDocument(everything, each).bytes;
/** As the driver gives it. */
const stored = (each: Document) =>
  deserialize(serialize(each), { ...sourceReadOptions, validation: { utf8: false } });

/** What fast-check makes that no document can hold: a free-form document of some BSON class's shape. */
function isFit(each: Document): boolean {
  try {
    encode(each);
    return true;
  } catch (error) {
    if (error instanceof UnfitDocument) return false;
    throw error;
  }
}

test(`canonical: random documents (seed ${seed}) → all fit`, () => {
  fc.assert(fc.property(document, isFit), parameters);
});

test(`canonical: a journey through the database (seed ${seed}) → the same bytes`, () => {
  fc.assert(
    fc.property(document, (each) => {
      expect(encode(stored(each))).toEqual(encode(each));
    }),
    parameters,
  );
});

test(`canonical: written back as a message (seed ${seed}) → the same bytes`, () => {
  fc.assert(
    fc.property(document, (each) => {
      const pushed = readPushed(everything, { form: "PROTO", bytes: encode(each) });
      const written = { _id: "a", ...documentOf(everything, pushed.message) };
      expect(encode(written)).toEqual(encode(each));
      expect(encode(stored(written))).toEqual(encode(each));
    }),
    parameters,
  );
});

test(`canonical: written back as JSON (seed ${seed}) → the same bytes`, () => {
  fc.assert(
    fc.property(document, (each) => {
      const pushed = readPushed(everything, { form: "JSON", json: recordToJson(everything, encode(each)) });
      expect(encode({ _id: "a", ...documentOf(everything, pushed.message) })).toEqual(encode(each));
    }),
    parameters,
  );
});

/** Another document that decodes to the same: keys in another order, numbers of other types, absences of other kinds. */
function disguised(value: unknown, at: number): unknown {
  if (Array.isArray(value)) return value.map((element) => disguised(element, at));
  if (value instanceof Int32 || value instanceof Double) return at % 2 === 0 ? Number(value) : value;
  if (typeof value === "bigint" && BigInt.asIntN(32, value) === value)
    return at % 2 === 0 ? Number(value) : value;
  if (typeof value === "number" && value === 0) return -0;
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return value;
  const entries = Object.entries(value).toReversed();
  return Object.fromEntries(entries.map(([key, each]) => [key, disguised(each, at)]));
}

test(`canonical: the same values in other clothes (seed ${seed}) → the same bytes`, () => {
  fc.assert(
    fc.property(document, fc.nat(1), (each, at) => {
      const absent = { unheardOf: at, ...(each["text"] === undefined && { text: at === 0 ? null : "" }) };
      const other = { ...(disguised(each, at) as Document), ...absent };
      expect(encode(other)).toEqual(encode(each));
    }),
    parameters,
  );
});

test(`canonical: bytes are equal exactly when decoded values are (seed ${seed})`, () => {
  const near = fc.tuple(document, document, fc.nat(5)).map(([first, second, share]): [Document, Document] => {
    const shared = Object.entries(first).filter((_, index) => index >= share);
    return [first, { ...second, ...Object.fromEntries(shared) }];
  });
  fc.assert(
    fc.property(near, ([first, second]) => {
      fc.pre(isFit(second));
      const same = equals(everything.message, messageOf(first), messageOf(second));
      expect(Buffer.compare(encode(first), encode(second)) === 0).toBe(same);
    }),
    parameters,
  );
});

test(`canonical: changed fields and their bytes turn one record into the other (seed ${seed})`, () => {
  fc.assert(
    fc.property(document, document, (first, second) => {
      const [before, after] = [encode(first), encode(second)];
      const changed = new Set(changedFields(everything, before, after));
      const kept = everything.fields.map(({ number }) => number).filter((number) => !changed.has(number));
      const patched = Buffer.concat([pickFields(before, [1, ...kept]), pickFields(after, [...changed])]);
      expect(encode(documentOfBytes(patched))).toEqual(after);
      expect(changed.has(1)).toBe(false);
      expect(changedFields(everything, after, after)).toEqual([]);
    }),
    parameters,
  );
});

function documentOfBytes(bytes: Uint8Array): Document {
  return { _id: "a", ...documentOf(everything, fromBinary(everything.message, bytes)) };
}

test("canonical: fields are written in number order, defaults left out", () => {
  expect([...encode({ _id: "a", flag: true, text: "x", small: 0, texts: [], part: null })]).toEqual([
    ...[0x0a, 1, 97, 0x12, 1, 120, 0x18, 1],
  ]);
  expect(field("text").number).toBe(2);
});

test("canonical: a UUID is the same value as its Binary", () => {
  const value = new UUID();
  expect(encode({ _id: "a", uuid: new Binary(value.buffer, 4) })).toEqual(encode({ _id: "a", uuid: value }));
});
