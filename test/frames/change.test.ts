// The hand-made encoding equals the generated code's, at every size at which a length takes another byte.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { RemoveReason } from "#gen/tidemark/v1/change_pb.js";
import { BatchSchema } from "#gen/tidemark/v1/frame_pb.js";
import { PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import { batchFrame } from "../../src/frames/batch.ts";
import { encodePut, encodeRemove, PARTS_ABOVE_BYTES, type PutSource } from "../../src/frames/change.ts";

type BatchInit = MessageInitShape<typeof BatchSchema>;

function generated(batch: BatchInit): string {
  const frame = { case: "batch" as const, value: create(BatchSchema, batch) };
  return Buffer.from(
    toBinary(PullChangesResponseSchema, create(PullChangesResponseSchema, { frame })),
  ).toString("hex");
}

function inline(source: PutSource): Uint8Array {
  const change = encodePut(source);
  if (change.kind !== "inline") throw new Error("expected to fit a batch");
  return change.bytes;
}

/** A record of a string field 2 that has this many bytes in all. */
function recordOf(size: number): Uint8Array {
  return new Uint8Array(size).fill(0x41);
}

const sizes = [0, 1, 100, 117, 118, 119, 120, 121, 122, 127, 128, 129, 16_370, 16_384, 16_400, 2_097_152];
const versions = [1, 127, 128, 2 ** 31, 2 ** 32, 2 ** 35 + 7, Number.MAX_SAFE_INTEGER];

describe("frames: batches", () => {
  it.each(sizes.filter((size) => size <= PARTS_ABOVE_BYTES))(
    "a whole put of %i bytes → as generated",
    (size) => {
      const key = { collection: "todos", recordId: "ré-1", version: 300 };
      const record = recordOf(size);
      const put = { record: { form: { case: "proto" as const, value: record } } };
      const change = { ...key, version: 300n, kind: { case: "put" as const, value: put } };
      const frame = batchFrame([inline({ ...key, record, changed: [] })], 300);
      expect(Buffer.from(frame.bytes).toString("hex")).toBe(generated({ changes: [change], position: 300n }));
    },
  );

  it.each(versions)("version and position %i → as generated", (version) => {
    const key = { collection: "c", recordId: "r", version };
    const remove = encodeRemove(key, "REVOKED");
    const change = {
      ...key,
      version: BigInt(version),
      kind: { case: "remove" as const, value: { reason: RemoveReason.REVOKED } },
    };
    const frame = batchFrame([remove.bytes, remove.bytes], version);
    const twice = generated({ changes: [change, change], position: BigInt(version) });
    expect(Buffer.from(frame.bytes).toString("hex")).toBe(twice);
  });

  it("a delta → the picked fields and their numbers, as generated", () => {
    // Fields 2 ("A"), 3 ("B") and 500 ("C").
    const record = Uint8Array.of(0x12, 1, 0x41, 0x1a, 1, 0x42, 0xa2, 0x1f, 1, 0x43);
    const key = { collection: "c", recordId: "r", version: 9 };
    const put = {
      record: { form: { case: "proto" as const, value: Uint8Array.of(0x1a, 1, 0x42, 0xa2, 0x1f, 1, 0x43) } },
      changed: [3, 4, 500],
    };
    const change = { ...key, version: 9n, kind: { case: "put" as const, value: put } };
    const frame = batchFrame([inline({ ...key, record, changed: [3, 4, 500] })], 9);
    expect(Buffer.from(frame.bytes).toString("hex")).toBe(generated({ changes: [change], position: 9n }));
  });

  it("no changes at position 0 → as generated", () => {
    expect(Buffer.from(batchFrame([], 0).bytes).toString("hex")).toBe(generated({}));
  });

  it("just above the limit → in parts", () => {
    const source = { collection: "c", recordId: "r", version: 1, changed: [] };
    expect(encodePut({ ...source, record: recordOf(PARTS_ABOVE_BYTES) }).kind).toBe("inline");
    expect(encodePut({ ...source, record: recordOf(PARTS_ABOVE_BYTES + 1) }).kind).toBe("parts");
  });
});
