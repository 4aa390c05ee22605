// Unary calls in their plainest form, as services and generated clients push all day: gRPC in protobuf's binary form over
// HTTP/2, not compressed, one message. They go from node's stream to the handler and back without Connect's pipeline of
// async iterables, web headers and abort signals: a third of a refused push's CPU. Whatever isn't as plain as that goes
// Connect's way, with the bytes read by then.
import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { parseTimeout } from "@connectrpc/connect/protocol-grpc";
import { ENVELOPE_HEAD_BYTES, writeEnvelopeHead } from "../frames/envelope.ts";
import type { Clock } from "../model/clock.ts";
import { type CallContext, contextValuesOf } from "./call.ts";
import { failureOf } from "./gate.ts";
import type { HttpRequest, HttpResponse } from "./listener.ts";
import { type Exchange, refuse } from "./refuse.ts";

export interface PlainMethod<I extends DescMessage, O extends DescMessage> {
  readonly method: HandlerContext["method"] & { readonly input: I; readonly output: O };
  handle(request: MessageShape<I>, context: CallContext): Promise<MessageShape<O>>;
}

export interface PlainCallsOptions {
  readonly clock: Clock;
  readonly gate: (context: CallContext) => Promise<void>;
  /** Of a message. */
  readonly readMaxBytes: number;
  /** Aborts the calls in progress, with the error they end with. */
  readonly shutdownSignal: AbortSignal;
}

export interface PlainCalls {
  /** Whether the call's head is as plain as that. */
  takes(request: HttpRequest): boolean;
  /** @param otherwise takes over with what was read, where the message turns out not to be plain. */
  handle<I extends DescMessage, O extends DescMessage>(
    exchange: Exchange,
    method: PlainMethod<I, O>,
    otherwise: (read: readonly Uint8Array[]) => Promise<void>,
  ): Promise<void>;
}

const CONTENT_TYPES = new Set(["application/grpc", "application/grpc+proto"]);

export function createPlainCalls({
  clock,
  gate,
  readMaxBytes,
  shutdownSignal,
}: PlainCallsOptions): PlainCalls {
  const open = new Set<AbortController>();
  shutdownSignal.addEventListener("abort", () => {
    for (const aborting of open) aborting.abort(shutdownSignal.reason);
  });
  return {
    takes({ headers, httpVersionMajor, method }) {
      const { "grpc-encoding": encoding = "identity", "grpc-timeout": timeout } = headers;
      const isPlain = method === "POST" && httpVersionMajor === 2 && encoding === "identity";
      if (!isPlain || shutdownSignal.aborted || !CONTENT_TYPES.has(headers["content-type"] ?? ""))
        return false;
      return timeout === undefined || timeoutMsOf(timeout) !== undefined;
    },

    async handle(exchange, plain, otherwise) {
      const left = await answer(exchange, plain);
      if (left) await otherwise(left);
    },
  };

  /** Gives what was read of a body that isn't one plain message. */
  async function answer<I extends DescMessage, O extends DescMessage>(
    exchange: Exchange,
    { method, handle }: PlainMethod<I, O>,
  ): Promise<readonly Uint8Array[] | undefined> {
    const { call, request, response } = exchange;
    const aborting = new AbortController();
    const over = new AbortController();
    open.add(aborting);
    const gone = () => aborting.abort(new ConnectError("the client has gone away", Code.Canceled));
    response.once("close", gone);
    const timeoutMs = timeoutMsOf(request.headers["grpc-timeout"]);
    if (timeoutMs !== undefined) void cut(aborting, timeoutMs, over.signal);
    try {
      const context = contextOf(exchange, method, aborting.signal);
      await gate(context);
      call.isAdmitted = true;
      const read: Uint8Array[] = [];
      const message = await messageIn(request, read, { bytesMax: readMaxBytes, signal: aborting.signal });
      for (const { length } of read) call.owedBytes += length;
      aborting.signal.throwIfAborted();
      const input = message && decoded(method.input, message);
      if (input === undefined) return read;
      call.isRead = true;
      const output = await handle(input, context);
      aborting.signal.throwIfAborted();
      send(response, toBinary(method.output, output));
      call.outcome = "ok";
      return undefined;
    } catch (error) {
      // Once a call is aborted, by its deadline, its client or the server, that is why it failed.
      const { aborted, reason } = aborting.signal;
      refuse(exchange, failureOf(aborted ? ConnectError.from(reason, Code.Canceled) : error, call));
      return undefined;
    } finally {
      response.off("close", gone);
      open.delete(aborting);
      if (timeoutMs !== undefined) over.abort(CALL_ENDED);
    }
  }

  async function cut(aborting: AbortController, timeoutMs: number, over: AbortSignal): Promise<void> {
    await clock.sleep(timeoutMs, over);
    if (!over.aborted) aborting.abort(new ConnectError("the operation timed out", Code.DeadlineExceeded));
  }
}

/** Named, since without a reason each abort makes an error with its stack. */
const CALL_ENDED = "the call has ended";

/** Undefined: there is none, or none that can be read. */
function timeoutMsOf(header: string | string[] | undefined): number | undefined {
  if (typeof header !== "string") return undefined;
  const { timeoutMs, error } = parseTimeout(header, Number.MAX_SAFE_INTEGER);
  return error ? undefined : timeoutMs;
}

function contextOf(
  { call, request }: Exchange,
  method: HandlerContext["method"],
  signal: AbortSignal,
): CallContext {
  return {
    values: contextValuesOf(call),
    signal,
    method,
    service: method.parent,
    requestMethod: "POST",
    url: call.procedure,
    requestHeader: {
      get(name) {
        const value = request.headers[name];
        return Array.isArray(value) ? value.join(", ") : (value ?? null);
      },
    },
    // Only answers to GET are told how they may be kept.
    responseHeader: { set() {} },
  };
}

/**
 * The one message of a request, read as it comes. Undefined: it is none, or more, compressed, or too large; what was
 * read of it is in `read`.
 */
function messageIn(
  request: HttpRequest,
  read: Uint8Array[],
  { bytesMax, signal }: { readonly bytesMax: number; readonly signal: AbortSignal },
): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    let bytes = 0;
    const onData = (chunk: Buffer) => {
      read.push(chunk);
      bytes += chunk.length;
      if (bytes > ENVELOPE_HEAD_BYTES + bytesMax) done(undefined);
    };
    const onEnd = () => done(onlyMessage(read.length === 1 ? read[0] : Buffer.concat(read)));
    const onAbort = () => done(undefined);
    const done = (message: Uint8Array | undefined) => {
      request.off("data", onData);
      request.off("end", onEnd);
      signal.removeEventListener("abort", onAbort);
      request.pause();
      resolve(message);
    };
    request.on("data", onData);
    request.on("end", onEnd);
    signal.addEventListener("abort", onAbort);
  });
}

function onlyMessage(body: Uint8Array | undefined): Uint8Array | undefined {
  if (body === undefined || body.length < ENVELOPE_HEAD_BYTES || body[0] !== 0) return undefined;
  const size = new DataView(body.buffer, body.byteOffset).getUint32(1);
  return body.length === ENVELOPE_HEAD_BYTES + size ? body.subarray(ENVELOPE_HEAD_BYTES) : undefined;
}

/** Undefined: it can't be read, which Connect has its words for. */
function decoded<I extends DescMessage>(schema: I, message: Uint8Array): MessageShape<I> | undefined {
  try {
    return fromBinary(schema, message);
  } catch {
    return undefined;
  }
}

function send(response: HttpResponse, message: Uint8Array): void {
  const body = Buffer.allocUnsafe(ENVELOPE_HEAD_BYTES + message.length);
  writeEnvelopeHead(body, message.length);
  body.set(message, ENVELOPE_HEAD_BYTES);
  response.setHeader("content-type", "application/grpc+proto");
  response.addTrailers({ "grpc-status": "0" });
  response.end(body);
}
