// Frames as bytes on the wire: each in the five-byte envelope that gRPC, gRPC-web and Connect's streams share, in
// protobuf's binary form or as JSON. What a thousand subscribers are sent is put together once: by the identity of what
// they were all given.
import { frameJson } from "../../frames/frame-json.ts";
import type { Codec } from "../codec.ts";

export interface Message {
  readonly isPersonal: boolean;
  /** In protobuf's binary form. */
  readonly bytes: Uint8Array;
}

/** Messages to be sent in one go; the same object for all who are sent the same. */
export type Messages = readonly Message[];

export interface Wire {
  /** All of them, enveloped. Shared: never changed. */
  readonly buffer: Buffer;
  /** Of the messages alone. */
  readonly messageBytes: number;
  /** Meant for one client alone. */
  readonly isPersonal: boolean;
}

const ENVELOPE_BYTES = 5;

const known: { readonly [C in Codec]: WeakMap<Messages, Wire> } = {
  PROTO: new WeakMap(),
  JSON: new WeakMap(),
};

let last: { readonly messages: Messages; readonly codec: Codec; readonly wire: Wire } | undefined;

export function wireOf(messages: Messages, codec: Codec): Wire {
  // A step goes to all of its subscribers one after the other.
  if (last?.messages === messages && last.codec === codec) return last.wire;
  const wire = known[codec].get(messages) ?? make(messages, codec);
  last = { messages, codec, wire };
  return wire;
}

function make(messages: Messages, codec: Codec): Wire {
  const bodies = messages.map(({ bytes }) => (codec === "PROTO" ? bytes : frameJson(bytes)));
  const wire = {
    buffer: enveloped(bodies, NO_FLAGS),
    messageBytes: bodies.reduce((sum, { length }) => sum + length, 0),
    isPersonal: messages.some(({ isPersonal }) => isPersonal),
  };
  known[codec].set(messages, wire);
  return wire;
}

/** The last envelope of a stream, which is no message. */
export function endEnvelope(flags: number, body: Uint8Array): Buffer {
  return enveloped([body], flags);
}

const NO_FLAGS = 0;

function enveloped(bodies: readonly Uint8Array[], flags: number): Buffer {
  const size = bodies.reduce((sum, { length }) => sum + ENVELOPE_BYTES + length, 0);
  const buffer = Buffer.allocUnsafe(size);
  let at = 0;
  for (const body of bodies) {
    buffer[at] = flags;
    buffer.writeUInt32BE(body.length, at + 1);
    buffer.set(body, at + ENVELOPE_BYTES);
    at += ENVELOPE_BYTES + body.length;
  }
  return buffer;
}
