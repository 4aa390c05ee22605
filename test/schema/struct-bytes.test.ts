// Structs written from JSON, against those of the protobuf library.
import { fromBinary, fromJson, type JsonObject, toBinary, toJson } from "@bufbuild/protobuf";
import { StructSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { structBytesOf } from "../../src/schema/struct-bytes.ts";

function back(bytes: Uint8Array) {
  return toJson(StructSchema, fromBinary(StructSchema, bytes));
}

describe("schema: JSON as a Struct", () => {
  it("any JSON object → the very bytes the library writes", () => {
    const text = fc.string({ unit: "binary", maxLength: 150 });
    const value = fc.jsonValue({ maxDepth: 4, stringUnit: "binary" });
    fc.assert(
      fc.property(fc.dictionary(text, value, { noNullPrototype: true }), (object) => {
        const json: JsonObject = JSON.parse(JSON.stringify(object));
        const expected = toBinary(StructSchema, fromJson(StructSchema, json));
        expect(Buffer.from(structBytesOf(json)).equals(expected)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it("larger than any buffer before, then a small one → both whole", () => {
    const large = { a: "x".repeat(100_000), ключ: ["я".repeat(70_000), 1, null, true, { b: -0.5 }] };
    expect(back(structBytesOf(large))).toEqual(large);
    expect(back(structBytesOf({ c: [] }))).toEqual({ c: [] });
    expect(structBytesOf({})).toHaveLength(0);
  });

  it("a key that is __proto__ → kept", () => {
    const json: JsonObject = JSON.parse('{"__proto__": {"a": 1}}');
    expect(JSON.stringify(back(structBytesOf(json)))).toBe('{"__proto__":{"a":1}}');
  });
});
