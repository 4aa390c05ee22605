// A call: what the edge knows of one request from its arrival to its log line. Handlers and interceptors find it in
// Connect's context values.
import { randomUUID } from "node:crypto";
import {
  Code,
  type ContextValues,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import { callerAddress, type TrustedProxies } from "../access/address.ts";
import { type ClientIdentity, readClientHeader } from "../access/client-header.ts";
import type { Clock } from "../model/clock.ts";
import { invariant } from "../model/invariant.ts";
import type { Logger } from "../model/logger.ts";
import type { Principal } from "../model/principal.ts";
import type { Audit } from "./audit.ts";
import type { HttpRequest } from "./listener.ts";
import type { StreamAnswer } from "./wire/stream-writer.ts";

/** What gate and handlers ask of a call, whichever way it comes. */
export interface CallContext
  extends Pick<HandlerContext, "signal" | "requestMethod" | "service" | "method" | "url"> {
  readonly values: ContextValues;
  readonly requestHeader: Pick<Headers, "get">;
  readonly responseHeader: Pick<Headers, "set">;
}

export interface Call {
  readonly requestId: string;
  /** Its lines carry the request id. */
  readonly logger: Logger;
  readonly audit: Audit;
  readonly procedure: string;
  /** The caller's IP address, canonical; empty if the connection is gone already. */
  readonly address: string;
  /** As it names itself; undefined: it doesn't, or not in a form that can be read. */
  readonly client: ClientIdentity | undefined;
  readonly startedAtMs: number;
  /** The gate has let it in. */
  isAdmitted: boolean;
  /** Its handler has been called: of a single message this means that it could be read. */
  isRead: boolean;
  /** Undefined where no token is asked for. */
  principal: Principal | undefined;
  /** How it ended; undefined while it goes on, and when the client went away. */
  outcome: Code | "ok" | undefined;
  /** Left by its handler to the writer of streams, which goes on where the handler's answer has no message. */
  streamAnswer: StreamAnswer | undefined;
  /** Received or sent, and not yet charged to its caller's limits. */
  owedBytes: number;
  /** Of a pull: what was sent. */
  frames: number;
  bytes: number;
}

const callKey = createContextKey<Call | undefined>(undefined, { description: "tidemark call" });

export interface CallOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly audit: Audit;
  readonly trustedProxies: TrustedProxies;
}

export function createCall(path: string, request: HttpRequest, options: CallOptions): Call {
  const { clock, logger, audit, trustedProxies } = options;
  const { headers, socket } = request;
  const requestId = requestIdOf(headers["x-request-id"]);
  const forwardedFor = textOf(headers["x-forwarded-for"]);
  return {
    requestId,
    logger: logger.child({ requestId }),
    audit,
    procedure: path,
    address: callerAddress(socket.remoteAddress ?? "", forwardedFor, trustedProxies),
    client: clientIn(textOf(headers["tidemark-client"])),
    startedAtMs: clock.nowMs(),
    isAdmitted: false,
    isRead: false,
    principal: undefined,
    outcome: undefined,
    streamAnswer: undefined,
    owedBytes: 0,
    frames: 0,
    bytes: 0,
  };
}

/** The gate refuses what can't be read. */
function clientIn(header: string | undefined): ClientIdentity | undefined {
  try {
    return readClientHeader(header);
  } catch {
    return undefined;
  }
}

function textOf(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(",") : header;
}

/** A client's own request id is kept if it is short and printable. */
const SANE_REQUEST_ID = /^[\w.:/+=-]{1,128}$/;

function requestIdOf(header: string | string[] | undefined): string {
  return typeof header === "string" && SANE_REQUEST_ID.test(header) ? header : randomUUID();
}

export function contextValuesOf(call: Call): ContextValues {
  return createContextValues().set(callKey, call);
}

export function callOf(context: Pick<HandlerContext, "values">): Call {
  const call = context.values.get(callKey);
  invariant(call, "every request is given a call");
  return call;
}

/** For handlers that only principals reach. */
export function principalOf(context: Pick<HandlerContext, "values">): Principal {
  const { principal } = callOf(context);
  invariant(principal, "the gate lets nobody without a principal in here");
  return principal;
}

/** The line of a finished call: no token, no record, no message of a client's making. */
export function logCall(call: Call, nowMs: number): void {
  const { procedure, outcome, principal, frames, bytes, logger } = call;
  const code = outcome === undefined ? "gone" : outcome === "ok" ? "ok" : Code[outcome];
  const sent = frames > 0 ? { frames, bytes } : {};
  logger.info({ procedure, code, ms: nowMs - call.startedAtMs, principal: principal?.id, ...sent }, "call");
}
