// Tells HTTP/2 from HTTP/1.1 by a connection's first bytes and hands the socket on, with nothing read. A client that
// doesn't say within the time limit, or goes away, is closed.
import type { Socket } from "node:net";
import type { Clock } from "../model/clock.ts";

export interface SnifferOptions {
  readonly onHttp1: (socket: Socket) => void;
  readonly onHttp2: (socket: Socket) => void;
  readonly clock: Clock;
  readonly timeoutMs: number;
}

export interface Sniffer {
  accept(socket: Socket): void;
  /** Closes the connections that have not said what they are; none is handed on any more. */
  close(): void;
}

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

export function createSniffer({ onHttp1, onHttp2, clock, timeoutMs }: SnifferOptions): Sniffer {
  const undecided = new Set<Socket>();
  let closed = false;
  return {
    accept: (socket) => void sniff(socket),
    close() {
      closed = true;
      for (const socket of undecided) socket.destroy();
    },
  };

  async function sniff(socket: Socket): Promise<void> {
    undecided.add(socket);
    const protocol = await firstProtocol(socket, clock, timeoutMs);
    undecided.delete(socket);
    if (closed || protocol === undefined) socket.destroy();
    else if (protocol === "http1") onHttp1(socket);
    else onHttp2(socket);
  }
}

/** The protocol; undefined when the client ended, broke or took too long. What was read is put back. */
async function firstProtocol(
  socket: Socket,
  clock: Clock,
  timeoutMs: number,
): Promise<"http1" | "http2" | undefined> {
  const decided = new AbortController();
  try {
    return await Promise.race([
      readProtocol(socket, decided.signal),
      clock.sleep(timeoutMs, decided.signal).then(() => undefined),
    ]);
  } finally {
    decided.abort();
  }
}

function readProtocol(socket: Socket, decided: AbortSignal): Promise<"http1" | "http2" | undefined> {
  return new Promise((resolve) => {
    let seen = Buffer.alloc(0);
    const onReadable = () => {
      const chunk: Buffer | null = socket.read();
      if (chunk === null) return;
      seen = Buffer.concat([seen, chunk]);
      const length = Math.min(seen.length, PREFACE.length);
      const isHttp2 = seen.compare(PREFACE, 0, length, 0, length) === 0;
      if (isHttp2 && length < PREFACE.length) return;
      stop();
      socket.unshift(seen);
      resolve(isHttp2 ? "http2" : "http1");
    };
    const onGone = () => resolve(undefined);
    const stop = () => {
      socket.off("readable", onReadable);
      for (const event of ["error", "end", "close"]) socket.off(event, onGone);
    };
    socket.on("readable", onReadable);
    for (const event of ["error", "end", "close"]) socket.on(event, onGone);
    decided.addEventListener("abort", stop);
  });
}
