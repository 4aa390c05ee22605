// The edge: one port, all protocols. It listens before the server can serve, so that health and readiness have an
// answer, opens once its parts are there, and drains before it closes.
import type { TrustedProxies } from "../access/address.ts";
import type { ClientVersions } from "../access/client-versions.ts";
import type { Clock } from "../model/clock.ts";
import type { Logger } from "../model/logger.ts";
import type { Metrics } from "../model/metrics.ts";
import { SyncError } from "../model/sync-error.ts";
import { createAudit } from "./audit.ts";
import { createCall, logCall } from "./call.ts";
import type { TlsSettings } from "./certificates.ts";
import { answerCors } from "./cors.ts";
import { connectErrorOf, DEPRECATION_HEADER } from "./errors.ts";
import { shuttingDown } from "./gate.ts";
import { headFault } from "./head-limits.ts";
import { createListener, type HttpRequest, type HttpResponse, type ListenerLimits } from "./listener.ts";
import { settleBytes } from "./metering.ts";
import { createPages } from "./pages.ts";
import { type Exchange, refuse } from "./refuse.ts";
import { createPlainRoad, createRouter, type EdgeParts, REQUEST_BYTES_MAX } from "./router.ts";
import { createRpc, type Rpc } from "./rpc.ts";
import { setSecurityHeaders } from "./security-headers.ts";
import { createServing } from "./serving.ts";

export interface EdgeOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
  readonly receiptDays: number;
  readonly tombstoneDays: number;
  readonly mutationBytesMax: number;
  /** Origins whose pages may call; `*`: all. */
  readonly corsOrigins: readonly string[];
  readonly limits: ListenerLimits;
  /** Undefined: cleartext. */
  readonly tls: TlsSettings | undefined;
  readonly trustedProxies: TrustedProxies;
  readonly clientVersions: ClientVersions;
  readonly featureFlags: ReadonlyMap<string, boolean>;
  readonly metrics: Metrics;
  /** What the server still waits for before it opens, in words. */
  readonly waitingFor: () => readonly string[];
}

export interface Edge {
  /** HTTP/2 sessions open now. */
  readonly sessions: number;
  /** Begins to accept; until `open`, calls get UNAVAILABLE. Resolves with the port. */
  listen(port: number, host: string): Promise<number>;
  open(parts: EdgeParts): void;
  /**
   * Drains: pulls end with Closed(RECONNECT), new calls get UNAVAILABLE, calls in progress may end within the grace;
   * what is left a second before its end is aborted, then cut. Takes `graceMs` at most. Idempotent.
   */
  close(graceMs: number): Promise<void>;
}

/** When a starting or draining server suggests to come back. */
const RETRY_AFTER_MS = 1_000;
/** What calls that don't end by themselves get to say so. */
const ABORTED_BEFORE_END_MS = 1_000;

export function createEdge(options: EdgeOptions): Edge {
  const { clock, logger, limits, version, clientVersions, waitingFor } = options;
  const serving = createServing();
  const shutdown = new AbortController();
  const pages = createPages({ serving, version, waitingFor });
  const audit = createAudit(options);
  const onRefusedCertificate = audit.refusedCertificate;
  const listener = createListener({ handler, clock, logger, limits, tls: options.tls, onRefusedCertificate });
  let opened: { readonly rpc: Rpc; readonly parts: EdgeParts } | undefined;
  let closing: Promise<void> | undefined;
  return {
    get sessions() {
      return listener.sessionCount();
    },
    listen: (port, host) => listener.listen(port, host),
    open(parts) {
      const facts = { ...options, oldestClients: clientVersions.oldest, requestBytesMax: REQUEST_BYTES_MAX };
      const { signal: shutdownSignal } = shutdown;
      const shared = {
        ...parts,
        facts,
        serving,
        clientVersions,
        shutdownSignal,
        retryAfterMs: RETRY_AFTER_MS,
      };
      const roads = { router: createRouter(shared), plainRoad: createPlainRoad(shared) };
      const { requestTimeoutMs } = limits;
      opened = { parts, rpc: createRpc({ ...roads, clock, shutdownSignal, requestTimeoutMs }) };
      if (serving.state === "STARTING") serving.become("SERVING");
    },
    close(graceMs) {
      closing ??= close(graceMs);
      return closing;
    },
  };

  function handler(request: HttpRequest, response: HttpResponse): void {
    const path = request.url?.split("?", 1)[0] ?? "/";
    const call = createCall(path, request, { ...options, audit });
    response.setHeader("x-request-id", call.requestId);
    setSecurityHeaders(response, options.tls !== undefined);
    const notice = clientVersions.notice(call.client);
    if (notice !== undefined) response.setHeader(DEPRECATION_HEADER, notice);
    if (serving.state === "DRAINING" && request.httpVersionMajor === 1) {
      response.setHeader("connection", "close");
    }
    if (answerCors(request, response, options.corsOrigins)) return;
    const fault = headFault(request);
    // Whatever else is POSTed is a call to a method there isn't.
    if (fault) refuse({ call, request, response }, connectErrorOf(fault.error), fault.status);
    else if (request.method === "POST" || path.startsWith("/tidemark.") || opened?.rpc.handles(path)) {
      answerCall({ call, request, response });
    } else {
      pages(path, request, response);
    }
  }

  function answerCall(exchange: Exchange): void {
    const { call, response } = exchange;
    response.once("close", () => {
      if (opened) settleBytes(call, opened.parts.limiter);
      logCall(call, clock.nowMs());
    });
    if (opened === undefined) refuse(exchange, connectErrorOf(starting()));
    else void opened.rpc.handle(exchange);
  }

  async function close(graceMs: number): Promise<void> {
    serving.become("DRAINING");
    opened?.parts.pull.drain(RETRY_AFTER_MS);
    const closed = new AbortController();
    void abortCalls(Math.max(0, graceMs - ABORTED_BEFORE_END_MS), closed.signal);
    await listener.close(graceMs);
    audit.close();
    closed.abort();
  }

  async function abortCalls(afterMs: number, closed: AbortSignal): Promise<void> {
    await clock.sleep(afterMs, closed);
    if (!closed.aborted) shutdown.abort(connectErrorOf(shuttingDown(RETRY_AFTER_MS)));
  }
}

function starting(): SyncError {
  return new SyncError("DATABASE_UNAVAILABLE", "the server is starting; try again", {
    retryAfterMs: RETRY_AFTER_MS,
  });
}
