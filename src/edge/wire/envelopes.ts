// Frames as bytes on the wire: each in the five-byte envelope that gRPC, gRPC-web and Connect's streams share, in
// protobuf's binary form or as JSON. What a thousand subscribers are sent is put together once: by the identity of what
// they were all given.
import { ENVELOPE_HEAD_BYTES, writeEnvelopeHead } from "../../frames/envelope.ts";
import { frameJson } from "../../frames/frame-json.ts";

export interface Message {
  readonly isPersonal: boolean;
  /** In protobuf's binary form. */
  readonly bytes: Uint8Array;
  /** The same with an envelope's head before it; undefined: to be made. */
  readonly enveloped: Buffer | undefined;
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

/** How an encoding sends messages: in their binary form as they are, or as `bodyOf` makes them. */
export function createWire(bodyOf?: (bytes: Uint8Array) => Uint8Array): (messages: Messages) => Wire {
  const known = new WeakMap<Messages, Wire>();
  let last: { readonly messages: Messages; readonly wire: Wire } | undefined;
  return (messages) => {
    // A step goes to all of its subscribers one after the other.
    if (last?.messages === messages) return last.wire;
    const wire = known.get(messages) ?? make(messages);
    last = { messages, wire };
    return wire;
  };

  function make(messages: Messages): Wire {
    const bodies = messages.map(({ bytes }) => (bodyOf ? bodyOf(bytes) : bytes));
    const ready = bodyOf === undefined && messages.length === 1 ? messages[0]?.enveloped : undefined;
    const wire = {
      buffer: ready ?? enveloped(bodies, NO_FLAGS),
      messageBytes: bodies.reduce((sum, { length }) => sum + length, 0),
      isPersonal: messages.some(({ isPersonal }) => isPersonal),
    };
    known.set(messages, wire);
    return wire;
  }
}

/** Of PullChanges. */
export const frameWire = { PROTO: createWire(), JSON: createWire(frameJson) } as const;

/** The last envelope of a stream, which is no message. */
export function endEnvelope(flags: number, body: Uint8Array): Buffer {
  return enveloped([body], flags);
}

const NO_FLAGS = 0;

function enveloped(bodies: readonly Uint8Array[], flags: number): Buffer {
  const size = bodies.reduce((sum, { length }) => sum + ENVELOPE_HEAD_BYTES + length, 0);
  const buffer = Buffer.allocUnsafe(size);
  let at = 0;
  for (const body of bodies) {
    writeEnvelopeHead(buffer, body.length, { at, flags });
    buffer.set(body, at + ENVELOPE_HEAD_BYTES);
    at += ENVELOPE_HEAD_BYTES + body.length;
  }
  return buffer;
}
