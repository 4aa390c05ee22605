// The load client's thread: opens streams of PullChanges on a few connections and tells what the bench asked for. It
// counts and skips; nothing is decoded.
import { parentPort, workerData } from "node:worker_threads";
import { countChanges, Envelopes, eachField, enveloped, firstField } from "./envelopes.ts";
import { H2Client } from "./h2-client.ts";

export interface LoadData {
  readonly url: string;
  /** One stream each. */
  readonly tokens: readonly string[];
  readonly connections: number;
  readonly collection: string;
  readonly mode: "CATCH_UP" | "FOLLOW";
  readonly codec: "PROTO" | "JSON";
  /** Takes as much as the windows hold, and then no more. */
  readonly isStalled: boolean;
  /** To resume from, as the client's last checkpoint left it; default: from the beginning. */
  readonly cursor?: Uint8Array;
  /** When the write was begun that set an item's count to `base + n`: ms since 1970, shared. */
  readonly starts?: SharedArrayBuffer;
  readonly base: number;
  /** Deliveries to wait for; 0: none. */
  readonly expected: number;
  /** Tells what has arrived so often; 0: never. */
  readonly tellEveryMs: number;
}

/**
 * Streams are open and at a checkpoint; all have had as many removes as they had records, and a checkpoint after that;
 * the streams have ended; all expected deliveries have arrived, or what has so far.
 */
export type LoadMessage =
  | { readonly kind: "following" }
  | { readonly kind: "emptied"; readonly atMs: number }
  | {
      readonly kind: "done";
      readonly ms: number;
      readonly changes: number;
      /** Of messages, and of all that came over the connections. */
      readonly bytes: number;
      readonly wireBytes: number;
      readonly cursor: Uint8Array;
    }
  | { readonly kind: "arrived"; readonly deliveries: number; readonly sortedMs: Float64Array }
  | { readonly kind: "progress"; readonly deliveries: number };

const COUNT_FIELD = 7;
/** PullChangesResponse: opened, batch, checkpoint. */
const FRAME = { opened: 1, batch: 2, checkpoint: 4 } as const;
const data = workerData as LoadData;
const starts = data.starts && new Float64Array(data.starts);
const sampleMs = new Float64Array(Math.min(data.expected, 4_000_000));
let deliveries = 0;
let following = 0;
let emptied = 0;
let ended = 0;
let changes = 0;
let bytes = 0;

const startMs = performance.now();
const clients = await Promise.all(
  Array.from({ length: data.connections }, () =>
    H2Client.open(data.url, data.isStalled ? { windowBytes: 65_535, isStalled: true } : {}),
  ),
);
if (data.tellEveryMs > 0) {
  setInterval(() => tell({ kind: "progress", deliveries }), data.tellEveryMs).unref();
}
for (const [index, token] of data.tokens.entries()) {
  const client = clients[index % clients.length];
  if (client) pull(client, token);
}

function pull(client: H2Client, token: string): void {
  const contentType = data.codec === "PROTO" ? "application/grpc+proto" : "application/connect+json";
  const headers = { "content-type": contentType, te: "trailers", authorization: `Bearer ${token}` };
  const stream = { isAtCheckpoint: false, held: 0 };
  const onMessage = data.codec === "PROTO" ? takeProto : takeJson;
  const envelopes = new Envelopes((message, flags) => {
    if (flags === 0) onMessage(message, stream);
  });
  client.post("/tidemark.v1.SyncService/PullChanges", headers, enveloped(request()), {
    onData(chunk) {
      bytes += chunk.length;
      envelopes.push(chunk);
    },
    onEnd(error) {
      if (error !== undefined) throw new Error(`a stream was cut: ${error}`);
      if (data.mode === "FOLLOW") throw new Error("the server ended a stream that was to go on");
      if (++ended === data.tokens.length) tellDone();
    },
  });
}

interface StreamState {
  isAtCheckpoint: boolean;
  /** Records it has. */
  held: number;
}

function takeProto(message: Buffer, stream: StreamState): void {
  const [kind, payload] = firstField(message);
  if (kind === FRAME.batch) takeBatch(payload, stream);
  else if (kind === FRAME.opened) eachField(payload, (no, field) => keepCursor(no, field));
  else if (kind === FRAME.checkpoint) takeCheckpoint(payload, stream);
}

/** Live, every stream is sent the same bytes: they are looked at once. */
let lastBatch: Buffer = Buffer.alloc(0);
let lastCounts: number[] = [];
let lastRemoves = 0;

function takeBatch(payload: Buffer, stream: StreamState): void {
  if (!stream.isAtCheckpoint) {
    const { puts, removes } = countChanges(payload);
    changes += puts + removes;
    stream.held += puts - removes;
    return;
  }
  if (!lastBatch.equals(payload)) {
    lastBatch = Buffer.from(payload);
    lastCounts = [];
    lastRemoves = 0;
    eachField(payload, (no, change) => {
      if (no !== 1) return;
      if (isRemove(change)) lastRemoves++;
      lastCounts.push(countOf(change));
    });
  }
  stream.held -= lastRemoves;
  const nowMs = performance.timeOrigin + performance.now();
  for (const count of lastCounts) {
    const writtenMs = starts?.[count - data.base];
    if (writtenMs !== undefined && deliveries < sampleMs.length) sampleMs[deliveries] = nowMs - writtenMs;
    deliveries++;
  }
  if (data.expected > 0 && deliveries >= data.expected) tellArrived();
}

function takeCheckpoint(payload: Buffer, stream: StreamState): void {
  if (!stream.isAtCheckpoint) {
    stream.isAtCheckpoint = true;
    eachField(payload, (no, _, value) => {
      if (no === 1) checkpoint = value;
    });
    if (++following === data.tokens.length) tell({ kind: "following" });
  } else if (stream.held === 0 && ++emptied === data.tokens.length) {
    tell({ kind: "emptied", atMs: performance.timeOrigin + performance.now() });
  }
}

let subscription: Buffer = Buffer.alloc(0);
let checkpoint = 0;

/** Opened.cursor.subscription */
function keepCursor(no: number, field: Buffer): void {
  if (no !== 1) return;
  eachField(field, (inCursor, text) => {
    if (inCursor === 1) subscription = Buffer.from(text);
  });
}

/** A Cursor whose position and checkpoint are the last checkpoint's. */
function cursorBytes(): Buffer {
  const numbers = [0x10, ...varintOf(checkpoint), 0x18, ...varintOf(checkpoint)];
  return Buffer.concat([field(1, subscription), Buffer.from(numbers)]);
}

function takeJson(text: Buffer): void {
  // A change names its version once; no text of the bench's items does.
  for (let at = text.indexOf(VERSION); at >= 0; at = text.indexOf(VERSION, at + VERSION.length)) changes++;
}

const VERSION = Buffer.from('"version":');

function tellDone(): void {
  const wireBytes = clients.reduce((sum, client) => sum + client.bytesRead, 0);
  const done = { ms: performance.now() - startMs, changes, bytes, wireBytes, cursor: cursorBytes() };
  tell({ kind: "done", ...done });
}

function tellArrived(): void {
  const sortedMs = sampleMs.slice(0, Math.min(deliveries, sampleMs.length)).sort();
  tell({ kind: "arrived", deliveries, sortedMs });
}

function tell(message: LoadMessage): void {
  parentPort?.postMessage(message);
}

/** PullChangesRequest: selections [{collection}], cursor, mode. */
function request(): Buffer {
  if (data.codec === "JSON") {
    const mode = data.mode === "CATCH_UP" ? "PULL_MODE_CATCH_UP" : "PULL_MODE_FOLLOW";
    return Buffer.from(JSON.stringify({ selections: [{ collection: data.collection }], mode }));
  }
  return Buffer.concat([
    field(1, field(1, Buffer.from(data.collection))),
    ...(data.cursor ? [field(2, Buffer.from(data.cursor))] : []),
    Buffer.from([0x18, data.mode === "CATCH_UP" ? 2 : 1]),
  ]);
}

function field(no: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(no << 3) | 2, ...varintOf(payload.length)]), payload]);
}

function varintOf(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) out.push((rest % 0x80) | 0x80);
  return [...out, rest];
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
        eachField(item, (itemField, _payload, value) => {
          if (itemField === COUNT_FIELD) count = value;
        }),
      );
    });
  });
  return count;
}
