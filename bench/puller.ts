// A light gRPC client for PullChanges, in a worker thread: raw HTTP/2, envelopes counted, changes found by skipping
// over the bytes. What it costs must not be taken for the server's cost.
import http2 from "node:http2";
import { parentPort, workerData } from "node:worker_threads";

export interface PullerData {
  readonly url: string;
  /** One stream each. */
  readonly tokens: readonly string[];
  readonly collection: string;
  readonly mode: "CATCH_UP" | "FOLLOW";
}

/**
 * To the bench: streams are open and at a checkpoint; all have had as many removes as they had records, and a checkpoint
 * after that; a catch-up has ended; changes have arrived.
 */
export type PullerMessage =
  | { readonly kind: "following" }
  | { readonly kind: "emptied"; readonly atMs: number }
  | { readonly kind: "done"; readonly ms: number; readonly changes: number; readonly bytes: number }
  | { readonly kind: "seen"; readonly counts: readonly number[]; readonly atMs: number };

const WINDOW_BYTES = 16 << 20;
const COUNT_FIELD = 7;
const { url, tokens, collection, mode } = workerData as PullerData;

/** Cuts a byte stream into enveloped messages. */
class Envelopes {
  #rest: Buffer = Buffer.alloc(0);
  readonly #onFrame: (frame: Buffer) => void;

  constructor(onFrame: (frame: Buffer) => void) {
    this.#onFrame = onFrame;
  }

  push(chunk: Buffer): void {
    let buffer = this.#rest.length ? Buffer.concat([this.#rest, chunk]) : chunk;
    while (buffer.length >= 5) {
      const end = 5 + buffer.readUInt32BE(1);
      if (buffer.length < end) break;
      this.#onFrame(buffer.subarray(5, end));
      buffer = buffer.subarray(end);
    }
    this.#rest = buffer;
  }
}

const session = http2.connect(url, { settings: { initialWindowSize: WINDOW_BYTES } });
session.on("connect", () => session.setLocalWindowSize(WINDOW_BYTES * 4));
let following = 0;
let emptied = 0;
for (const token of tokens) pull(token);

function pull(token: string): void {
  let held = 0;
  const startMs = performance.now();
  let bytes = 0;
  let changes = 0;
  let atCheckpoint = false;
  const stream = session.request({
    ":method": "POST",
    ":path": "/tidemark.v1.SyncService/PullChanges",
    "content-type": "application/grpc+proto",
    te: "trailers",
    authorization: `Bearer ${token}`,
  });
  stream.end(envelope(request()));
  const frames = new Envelopes((frame) => {
    const [field, payload] = firstField(frame);
    if (field === 2) {
      const counts: number[] = [];
      eachField(payload, (no, change) => {
        if (no !== 1) return;
        changes++;
        held += isRemove(change) ? -1 : 1;
        if (atCheckpoint) counts.push(countOf(change));
      });
      if (counts.length) post({ kind: "seen", counts, atMs: nowMs() });
    } else if (field === 4 && !atCheckpoint) {
      atCheckpoint = true;
      if (mode === "FOLLOW" && ++following === tokens.length) post({ kind: "following" });
    } else if (field === 4 && held === 0 && changes > 0) {
      held = Number.NaN;
      if (++emptied === tokens.length) post({ kind: "emptied", atMs: nowMs() });
    }
  });
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    frames.push(chunk);
  });
  stream.on("end", () => {
    post({ kind: "done", ms: performance.now() - startMs, changes, bytes });
    session.close();
  });
  stream.on("error", (error) => {
    throw error;
  });
}

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

function post(message: PullerMessage): void {
  parentPort?.postMessage(message);
}

/** PullChangesRequest: selections [{collection}], mode, heartbeat default. */
function request(): Buffer {
  const name = Buffer.from(collection);
  const selection = Buffer.concat([Buffer.from([0x0a, name.length]), name]);
  return Buffer.concat([
    Buffer.from([0x0a, selection.length]),
    selection,
    Buffer.from([0x18, mode === "CATCH_UP" ? 2 : 1]),
  ]);
}

function envelope(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function varint(bytes: Buffer, at: number): [value: number, next: number] {
  let value = 0;
  let scale = 1;
  for (let i = at; ; i++) {
    const byte = bytes[i] ?? 0;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return [value, i + 1];
    scale *= 128;
  }
}

function eachField(bytes: Buffer, visit: (no: number, payload: Buffer, value: number) => void): void {
  let at = 0;
  while (at < bytes.length) {
    const [tag, next] = varint(bytes, at);
    const [value, after] = varint(bytes, next);
    const isBytes = (tag & 7) === 2;
    at = isBytes ? after + value : after;
    visit(tag >>> 3, isBytes ? bytes.subarray(after, at) : bytes.subarray(0, 0), value);
  }
}

function firstField(bytes: Buffer): [no: number, payload: Buffer] {
  const [tag, next] = varint(bytes, 0);
  const [length, after] = varint(bytes, next);
  return [tag >>> 3, bytes.subarray(after, after + length)];
}

/** Of Change.remove. */
function isRemove(change: Buffer): boolean {
  let found = false;
  eachField(change, (no) => {
    if (no === 5) found = true;
  });
  return found;
}

/** The item's `count` in Change.put.record.proto; NaN if it isn't there. */
function countOf(change: Buffer): number {
  let count = Number.NaN;
  eachField(change, (no, put) => {
    if (no !== 4) return;
    eachField(put, (inPut, record) => {
      if (inPut !== 1) return;
      eachField(record, (_form, item) =>
        eachField(item, (field, _payload, value) => {
          if (field === COUNT_FIELD) count = value;
        }),
      );
    });
  });
  return count;
}
