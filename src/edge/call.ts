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
import { invariant } from "../model/invariant.ts";
import type { Logger } from "../model/logger.ts";
import type { Principal } from "../model/principal.ts";

export interface Call {
  readonly requestId: string;
  /** Its lines carry the request id. */
  readonly logger: Logger;
  readonly procedure: string;
  /** The caller's IP address; empty if the connection is gone already. */
  readonly address: string;
  readonly startedAtMs: number;
  /** Its handler has been called: of a single message this means that it could be read. */
  isRead: boolean;
  /** Undefined where no token is asked for. */
  principal: Principal | undefined;
  /** How it ended; undefined while it goes on, and when the client went away. */
  outcome: Code | "ok" | undefined;
  /** Received or sent, and not yet charged to its caller's limits. */
  owedBytes: number;
  /** Of a pull: what was sent. */
  frames: number;
  bytes: number;
}

const callKey = createContextKey<Call | undefined>(undefined, { description: "tidemark call" });

/** A client's own request id is kept if it is short and printable. */
const SANE_REQUEST_ID = /^[\w.:/+=-]{1,128}$/;

export function requestIdOf(header: string | string[] | undefined): string {
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
