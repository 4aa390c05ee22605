// What comes in a stream: cuts its bytes into enveloped messages, and skips over protobuf to what the bench looks for.

/** Cuts a byte stream into envelopes, wherever its chunks were cut. */
export class Envelopes {
  readonly #onMessage: (message: Buffer, flags: number) => void;
  /** Of a message that hasn't wholly come. */
  #rest: Buffer = Buffer.alloc(0);
  #restBytes = 0;

  /** @param onMessage is given bytes that are valid only during the call. */
  constructor(onMessage: (message: Buffer, flags: number) => void) {
    this.#onMessage = onMessage;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (this.#restBytes > 0 && at < chunk.length) {
      const needed = this.#needed();
      const taken = chunk.copy(this.#rest, this.#restBytes, at, at + needed - this.#restBytes);
      this.#restBytes += taken;
      at += taken;
      if (this.#restBytes < needed || this.#restBytes === HEAD_BYTES) this.#makeRoom();
      if (this.#restBytes < this.#needed()) continue;
      this.#onMessage(this.#rest.subarray(HEAD_BYTES, this.#restBytes), this.#rest[0] ?? 0);
      this.#restBytes = 0;
    }
    this.#cut(chunk, at);
  }

  /** Bytes of the message begun, or of its head as long as that isn't there. */
  #needed(): number {
    return this.#restBytes < HEAD_BYTES ? HEAD_BYTES : HEAD_BYTES + this.#rest.readUInt32BE(1);
  }

  #makeRoom(): void {
    if (this.#rest.length >= this.#needed()) return;
    const larger = Buffer.allocUnsafeSlow(2 * this.#needed());
    this.#rest.copy(larger, 0, 0, this.#restBytes);
    this.#rest = larger;
  }

  #cut(bytes: Buffer, from: number): void {
    let at = from;
    while (bytes.length - at >= HEAD_BYTES) {
      const end = at + HEAD_BYTES + bytes.readUInt32BE(at + 1);
      if (bytes.length < end) break;
      this.#onMessage(bytes.subarray(at + HEAD_BYTES, end), bytes[at] ?? 0);
      at = end;
    }
    if (at === bytes.length) return;
    this.#restBytes = bytes.length - at;
    if (this.#rest.length < HEAD_BYTES || this.#rest.length < this.#restBytes)
      this.#rest = Buffer.allocUnsafeSlow(Math.max(READ_BYTES, this.#restBytes));
    bytes.copy(this.#rest, 0, at);
    this.#makeRoom();
  }
}

const READ_BYTES = 65_536;
const HEAD_BYTES = 5;

export function enveloped(message: Buffer): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Visits the fields of a protobuf message: bytes of those that have a length, the value of those that are varints. */
export function eachField(bytes: Buffer, visit: (no: number, payload: Buffer, value: number) => void): void {
  let at = 0;
  while (at < bytes.length) {
    const [tag, next] = varint(bytes, at);
    const [value, after] = varint(bytes, next);
    const isBytes = (tag & 7) === 2;
    at = isBytes ? after + value : after;
    visit(tag >>> 3, isBytes ? bytes.subarray(after, at) : NOTHING, value);
  }
}

/** How many of a Batch's changes are puts, and how many removes; makes nothing on its way. */
export function countChanges(batch: Buffer): { puts: number; removes: number } {
  let [puts, removes] = [0, 0];
  const skip = (from: number): number => {
    const value = numberAt(batch, from + 1);
    return (batch[from] ?? 0) & 2 ? numberEnd + value : numberEnd;
  };
  for (let at = 0; at < batch.length; ) {
    const end = skip(at);
    if (batch[at] === CHANGE_TAG) {
      numberAt(batch, at + 1);
      let field = numberEnd;
      while (field < end && batch[field] !== REMOVE_TAG) field = skip(field);
      if (field < end) removes++;
      else puts++;
    }
    at = end;
  }
  return { puts, removes };
}

/** Batch.changes and Change.remove */
const CHANGE_TAG = 0x0a;
const REMOVE_TAG = 0x2a;
let numberEnd = 0;

/** Leaves in `numberEnd` where it ends. */
function numberAt(bytes: Buffer, at: number): number {
  let value = 0;
  let scale = 1;
  for (let i = at; ; i++) {
    const byte = bytes[i] ?? 0;
    value += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte >= 0x80) continue;
    numberEnd = i + 1;
    return value;
  }
}

export function firstField(bytes: Buffer): [no: number, payload: Buffer] {
  const [tag, next] = varint(bytes, 0);
  const [length, after] = varint(bytes, next);
  return [tag >>> 3, bytes.subarray(after, after + length)];
}

const NOTHING: Buffer = Buffer.alloc(0);

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
