// A light HTTP/2 client on a bare socket: as much of the protocol as a load client needs, so that what it costs isn't
// taken for the server's cost. It reads no header (HPACK is never decoded: a stream that ends early is told by that
// alone), and gives DATA as it comes.
import { connect, type Socket } from "node:net";

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
const FRAME_HEAD_BYTES = 9;
const FRAME_BYTES_MAX = 16_777_215;
const READ_BYTES = 524_288;
const WINDOW_MAX = 2 ** 31 - 1;
const INITIAL_WINDOW = 65_535;

const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const;
const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8 } as const;
const SETTING = { headerTableSize: 1, enablePush: 2, initialWindow: 4, frameSize: 5 } as const;

export interface StreamHandlers {
  /** Valid only during the call. */
  onData(bytes: Buffer): void;
  /** @param error how the stream was cut; undefined: it ended. */
  onEnd(error?: string): void;
}

export interface H2Options {
  /** Of each stream. Windows are widened again as bytes come, unless the client doesn't read. */
  readonly windowBytes?: number;
  /** Opens streams, and takes no more of them than their windows hold. */
  readonly isStalled?: boolean;
}

interface OpenStream extends StreamHandlers {
  unacknowledged: number;
}

export class H2Client {
  readonly #socket: Socket;
  readonly #streams = new Map<number, OpenStream>();
  readonly #windowBytes: number;
  readonly #isStalled: boolean;
  #nextId = 1;
  #unacknowledged = 0;
  #rest: Buffer = Buffer.alloc(0);
  /** All that has come, framing included. */
  bytesRead = 0;

  private constructor(socket: Socket, { windowBytes = 16 << 20, isStalled = false }: H2Options) {
    this.#socket = socket;
    this.#windowBytes = windowBytes;
    this.#isStalled = isStalled;
    socket.setNoDelay(true);
    socket.write(
      Buffer.concat([
        PREFACE,
        settingsFrame([
          [SETTING.headerTableSize, 0],
          [SETTING.enablePush, 0],
          [SETTING.initialWindow, windowBytes],
          [SETTING.frameSize, FRAME_BYTES_MAX],
        ]),
        windowUpdate(0, WINDOW_MAX - INITIAL_WINDOW),
      ]),
    );
    socket.on("error", (error) => this.#cut(error.message));
    socket.on("close", () => this.#cut("the connection was closed"));
  }

  static async open(url: string, options: H2Options = {}): Promise<H2Client> {
    const { hostname, port } = new URL(url);
    let read = (_bytes: Buffer) => {};
    // Into the same memory again and again: as a client in another language would.
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    const callback = (bytes: number) => {
      read(buffer.subarray(0, bytes));
      return true;
    };
    const socket = connect({ port: Number(port), host: hostname, onread: { buffer, callback } });
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    const client = new H2Client(socket, options);
    read = (bytes) => client.#read(bytes);
    return client;
  }

  /** POSTs a body that fits one frame. */
  post(
    path: string,
    headers: Readonly<Record<string, string>>,
    body: Buffer,
    handlers: StreamHandlers,
  ): number {
    const id = this.#nextId;
    this.#nextId += 2;
    this.#streams.set(id, { ...handlers, unacknowledged: 0 });
    const pseudo = { ":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost" };
    const block = headerBlock({ ...pseudo, ...headers });
    this.#socket.write(
      Buffer.concat([
        frame(FRAME.headers, FLAG.endHeaders, id, block),
        frame(FRAME.data, FLAG.endStream, id, body),
      ]),
    );
    return id;
  }

  /** Cuts a stream off, as a client does that cancels. */
  reset(id: number): void {
    this.#streams.delete(id);
    this.#socket.write(frame(FRAME.reset, 0, id, Buffer.from([0, 0, 0, 8])));
  }

  /** Cuts the connection, without a word. */
  destroy(): void {
    this.#streams.clear();
    this.#socket.destroy();
  }

  #cut(why: string): void {
    for (const stream of this.#streams.values()) stream.onEnd(why);
    this.#streams.clear();
  }

  #read(chunk: Buffer): void {
    this.bytesRead += chunk.length;
    const buffer = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    while (buffer.length - at >= FRAME_HEAD_BYTES) {
      const length = buffer.readUIntBE(at, 3);
      const end = at + FRAME_HEAD_BYTES + length;
      if (buffer.length < end) break;
      const [type, flags] = [buffer[at + 3] ?? 0, buffer[at + 4] ?? 0];
      this.#take(
        { type, flags, id: buffer.readUInt32BE(at + 5) & 0x7fff_ffff },
        buffer.subarray(at + FRAME_HEAD_BYTES, end),
      );
      at = end;
    }
    this.#rest = at < buffer.length ? Buffer.from(buffer.subarray(at)) : EMPTY;
  }

  #take({ type, flags, id }: { type: number; flags: number; id: number }, payload: Buffer): void {
    if (type === FRAME.data) this.#takeData(id, flags, payload);
    else if (type === FRAME.headers && flags & FLAG.endStream) this.#end(id);
    else if (type === FRAME.reset) this.#end(id, `the server reset the stream (${payload.readUInt32BE(0)})`);
    else if (type === FRAME.ping && !(flags & FLAG.ack)) {
      this.#socket.write(frame(FRAME.ping, FLAG.ack, 0, payload));
    } else if (type === FRAME.settings && !(flags & FLAG.ack)) {
      this.#socket.write(frame(FRAME.settings, FLAG.ack, 0, EMPTY));
    }
  }

  #takeData(id: number, flags: number, payload: Buffer): void {
    const stream = this.#streams.get(id);
    const padding = flags & FLAG.padded ? (payload[0] ?? 0) : 0;
    const data = flags & FLAG.padded ? payload.subarray(1, payload.length - padding) : payload;
    stream?.onData(data);
    if (!this.#isStalled) this.#acknowledge(id, stream, payload.length);
    if (flags & FLAG.endStream) this.#end(id);
  }

  #acknowledge(id: number, stream: OpenStream | undefined, bytes: number): void {
    this.#unacknowledged += bytes;
    if (this.#unacknowledged > WINDOW_MAX / 4) {
      this.#socket.write(windowUpdate(0, this.#unacknowledged));
      this.#unacknowledged = 0;
    }
    if (!stream) return;
    stream.unacknowledged += bytes;
    if (stream.unacknowledged > this.#windowBytes / 4) {
      this.#socket.write(windowUpdate(id, stream.unacknowledged));
      stream.unacknowledged = 0;
    }
  }

  #end(id: number, error?: string): void {
    const stream = this.#streams.get(id);
    this.#streams.delete(id);
    stream?.onEnd(error);
  }
}

const EMPTY: Buffer = Buffer.alloc(0);

function frame(type: number, flags: number, id: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}

function settingsFrame(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(settings.length * 6);
  for (const [index, [id, value]] of settings.entries()) {
    payload.writeUInt16BE(id, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  }
  return frame(FRAME.settings, 0, 0, payload);
}

function windowUpdate(id: number, bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frame(FRAME.windowUpdate, 0, id, payload);
}

/** HPACK's literals, never indexed and not compressed: 0x10, name, value. */
function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const parts = Object.entries(headers).flatMap(([name, value]) => [
    Buffer.from([0x10]),
    headerText(name),
    headerText(value),
  ]);
  return Buffer.concat(parts);
}

function headerText(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([prefixInteger(bytes.length, 127), bytes]);
}

/** HPACK's integers: up to `prefix - 1` in the first byte, else the rest in groups of seven bits. */
function prefixInteger(value: number, prefix: number): Buffer {
  if (value < prefix) return Buffer.from([value]);
  const bytes = [prefix];
  let rest = value - prefix;
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}
