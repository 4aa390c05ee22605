// What every call passes: before its body is read, whether the server serves, who is calling and whether they may;
// afterwards, that every error leaves with its reason and the call knows how it ended.
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import type { Authenticate } from "../access/authenticate.ts";
import type { ClientVersions } from "../access/client-versions.ts";
import type { Limiter } from "../access/limits/limiter.ts";
import { SyncError } from "../model/sync-error.ts";
import { type Call, type CallContext, callOf } from "./call.ts";
import { toConnectError, withReason } from "./errors.ts";
import type { Serving } from "./serving.ts";

/** On answers to GET: neither a browser's disk nor a shared cache keeps what one caller may see. */
export const CACHE_CONTROL = "cache-control";

export interface GateOptions {
  readonly serving: Serving;
  readonly authenticate: Authenticate;
  readonly clientVersions: ClientVersions;
  readonly limiter: Limiter;
  /** Full names of the services that ask for a principal. */
  readonly guarded: ReadonlySet<string>;
  readonly retryAfterMs: number;
}

/** Connect's request gate: what it throws ends the call unread. */
export function createGate(options: GateOptions) {
  const { serving, guarded, limiter, retryAfterMs } = options;
  return async (context: CallContext): Promise<void> => {
    const call = callOf(context);
    nameFaultsOnTheirWay(context, call);
    if (call.isAdmitted) return;
    const isGuarded = guarded.has(context.service.typeName);
    if (isGuarded && context.requestMethod === "GET")
      context.responseHeader.set(CACHE_CONTROL, "private, no-store");
    try {
      if (isGuarded && serving.state === "DRAINING") throw shuttingDown(retryAfterMs);
      // Counted while the token is checked: both wait for another machine, so the call waits once.
      const arrival = limiter.arrive(call.address);
      if (arrival instanceof SyncError) throw arrival;
      if (isGuarded) await admit(context, call, { ...options, arrival });
      else throwIf(await arrival);
    } catch (error) {
      throw toConnectError(error, call);
    }
  };
}

interface AdmitOptions extends GateOptions {
  /** The refusal of the caller's address, if there is one. */
  readonly arrival: Promise<SyncError | undefined>;
}

/** An address over its limit is told that and nothing else: whether the token was right stays open. */
async function admit(context: CallContext, call: Call, options: AdmitOptions): Promise<void> {
  const { authenticate, clientVersions, limiter, arrival } = options;
  const { requestHeader, method } = context;
  try {
    clientVersions.check(call.client);
    call.principal = await authenticate(
      requestHeader.get("authorization") ?? undefined,
      requestHeader.get("tidemark-client") ?? undefined,
    );
  } catch (error) {
    throwIf(await arrival);
    throw error;
  }
  const entry = limiter.enter(call, method.methodKind === "server_streaming");
  const [refused] = await Promise.all([arrival, entry]);
  throwIf(refused);
}

function throwIf(refusal: SyncError | undefined): void {
  if (refusal) throw refusal;
}

export function shuttingDown(retryAfterMs: number): SyncError {
  return new SyncError("SHUTTING_DOWN", "the server is going away; try again", { retryAfterMs });
}

/** Translates whatever handlers throw, and notes how calls end. */
export const translateErrors: Interceptor = (next) => async (request) => {
  const call = callOf({ values: request.contextValues });
  call.isRead = true;
  try {
    const response = await next(request.stream ? { ...request, message: read(request.message) } : request);
    if (response.stream) return { ...response, message: translated(response.message, request.signal, call) };
    call.outcome = "ok";
    return response;
  } catch (error) {
    throw failureOf(reasonOf(error, request.signal), call);
  }
};

async function* read<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    throw error instanceof ConnectError ? asClientFault(error) : error;
  }
}

async function* translated<T>(
  messages: AsyncIterable<T>,
  signal: AbortSignal,
  call: Call,
): AsyncGenerator<T> {
  try {
    yield* messages;
    call.outcome = "ok";
  } catch (error) {
    throw failureOf(reasonOf(error, signal), call);
  }
}

/** Once a call is aborted, by its deadline, its client or the server, that is why it failed. */
function reasonOf(error: unknown, signal: AbortSignal): unknown {
  return signal.aborted ? ConnectError.from(signal.reason, Code.Canceled) : error;
}

/** The error to send for whatever was thrown; the call knows that it ended so. */
export function failureOf(error: unknown, call: Call): ConnectError {
  const failure = toConnectError(error, call);
  call.outcome = failure.code;
  return failure;
}

/**
 * Connect raises some errors where no interceptor sees them: an unreadable or oversized message, a bad deadline.
 * In every protocol it aborts the call's signal with the error right before writing it down, and an abort listener
 * runs at once.
 */
function nameFaultsOnTheirWay({ signal }: Pick<CallContext, "signal">, call: Call): void {
  const onAbort = () => {
    if (!(signal.reason instanceof ConnectError)) return;
    const failure = call.isRead ? signal.reason : asClientFault(signal.reason);
    call.outcome ??= withReason(failure).code;
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
}

/** How Connect's message begins when a request isn't protobuf. */
const UNREADABLE = "parse binary:";

/** Connect calls that INTERNAL, and a client would send it again: it is the client's own fault. */
function asClientFault(error: ConnectError): ConnectError {
  if (error.code !== Code.Internal || !error.rawMessage.startsWith(UNREADABLE)) return error;
  return Object.assign(error, { code: Code.InvalidArgument });
}
