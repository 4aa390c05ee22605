// The way from a node request to a Connect handler and back.
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import type {
  UniversalHandler,
  UniversalHandlerFn,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { Clock } from "../model/clock.ts";
import { dropEndlessDeadline, unreadable } from "./before-connect.ts";
import { contextValuesOf } from "./call.ts";
import { connectErrorOf } from "./errors.ts";
import type { HttpRequest, HttpResponse } from "./listener.ts";
import { meterReceived } from "./metering.ts";
import { createPlainCalls } from "./plain-calls.ts";
import { type Exchange, refuse } from "./refuse.ts";
import type { PlainRoad } from "./router.ts";
import { sendText } from "./send.ts";
import { createStreams } from "./wire/streams.ts";

/** Named, since without a reason each abort makes an error with its stack, and a stream would keep it. */
const REQUEST_ENDED = "the request has ended";

export interface Rpc {
  handles(path: string): boolean;
  handle(exchange: Exchange): Promise<void>;
}

export interface RpcOptions {
  readonly router: ConnectRouter;
  readonly plainRoad: PlainRoad;
  readonly clock: Clock;
  /** Aborts the streams still open, with the error they end with. */
  readonly shutdownSignal: AbortSignal;
  /** How long a client may take to send the one message of a call. */
  readonly requestTimeoutMs: number;
}

export function createRpc(options: RpcOptions): Rpc {
  const { router, plainRoad, clock, requestTimeoutMs, shutdownSignal } = options;
  const streams = createStreams({ clock, shutdownSignal });
  const plainCalls = createPlainCalls({ ...plainRoad, clock, shutdownSignal });
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  return { handles: (path) => handlers.has(path), handle };

  async function handle(exchange: Exchange): Promise<void> {
    const { call, request, response } = exchange;
    const handler = handlers.get(call.procedure);
    if (handler === undefined) {
      refuse(exchange, new ConnectError(`there is no ${call.procedure}`, Code.Unimplemented));
      return;
    }
    const fault = unreadable(request);
    if (fault) {
      refuse(exchange, connectErrorOf(fault));
      return;
    }
    dropEndlessDeadline(request);
    const hasOneMessage = request.method !== "GET" && handler.method.methodKind !== "bidi_streaming";
    if (hasOneMessage) void cutSlowRequest(request, response);
    try {
      const plain = plainRoad.methods.get(call.procedure);
      if (!plain || !plainCalls.takes(request)) return await connect(exchange, handler);
      await plainCalls.handle(exchange, plain, (read) => connect(exchange, handler, read));
    } catch (error) {
      // The client went away while it was being answered; the call's line says so.
      call.logger.debug({ err: error }, "response not delivered");
      response.destroy();
    }
  }

  /** @param read what the plain way has read of the body, before it left the call to Connect. */
  async function connect(
    exchange: Exchange,
    handler: UniversalHandler,
    read?: readonly Uint8Array[],
  ): Promise<void> {
    const { call, response } = exchange;
    // The adapter waits for a drain that never comes once the client is gone, and its handler would wait with it.
    response.once("close", () => response.emit("drain"));
    const respond: UniversalHandlerFn = handler;
    const answer = await respond(universalRequest(exchange, read));
    if (call.streamAnswer) {
      // The handler has ended; the call has not.
      call.outcome = undefined;
      return await streams.go(call.streamAnswer, answer, response);
    }
    if (answer.status >= 400) response.setHeader("cache-control", "no-store");
    if (answer.body !== undefined || answer.status < 400)
      await universalResponseToNodeResponse(answer, response);
    else explain(answer, handler, response);
    call.outcome ??= answer.status < 400 ? undefined : Code.Unimplemented;
  }

  async function cutSlowRequest(request: HttpRequest, response: HttpResponse): Promise<void> {
    const over = new AbortController();
    const end = () => over.abort(REQUEST_ENDED);
    request.once("end", end);
    response.once("close", end);
    await clock.sleep(requestTimeoutMs, over.signal);
    request.off("end", end);
    response.off("close", end);
    if (!over.signal.aborted) response.destroy();
  }
}

function universalRequest({ request, response, call }: Exchange, read?: readonly Uint8Array[]) {
  const universal = universalRequestFromNodeRequest(request, response, undefined, contextValuesOf(call));
  // It is no message read by somebody before, which the type allows for.
  const body = meterReceived(universal.body as AsyncIterable<Uint8Array>, call);
  return { ...universal, body: read ? whole(read, request.readableEnded ? [] : body) : body };
}

async function* whole(
  read: readonly Uint8Array[],
  rest: AsyncIterable<Uint8Array> | readonly Uint8Array[],
): AsyncGenerator<Uint8Array> {
  yield* read;
  yield* rest;
}

/** Connect refuses what it can't negotiate without a word. As JSON it would pass for an error of a call. */
function explain(
  { status, header }: UniversalServerResponse,
  handler: UniversalHandler,
  response: HttpResponse,
): void {
  for (const [name, value] of header ?? []) response.setHeader(name, value);
  sendText(response, status, explanation(status, handler));
}

function explanation(status: number, { allowedMethods, method }: UniversalHandler): string {
  if (status === 405) return `call it by ${allowedMethods.join(" or ")}`;
  if (status === 505) return `${method.name} streams both ways: call it over HTTP/2`;
  const json = method.methodKind === "unary" ? "application/json" : "application/connect+json";
  return `send content-type: ${json}, or another type of Connect, gRPC or gRPC-web`;
}
