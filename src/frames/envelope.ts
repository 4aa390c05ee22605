// The five bytes that gRPC, gRPC-web and Connect's streams put before each message: flags and a length.

export const ENVELOPE_HEAD_BYTES = 5;

/** @param flags as the protocol has them; 0: a message, not compressed. */
export function writeEnvelopeHead(into: Buffer, messageBytes: number, { at = 0, flags = 0 } = {}): void {
  into[at] = flags;
  into.writeUInt32BE(messageBytes, at + 1);
}
