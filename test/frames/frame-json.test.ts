// Frames printed from their bytes, against what they decode to.
import {
  create,
  fromBinary,
  type JsonObject,
  type MessageInitShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import { frameJson } from "../../src/frames/frame-json.ts";

type Frame = NonNullable<MessageInitShape<typeof PullChangesResponseSchema>["frame"]>;

function printed(frame: Frame) {
  const bytes = toBinary(PullChangesResponseSchema, create(PullChangesResponseSchema, { frame }));
  const expected = toJson(PullChangesResponseSchema, fromBinary(PullChangesResponseSchema, bytes));
  return { actual: JSON.parse(frameJson(bytes).toString()), expected };
}

const text = fc.string({ unit: "binary", maxLength: 80 });
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const bytes = fc.uint8Array({ maxLength: 50 });
const duration = fc.record({ seconds: fc.bigInt({ min: 0n, max: 10_000n }), nanos: fc.nat(999_999_999) });
const numbers = fc.array(fc.integer({ min: 1, max: 2 ** 29 - 1 }), { maxLength: 4 });
const struct = fc
  .dictionary(text, fc.jsonValue({ maxDepth: 3 }), { maxKeys: 5, noNullPrototype: true })
  .map((json): JsonObject => JSON.parse(JSON.stringify(json)));
const record = fc.oneof(
  bytes.map((value) => ({ form: { case: "proto" as const, value } })),
  struct.map((value) => ({ form: { case: "json" as const, value } })),
);
const change = fc.record({
  collection: text,
  recordId: text,
  version: int64,
  kind: fc.oneof(
    fc.record({ case: fc.constant("put" as const), value: fc.record({ record, changed: numbers }) }),
    fc.record({ case: fc.constant("remove" as const), value: fc.record({ reason: fc.nat(3) }) }),
  ),
});
const cursor = fc.record({ subscription: text, position: int64, checkpoint: int64 });
const opened = fc.record({
  cursor,
  head: int64,
  backlog: int64,
  heartbeatInterval: duration,
  unavailable: fc.array(fc.record({ collection: text, recordId: text, reason: fc.nat(3) }), { maxLength: 3 }),
  schema: text,
});
const part = fc.record({
  collection: text,
  recordId: text,
  version: int64,
  data: bytes,
  offset: int64,
  totalBytes: int64,
  changed: numbers,
});
const checkpoint = fc.record({
  position: int64,
  commitClock: int64,
  time: fc.record({ seconds: fc.bigInt({ min: 0n, max: 4_000_000_000n }), nanos: fc.nat(999_999_999) }),
});
const frame = fc.oneof(
  opened.map((value) => ({ case: "opened" as const, value })),
  fc
    .record({ changes: fc.array(change, { maxLength: 4 }), position: int64 })
    .map((value) => ({ case: "batch" as const, value })),
  part.map((value) => ({ case: "part" as const, value })),
  checkpoint.map((value) => ({ case: "checkpoint" as const, value })),
  fc
    .record({ reason: fc.nat(3), collections: fc.array(text, { maxLength: 3 }) })
    .map((value) => ({ case: "reset" as const, value })),
  fc.record({ reason: fc.nat(3), retryAfter: duration }).map((value) => ({ case: "closed" as const, value })),
);

describe("frames: JSON", () => {
  it("frames of every kind → what they decode to, as JSON", () => {
    fc.assert(
      fc.property(frame, (value) => {
        const { actual, expected } = printed(value as Frame);
        expect(actual).toEqual(expected);
      }),
      { numRuns: 3_000 },
    );
  });

  it("an empty batch, an absent record → as they decode", () => {
    const batch = printed({ case: "batch", value: {} });
    expect(batch.actual).toEqual(batch.expected);
    const put = { case: "put" as const, value: { record: {} } };
    const bare = printed({ case: "batch", value: { changes: [{ kind: put }] } });
    expect(bare.actual).toEqual(bare.expected);
  });

  it("a key that is __proto__, text with escapes → kept", () => {
    const json: JsonObject = JSON.parse('{"__proto__": "a\\u0000\\"\\\\\\u2028", "ключ": [1.5, -0]}');
    const put = { case: "put" as const, value: { record: { form: { case: "json" as const, value: json } } } };
    const bytes = toBinary(
      PullChangesResponseSchema,
      create(PullChangesResponseSchema, { frame: { case: "batch", value: { changes: [{ kind: put }] } } }),
    );
    expect(frameJson(bytes).toString()).toContain('{"__proto__":"a\\u0000\\"\\\\\u2028","ключ":[1.5,0]}');
  });
});
