// A client's line to one node: calls by every protocol, over connections that are recorded. It speaks the protocols
// itself, so that it can also say what no generated client would.
import { request as request1 } from "node:http";
import http2 from "node:http2";
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  fromJsonString,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import { PullChangesRequestSchema, PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import type { Book, Caller, Connection, Exchange } from "./book.ts";
import { enveloped, envelopesIn } from "./bytes.ts";
import { inflated } from "./canaries.ts";
import { Tap } from "./tap.ts";
import { FOREVER } from "./truth.ts";

export interface Door {
  readonly http: 1 | 2;
  readonly protocol: "grpc" | "grpc-web" | "connect" | "get";
  readonly codec: "proto" | "json";
}

export const DOORS: readonly Door[] = [
  { http: 2, protocol: "grpc", codec: "proto" },
  { http: 2, protocol: "grpc", codec: "json" },
  { http: 1, protocol: "grpc-web", codec: "proto" },
  { http: 1, protocol: "grpc-web", codec: "json" },
  { http: 1, protocol: "connect", codec: "proto" },
  { http: 1, protocol: "connect", codec: "json" },
  { http: 2, protocol: "connect", codec: "json" },
];

export const PAGE_DOORS: readonly Door[] = [
  ...DOORS,
  { http: 1, protocol: "get", codec: "json" },
  { http: 1, protocol: "get", codec: "proto" },
  { http: 2, protocol: "get", codec: "json" },
];

export interface LineOptions {
  readonly url: string;
  readonly book: Book;
  /** Gets each connection the line makes. */
  readonly connections: Connection[];
  readonly caller: Caller;
  /** Undefined: none is sent. */
  readonly token: string | undefined;
  readonly device: string;
}

/** What the checker is told of a call besides its caller. */
export type About = Pick<Exchange, "kind" | "born" | "scopesSince"> & { readonly history: string };

interface RawCall {
  readonly http: 1 | 2;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
}

/** An answer under way: its body as it comes; given up, what is still under way is recorded all the same. */
interface Answer {
  readonly exchange: Exchange;
  readonly body: AsyncIterable<Buffer>;
  /** Resolves when no more of it can come. */
  giveUp(): Promise<void>;
}

type TappedConnection = Connection & { readonly tap: Tap };

const SERVICE_PATHS = "/tidemark.v1.SyncService/";

export class Line {
  readonly #options: LineOptions;
  readonly #taps: Tap[] = [];
  #session: { readonly http: http2.ClientHttp2Session; readonly connection: TappedConnection } | undefined;

  constructor(options: LineOptions) {
    this.#options = options;
  }

  get caller(): Caller {
    return this.#options.caller;
  }

  /** Messages as they come, until the server ends the stream, `until` aborts or the caller stops asking. Never throws for what the server says. */
  async *pull(
    request: MessageInitShape<typeof PullChangesRequestSchema>,
    door: Door,
    { until, ...about }: About & { readonly until?: AbortSignal | undefined },
  ): AsyncGenerator<MessageShape<typeof PullChangesResponseSchema>, void, undefined> {
    const message = encode(PullChangesRequestSchema, request, door);
    const path = `${SERVICE_PATHS}PullChanges`;
    const headers = { "content-type": contentType(door, "stream") };
    const call = { http: door.http, method: "POST", path, headers, body: enveloped(message) };
    const answer = this.#call(call, door, { ...about, isEnveloped: true });
    const giveUp = () => void answer.giveUp();
    until?.addEventListener("abort", giveUp, { once: true });
    let rest: Buffer = Buffer.alloc(0);
    try {
      for await (const bytes of answer.body) {
        const { messages, after } = wholeMessages(Buffer.concat([rest, bytes]));
        rest = after;
        for (const each of messages) {
          const frame = decode(PullChangesResponseSchema, each, door);
          if (frame.frame.case === "checkpoint") this.#options.book.reached(frame.frame.value.commitClock);
          yield frame;
        }
      }
    } finally {
      until?.removeEventListener("abort", giveUp);
      await this.#end(answer);
    }
  }

  /** Undefined: the call failed, in whatever way. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { input: I; output: O },
    request: MessageInitShape<I>,
    { door, about }: { readonly door: Door; readonly about: About },
  ): Promise<MessageShape<O> | undefined> {
    const message = encode(method.input, request, door);
    const isEnveloped = door.protocol === "grpc" || door.protocol === "grpc-web";
    const call = unaryCall(`/${method.parent.typeName}/${method.name}`, message, door);
    const { body, exchange } = await this.whole(call, door, { ...about, isEnveloped });
    if (isEnveloped) {
      const [first] = envelopesIn(body).filter(({ flags }) => flags <= 1);
      return first && decode(method.output, first.message, door);
    }
    const isOk = exchange.heads[0]?.includes('":status":200') ?? false;
    return isOk ? decode(method.output, inflated(body), door) : undefined;
  }

  /** A request of any kind with its whole answer. */
  async whole(
    call: RawCall,
    door: Pick<Door, "protocol" | "codec">,
    about: About & { readonly isEnveloped: boolean },
  ): Promise<{ body: Buffer; exchange: Exchange }> {
    const answer = this.#call(call, door, about);
    const chunks: Buffer[] = [];
    for await (const chunk of answer.body) chunks.push(chunk);
    await this.#end(answer);
    return { body: Buffer.concat(chunks), exchange: answer.exchange };
  }

  /** Hangs up; resolves when all the server had sent is recorded. */
  async close(): Promise<void> {
    this.#session?.http.destroy();
    const taps = this.#taps.splice(0);
    await Promise.all(taps.map((tap) => tap.ended));
  }

  #call(
    call: RawCall,
    { protocol, codec }: Pick<Door, "protocol" | "codec">,
    { history, ...about }: About & { readonly isEnveloped: boolean },
  ): Answer {
    const { book, caller } = this.#options;
    const name = `${history} ${caller.principal || "anonymous"} ${protocol}/${codec}/h${call.http} ${call.path.split("?", 1)[0]}`;
    const { floor, sourceFloor } = book;
    const exchange: Exchange = {
      ...about,
      floor,
      sourceFloor,
      ended: FOREVER,
      name,
      codec,
      caller,
      stream: 1,
      heads: [],
    };
    book.asks(
      caller.principal,
      Buffer.concat([Buffer.from(decodeURIComponent(call.path)), call.body ?? Buffer.alloc(0)]),
    );
    return call.http === 2 ? this.#call2(call, exchange) : this.#call1(call, exchange);
  }

  async #end({ exchange, giveUp }: Answer): Promise<void> {
    await giveUp();
    exchange.ended = await this.#options.book.now();
  }

  #headers(): Record<string, string> {
    const { token, device } = this.#options;
    return {
      "tidemark-client": `test/1.0; device=${device}`,
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    };
  }

  #connect(http: 1 | 2): TappedConnection {
    const { url, connections, caller } = this.#options;
    const connection: TappedConnection = { http, caller, tap: new Tap(url), exchanges: [] };
    this.#taps.push(connection.tap);
    connections.push(connection);
    return connection;
  }

  #call2(call: RawCall, exchange: Exchange): Answer {
    this.#session ??= this.#open2();
    const { http, connection } = this.#session;
    connection.exchanges.push(exchange);
    const stream = http.request({
      ":method": call.method,
      ":path": call.path,
      ...this.#headers(),
      ...call.headers,
    });
    const isNumbered = () => {
      exchange.stream = stream.id ?? 0;
    };
    if (stream.pending) stream.once("ready", isNumbered);
    else isNumbered();
    stream.on("response", (head) => exchange.heads.push(JSON.stringify(head)));
    stream.on("trailers", (head) => exchange.heads.push(JSON.stringify(head)));
    stream.on("error", () => {});
    stream.end(call.body);
    const giveUp = () => {
      stream.close(http2.constants.NGHTTP2_CANCEL);
      return pinged(http);
    };
    return { exchange, body: quiet(stream), giveUp };
  }

  #open2() {
    const connection = this.#connect(2);
    const http = http2.connect(this.#options.url, { createConnection: () => connection.tap });
    http.on("error", () => {});
    return { http, connection };
  }

  #call1(call: RawCall, exchange: Exchange): Answer {
    const connection = this.#connect(1);
    connection.exchanges.push(exchange);
    const { promise, resolve, reject } = Promise.withResolvers<AsyncIterable<Buffer>>();
    const { hostname: host, port } = new URL(this.#options.url);
    const sent = request1({
      createConnection: () => connection.tap,
      host,
      port,
      method: call.method,
      path: call.path,
      headers: { ...this.#headers(), ...call.headers },
    });
    sent.once("response", (response) => {
      exchange.heads.push(JSON.stringify({ ":status": response.statusCode, ...response.headers }));
      resolve(response);
    });
    sent.on("error", reject);
    sent.end(call.body);
    const body = quiet({
      async *[Symbol.asyncIterator]() {
        yield* await promise;
      },
    });
    const giveUp = () => {
      connection.tap.destroy();
      return connection.tap.ended;
    };
    return { exchange, body, giveUp };
  }
}

/** Resolves when the server has read all it was sent, or the session is gone. */
function pinged(session: http2.ClientHttp2Session): Promise<void> {
  return new Promise((resolve) => {
    if (session.destroyed || !session.ping(() => resolve())) resolve();
  });
}

/** A body broken off just ends. */
async function* quiet(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  try {
    yield* body;
  } catch {
    return;
  }
}

function unaryCall(path: string, message: Buffer, door: Door): RawCall {
  const { http, protocol, codec } = door;
  if (protocol === "get") {
    const query = `connect=v1&encoding=${codec}&base64=1&message=${message.toString("base64url")}`;
    return {
      http,
      method: "GET",
      path: `${path}?${query}`,
      headers: { "accept-encoding": "gzip" },
      body: undefined,
    };
  }
  const type = { "content-type": contentType(door, "unary") };
  const isEnveloped = protocol !== "connect";
  const accepts = isEnveloped ? { "grpc-accept-encoding": "gzip" } : { "accept-encoding": "gzip" };
  const body = isEnveloped ? enveloped(message) : message;
  return { http, method: "POST", path, headers: { ...type, ...accepts, te: "trailers" }, body };
}

function contentType({ protocol, codec }: Door, kind: "unary" | "stream"): string {
  if (protocol === "grpc" || protocol === "grpc-web") return `application/${protocol}+${codec}`;
  return kind === "stream" ? `application/connect+${codec}` : `application/${codec}`;
}

/** Envelopes that have come whole, but those that end a call. */
function wholeMessages(body: Buffer): { messages: Uint8Array[]; after: Buffer } {
  const messages: Uint8Array[] = [];
  let at = 0;
  while (at + 5 <= body.length && at + 5 + body.readUInt32BE(at + 1) <= body.length) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    messages.push(
      ...envelopesIn(body.subarray(at, end)).flatMap(({ flags, message }) => (flags <= 1 ? [message] : [])),
    );
    at = end;
  }
  return { messages, after: body.subarray(at) };
}

function encode<D extends DescMessage>(desc: D, init: MessageInitShape<D>, { codec }: Door): Buffer {
  const message = create(desc, init);
  return Buffer.from(codec === "proto" ? toBinary(desc, message) : toJsonString(desc, message));
}

function decode<D extends DescMessage>(
  desc: D,
  bytes: Uint8Array,
  { codec }: Pick<Door, "codec">,
): MessageShape<D> {
  return codec === "proto"
    ? fromBinary(desc, bytes)
    : fromJsonString(desc, Buffer.from(bytes).toString(), { ignoreUnknownFields: true });
}
