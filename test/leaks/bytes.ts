// From the bytes of a connection to what was said on it: HTTP/2 frames put together by stream, HTTP/1.1 bodies out of
// their chunks, messages out of their envelopes, all inflated. Nothing is left out: what belongs to no body is handed
// back beside it.
import { inflated } from "./canaries.ts";

export interface Said {
  /** By HTTP/2 stream; of HTTP/1.1, under 1. */
  readonly bodies: ReadonlyMap<number, Buffer>;
  /** Frames other than data, heads of answers. */
  readonly rest: readonly Buffer[];
}

const FRAME_HEAD_BYTES = 9;
const DATA = 0;

export function readHttp2(received: readonly Buffer[]): Said {
  const bytes = Buffer.concat(received);
  const bodies = new Map<number, Buffer[]>();
  const rest: Buffer[] = [];
  let at = 0;
  while (at + FRAME_HEAD_BYTES <= bytes.length) {
    const end = at + FRAME_HEAD_BYTES + bytes.readUIntBE(at, 3);
    const payload = bytes.subarray(at + FRAME_HEAD_BYTES, end);
    const stream = bytes.readUInt32BE(at + 5) & 0x7fffffff;
    if (bytes[at + 3] === DATA) {
      const body = bodies.get(stream) ?? [];
      bodies.set(stream, body);
      body.push(payload);
    } else rest.push(payload);
    at = end;
  }
  if (at < bytes.length) rest.push(bytes.subarray(at));
  return { bodies: new Map([...bodies].map(([stream, body]) => [stream, Buffer.concat(body)])), rest };
}

/** Of a connection with one request. */
export function readHttp1(received: readonly Buffer[]): Said {
  const bytes = Buffer.concat(received);
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return { bodies: new Map(), rest: [bytes] };
  const head = bytes.subarray(0, end);
  const body = bytes.subarray(end + 4);
  const isChunked = /^transfer-encoding: *chunked/im.test(head.toString("latin1"));
  if (!isChunked) return { bodies: new Map([[1, body]]), rest: [head] };
  const { whole, after } = dechunked(body);
  return { bodies: new Map([[1, whole]]), rest: [head, after] };
}

function dechunked(body: Buffer): { whole: Buffer; after: Buffer } {
  const chunks: Buffer[] = [];
  let at = 0;
  for (;;) {
    const line = body.indexOf("\r\n", at);
    const size = line < 0 ? Number.NaN : Number.parseInt(body.toString("latin1", at, line), 16);
    if (!(size > 0)) break;
    chunks.push(body.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
  return { whole: Buffer.concat(chunks), after: body.subarray(Math.min(at, body.length)) };
}

export interface Envelope {
  readonly flags: number;
  /** Inflated. */
  readonly message: Uint8Array;
}

const ENVELOPE_HEAD_BYTES = 5;
const COMPRESSED = 1;

/** The messages of a body; a last one that wasn't sent whole comes as far as it was sent. */
export function envelopesIn(body: Buffer): Envelope[] {
  const envelopes: Envelope[] = [];
  for (let at = 0; at + ENVELOPE_HEAD_BYTES <= body.length; ) {
    const flags = body[at] ?? 0;
    const end = at + ENVELOPE_HEAD_BYTES + body.readUInt32BE(at + 1);
    const message = body.subarray(at + ENVELOPE_HEAD_BYTES, end);
    envelopes.push({ flags, message: flags & COMPRESSED ? inflated(message) : message });
    at = end;
  }
  return envelopes;
}

/** A message in its envelope, as clients send it. */
export function enveloped(message: Uint8Array): Buffer {
  const head = Buffer.alloc(ENVELOPE_HEAD_BYTES);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
