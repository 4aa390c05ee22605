// One port for HTTP/1.1 and HTTP/2, told apart by the HTTP/2 preface, in cleartext or, with certificates, within TLS.
// Owns every connection: each has time limits, sessions must answer PINGs, and closing lets calls end within a grace,
// then cuts.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { Clock } from "../model/clock.ts";
import { invariant } from "../model/invariant.ts";
import type { Logger } from "../model/logger.ts";
import { explainBadHttp1 } from "./bad-http1.ts";
import type { TlsSettings } from "./certificates.ts";
import { HEADER_BLOCK_BYTES_MAX, HEADERS_READ_MAX } from "./head-limits.ts";
import { LostClients } from "./lost-clients.ts";
import { createSessions } from "./sessions.ts";
import { createSniffer } from "./sniffer.ts";
import { createTlsEntrance } from "./tls-entrance.ts";

export type HttpRequest = IncomingMessage | Http2ServerRequest;
export type HttpResponse = ServerResponse | Http2ServerResponse;

export interface ListenerLimits {
  /** Connections open at once; further ones are dropped. */
  readonly connectionsMax: number;
  /**
   * How long a client may take for its TLS handshake, then to say which protocol it speaks, and then to send a
   * request's headers.
   */
  readonly headersTimeoutMs: number;
  /** How long it may take to send a whole HTTP/1.1 request. */
  readonly requestTimeoutMs: number;
  /**
   * How often an HTTP/2 client is PINGed. It is cut when a whole interval has brought nothing from it: between one and
   * two intervals after its last sign of life. For HTTP/1.1, see LostClients.
   */
  readonly pingIntervalMs: number;
}

export const listenerDefaults: ListenerLimits = {
  connectionsMax: 20_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  pingIntervalMs: 20_000,
};

export interface ListenerOptions {
  readonly handler: (request: HttpRequest, response: HttpResponse) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: ListenerLimits;
  /** Undefined: cleartext. */
  readonly tls?: TlsSettings | undefined;
  /** A TLS client has no certificate, or one that isn't taken. */
  readonly onRefusedCertificate?: (address: string, fault: string) => void;
}

export interface Listener {
  /**
   * Begins to accept. Resolves with the port; rejects if the address is taken.
   * @throws CertificateError before anything is accepted.
   */
  listen(port: number, host: string): Promise<number>;
  /** HTTP/2 sessions open now. */
  sessionCount(): number;
  /** Stops accepting, lets calls in progress end, cuts what is left after `graceMs`. Idempotent. */
  close(graceMs: number): Promise<void>;
}

/** Longer than the idle time of common load balancers, so that these close first and never hit a closed socket. */
const IDLE_CONNECTION_MS = 75_000;
const SWEEP_MS = 50;

export function createListener(options: ListenerOptions): Listener {
  const { handler, clock, logger, limits, tls, onRefusedCertificate = () => {} } = options;
  const sessions = createSessions({ handler, clock, logger, limits });
  const http1 = http1Server(options);
  const [acceptHttp1] = http1.listeners("connection");
  invariant(acceptHttp1, "node's server takes its connections by an event");
  http1.removeAllListeners("connection");
  const sniffer = createSniffer({
    onHttp1: (socket) => void acceptHttp1.call(http1, socket),
    onHttp2: sessions.accept,
    clock,
    timeoutMs: limits.headersTimeoutMs,
  });
  const entrance =
    tls &&
    createTlsEntrance({
      settings: tls,
      clock,
      logger,
      handshakeTimeoutMs: limits.headersTimeoutMs,
      onSecure: sniffer.accept,
      onRefused: onRefusedCertificate,
    });
  const sockets = new Set<Socket>();
  http1.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    (entrance ?? sniffer).accept(socket);
  });
  let closing: Promise<void> | undefined;
  return {
    async listen(port, host) {
      await entrance?.open();
      return await listen(http1, port, host);
    },
    sessionCount: () => sessions.count(),
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
    entrance?.close();
    sniffer.close();
    sessions.close();
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
function http1Server({ handler, clock, logger, limits }: ListenerOptions): Server {
  const lost = new LostClients({ clock, logger, intervalMs: limits.pingIntervalMs });
  const server = createServer({
    keepAlive: true,
    keepAliveInitialDelay: limits.pingIntervalMs,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: IDLE_CONNECTION_MS,
    connectionsCheckingInterval: Math.min(5_000, limits.headersTimeoutMs),
    maxHeaderSize: HEADER_BLOCK_BYTES_MAX,
  });
  server.on("request", (request, response) => {
    lost.watch(request, response);
    handler(request, response);
  });
  explainBadHttp1(server);
  server.maxConnections = limits.connectionsMax;
  server.maxHeadersCount = HEADERS_READ_MAX;
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
