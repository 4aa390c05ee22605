// One port for HTTP/1.1 and cleartext HTTP/2, told apart by the HTTP/2 preface. Owns every connection: each has time
// limits, sessions must answer PINGs, and closing lets calls end within a grace, then cuts.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import {
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { Clock } from "../model/clock.ts";
import { invariant } from "../model/invariant.ts";
import type { Logger } from "../model/logger.ts";
import { cutWhenSilent } from "./silent-session.ts";
import { createSniffer } from "./sniffer.ts";

export type HttpRequest = IncomingMessage | Http2ServerRequest;
export type HttpResponse = ServerResponse | Http2ServerResponse;

export interface ListenerLimits {
  /** Connections open at once; further ones are dropped. */
  readonly connectionsMax: number;
  /** How long a client may take to say which protocol it speaks, and then to send a request's headers. */
  readonly headersTimeoutMs: number;
  /** How long it may take to send a whole HTTP/1.1 request. */
  readonly requestTimeoutMs: number;
  /** How often an HTTP/2 session is PINGed, and within which time it must answer. */
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
}

export const listenerDefaults: ListenerLimits = {
  connectionsMax: 20_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  pingIntervalMs: 20_000,
  pingTimeoutMs: 10_000,
};

export interface ListenerOptions {
  readonly handler: (request: HttpRequest, response: HttpResponse) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: ListenerLimits;
}

export interface Listener {
  /** Begins to accept. Resolves with the port; rejects if the address is taken. */
  listen(port: number, host: string): Promise<number>;
  /** HTTP/2 sessions open now. */
  sessionCount(): number;
  /** Stops accepting, lets calls in progress end, cuts what is left after `graceMs`. Idempotent. */
  close(graceMs: number): Promise<void>;
}

/** A proxy may carry thousands of clients' streams in one session. */
const STREAMS_PER_SESSION_MAX = 4_096;
/** Of a session's buffers, in MB: node's 10 would end sessions of many streams. */
const SESSION_MEMORY_MAX_MB = 512;
/** Longer than the idle time of common load balancers, so that these close first and never hit a closed socket. */
const IDLE_CONNECTION_MS = 75_000;
const SWEEP_MS = 50;

export function createListener({ handler, clock, logger, limits }: ListenerOptions): Listener {
  const sessions = new Set<ServerHttp2Session>();
  const http2 = createHttp2Server(
    { maxSessionMemory: SESSION_MEMORY_MAX_MB, settings: { maxConcurrentStreams: STREAMS_PER_SESSION_MAX } },
    handler,
  );
  http2.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    void cutWhenSilent(session, { clock, logger, ...limits });
  });
  http2.on("sessionError", (error) => logger.debug({ error }, "an HTTP/2 session broke"));
  const http1 = http1Server(handler, limits);
  const sniffer = createSniffer({ http1, http2, clock, timeoutMs: limits.headersTimeoutMs });
  const sockets = new Set<Socket>();
  http1.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  let closing: Promise<void> | undefined;
  return {
    listen: (port, host) => listen(http1, port, host),
    sessionCount: () => sessions.size,
    close(graceMs) {
      closing ??= close(graceMs);
      return closing;
    },
  };

  async function close(graceMs: number): Promise<void> {
    const closed = new AbortController();
    const ended = new Promise<void>((resolve) => {
      http1.close(() => {
        closed.abort();
        resolve();
      });
    });
    sniffer.close();
    for (const session of sessions) session.close();
    void cutAfter(graceMs, closed.signal);
    while (!closed.signal.aborted) {
      // Connections turn idle one by one, and node only closes those that are when it is asked.
      http1.closeIdleConnections();
      await clock.sleep(SWEEP_MS, closed.signal);
    }
    await ended;
  }

  async function cutAfter(graceMs: number, closed: AbortSignal): Promise<void> {
    await clock.sleep(graceMs, closed);
    if (closed.aborted) return;
    logger.warn({ connections: sockets.size }, "cutting connections that outlast the grace");
    // Not the sessions: one that was asked to close would wait for its client to hang up, however it is destroyed.
    for (const socket of sockets) socket.destroy();
  }
}

/** This server itself listens: only then do its time limits run. */
function http1Server(handler: ListenerOptions["handler"], limits: ListenerLimits): Server {
  const server = createServer(
    {
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: IDLE_CONNECTION_MS,
      connectionsCheckingInterval: Math.min(5_000, limits.headersTimeoutMs),
    },
    handler,
  );
  server.maxConnections = limits.connectionsMax;
  return server;
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve(portOf(server.address()));
    });
  });
}

function portOf(address: AddressInfo | string | null): number {
  invariant(address !== null && typeof address === "object", "the server listens on a TCP port");
  return address.port;
}
