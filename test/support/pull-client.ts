// A client of the contract, as a phone would be: keeps records as bytes, applies deltas without any generated class,
// keeps its cursor, obeys resets. Fails at once on what the contract forbids.
import { clone, create } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import type { Change, Put } from "#gen/tidemark/v1/change_pb.js";
import { type Cursor, CursorSchema } from "#gen/tidemark/v1/cursor_pb.js";
import type { Checkpoint, Opened, Part, Reset } from "#gen/tidemark/v1/frame_pb.js";
import type { PullChangesResponse } from "#gen/tidemark/v1/pull_changes_pb.js";

export interface HeldRecord {
  readonly bytes: Uint8Array;
  readonly version: bigint;
}

/** What a client would find on its disk after a crash. */
export interface Stored {
  readonly records: ReadonlyMap<string, HeldRecord>;
  readonly cursor: Cursor | undefined;
  readonly awaited: ReadonlySet<string> | undefined;
}

export class PullClient {
  /** `<collection>/<record id>` → the record. */
  readonly records = new Map<string, HeldRecord>();
  cursor: Cursor | undefined;
  opened: Opened | undefined;
  /** After a reset: records held before and not put again yet. */
  #awaited: Set<string> | undefined;
  #parts: Uint8Array[] = [];

  /** Applies one frame; returns the checkpoint if it is one. */
  apply({ frame }: PullChangesResponse): Checkpoint | undefined {
    switch (frame.case) {
      case "opened":
        this.#open(frame.value);
        return undefined;
      case "batch":
        for (const change of frame.value.changes) this.#change(change);
        this.#move({ position: frame.value.position });
        return undefined;
      case "part":
        this.#part(frame.value);
        return undefined;
      case "checkpoint":
        this.#move({ position: frame.value.position, checkpoint: frame.value.position });
        for (const key of this.#awaited ?? []) this.records.delete(key);
        this.#awaited = undefined;
        return frame.value;
      case "reset":
        this.#reset(frame.value);
        return undefined;
      default:
        return undefined;
    }
  }

  store(): Stored {
    const cursor = this.cursor && clone(CursorSchema, this.cursor);
    const awaited = this.#awaited && new Set(this.#awaited);
    return { records: new Map(this.records), cursor, awaited };
  }

  static restored({ records, cursor, awaited }: Stored): PullClient {
    const client = new PullClient();
    for (const [key, record] of records) client.records.set(key, record);
    client.cursor = cursor && clone(CursorSchema, cursor);
    client.#awaited = awaited && new Set(awaited);
    return client;
  }

  #open(opened: Opened): void {
    if (!opened.cursor) throw new Error("Opened without a cursor");
    this.opened = opened;
    this.cursor = clone(CursorSchema, opened.cursor);
  }

  #move(to: { position: bigint; checkpoint?: bigint }): void {
    if (!this.cursor) throw new Error("a frame that moves the cursor came before Opened");
    this.cursor = create(CursorSchema, { ...this.cursor, ...to });
  }

  #reset({ collections }: Reset): void {
    const concerned = [...this.records.keys()].filter(
      (key) => collections.length === 0 || collections.includes(key.slice(0, key.indexOf("/"))),
    );
    this.#awaited = new Set([...(this.#awaited ?? []), ...concerned]);
  }

  #change({ collection, recordId, version, kind }: Change): void {
    const key = `${collection}/${recordId}`;
    if (kind.case === "remove") this.records.delete(key);
    else if (kind.case === "put") this.#put(key, version, putOf(kind.value));
    else throw new Error("a kind of change this client doesn't know");
    this.#awaited?.delete(key);
  }

  #put(
    key: string,
    version: bigint,
    { bytes, changed }: { bytes: Uint8Array; changed: readonly number[] },
  ): void {
    const held = this.records.get(key);
    const awaited = this.#awaited?.has(key) ?? false;
    if (held && !awaited && version < held.version) throw new Error(`P1: ${key} fell to version ${version}`);
    if (changed.length === 0) {
      this.records.set(key, { bytes, version });
      return;
    }
    if (!held || awaited) throw new Error(`a delta for ${key}, which this client doesn't hold`);
    this.records.set(key, { bytes: merged(held.bytes, bytes, changed), version });
  }

  #part({ collection, recordId, version, data, offset, totalBytes, changed }: Part): void {
    if (offset === 0n) this.#parts = [];
    const before = this.#parts.reduce((sum, part) => sum + part.length, 0);
    if (BigInt(before) !== offset) throw new Error(`a part at ${offset} after ${before} bytes`);
    this.#parts.push(data);
    if (offset + BigInt(data.length) !== totalBytes) return;
    const key = `${collection}/${recordId}`;
    this.#put(key, version, { bytes: Buffer.concat(this.#parts), changed });
    this.#awaited?.delete(key);
    this.#parts = [];
  }
}

function putOf({ record, changed }: Put): { bytes: Uint8Array; changed: readonly number[] } {
  if (record?.form.case !== "proto") throw new Error("this client asks for PROTO form");
  return { bytes: record.form.value, changed };
}

/** The contract's way to apply a delta: drop the fields in `changed`, append the delta. */
function merged(held: Uint8Array, delta: Uint8Array, changed: readonly number[]): Uint8Array {
  const reader = new BinaryReader(held);
  const kept: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [field, wireType] = reader.tag();
    reader.skip(wireType, field);
    if (!changed.includes(field)) kept.push(held.subarray(start, reader.pos));
  }
  return Buffer.concat([...kept, delta]);
}
