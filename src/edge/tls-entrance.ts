// TLS before everything else: wraps each accepted connection and hands it on once its handshake is done. The
// certificate files are looked at every few seconds; new ones hold for new handshakes, and what can't be used changes
// nothing. Connections that are open go on.
import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import type { Clock } from "../model/clock.ts";
import type { Logger } from "../model/logger.ts";
import {
  type CertificateFiles,
  checkCertificates,
  readCertificateFiles,
  type TlsSettings,
} from "./certificates.ts";
import { createHandshakes } from "./handshakes.ts";

export interface TlsEntranceOptions {
  readonly settings: TlsSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly handshakeTimeoutMs: number;
  /** Gets each connection whose handshake is done, with nothing read. */
  readonly onSecure: (socket: TLSSocket) => void;
  /** A client has no certificate, or one that isn't taken; `fault` says why, in OpenSSL's word. */
  readonly onRefused: (address: string, fault: string) => void;
}

export interface TlsEntrance {
  /** Reads the files for the first time. @throws CertificateError if they can't be used. */
  open(): Promise<void>;
  accept(socket: Socket): void;
  /** Closes the connections still in their handshake, and watches the files no more. */
  close(): void;
}

/** Certificates change every few weeks: this is soon enough, and three small reads cost nothing. */
const LOOK_EVERY_MS = 5_000;

export function createTlsEntrance(options: TlsEntranceOptions): TlsEntrance {
  const { settings, clock, logger, handshakeTimeoutMs, onSecure, onRefused } = options;
  const asksClients = settings.clientCaFile !== undefined;
  const server = createServer({
    ALPNProtocols: ["h2", "http/1.1"],
    handshakeTimeout: handshakeTimeoutMs,
    requestCert: asksClients,
    rejectUnauthorized: asksClients,
  });
  const closed = new AbortController();
  const handshakes = createHandshakes();
  server.on("secureConnection", (socket) => {
    handshakes.done();
    onSecure(socket);
  });
  server.on("tlsClientError", (error, socket) => {
    const address = handshakes.address();
    const fault = certificateFault(error, socket);
    if (fault !== undefined) onRefused(address, fault);
    else logger.debug({ err: error, address }, "a TLS handshake failed");
    socket.destroy();
  });
  return {
    async open() {
      const files = await readCertificateFiles(settings);
      use(files);
      void watch(files);
    },
    accept(socket) {
      // Whoever ends its side in a handshake is gone, and TLS knows no half-open connections.
      socket.allowHalfOpen = false;
      // The TLS socket around it tells of it.
      socket.on("error", () => {});
      handshakes.begin(socket, () => server.emit("connection", socket));
    },
    close() {
      closed.abort();
      handshakes.cut();
    },
  };

  function use(files: CertificateFiles): void {
    const { context, subject, notAfter } = checkCertificates(files, settings.minVersion);
    server.setSecureContext(context);
    const facts = { subject, notAfter: notAfter.toISOString() };
    if (notAfter.getTime() > clock.nowMs()) logger.info(facts, "TLS certificate in use");
    else logger.warn(facts, "the TLS certificate in use has expired");
  }

  async function watch(first: CertificateFiles): Promise<void> {
    let used = digestOf(first);
    let told = "";
    let suspect = "";
    for (;;) {
      await clock.sleep(LOOK_EVERY_MS, closed.signal);
      if (closed.signal.aborted) return;
      const found = await look(used);
      if (found === "unchanged") told = suspect = "";
      else if (found.fault === undefined) used = found.digest;
      // The files change one after the other: only what is wrong twice running is wrong.
      else if (found.digest === suspect && found.digest !== told) {
        told = found.digest;
        logger.error({ err: found.fault }, "new TLS files can't be used: the old certificate stays");
      } else suspect = found.digest;
    }
  }

  /** Takes new files into use, if there are any. */
  async function look(
    used: string,
  ): Promise<"unchanged" | { readonly digest: string; readonly fault?: unknown }> {
    let digest = "unreadable";
    try {
      const files = await readCertificateFiles(settings);
      digest = digestOf(files);
      if (digest === used) return "unchanged";
      use(files);
      return { digest };
    } catch (fault) {
      return { digest, fault };
    }
  }
}

const NO_CERTIFICATE = "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE";

function certificateFault(error: NodeJS.ErrnoException, socket: TLSSocket): string | undefined {
  if (error.code === NO_CERTIFICATE) return "NO_CERTIFICATE";
  // Node puts the code there, whatever the type says.
  return socket.authorizationError ? String(socket.authorizationError) : undefined;
}

function digestOf({ cert, key, clientCa }: CertificateFiles): string {
  return createHash("sha256")
    .update(JSON.stringify([cert, key, clientCa]))
    .digest("hex");
}
