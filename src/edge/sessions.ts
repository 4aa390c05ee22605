// HTTP/2 sessions: made of the connections that began with its preface, counted, PINGed, and closed together.
import { constants, createServer, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { invariant } from "../model/invariant.ts";
import { HEADER_BLOCK_BYTES_MAX, HEADER_PAIRS_MAX } from "./head-limits.ts";
import type { ListenerOptions } from "./listener.ts";
import { type Client, Pulse } from "./pulse.ts";

export interface Sessions {
  accept(socket: Socket): void;
  count(): number;
  /** Each takes no further calls and ends with its last; one whose client is gone is still cut. */
  close(): void;
}

/** A proxy may carry thousands of clients' streams in one session; a client of its own needs a handful. */
const STREAMS_PER_SESSION_MAX = 4_096;
/** Of a session's buffers, in MB: at node's 10, a session of some hundred streams takes no further ones. */
const SESSION_MEMORY_MAX_MB = 512;
/**
 * All streams of a session may be reset at once, as by a proxy that loses a network of clients: node's 1,000 would end
 * the streams of all others with them. Beyond that, node's own rate per second bounds clients that open and reset.
 */
const STREAM_RESETS = { streamResetBurst: STREAMS_PER_SESSION_MAX, streamResetRate: 33 } as const;

export function createSessions({ handler, clock, logger, limits }: ListenerOptions): Sessions {
  const sessions = new Set<ServerHttp2Session>();
  const pulse = new Pulse(clock, limits.pingIntervalMs);
  /** Node hands a session on without its socket. */
  let accepting: Socket | undefined;
  const server = createServer({
    ...STREAM_RESETS,
    maxSessionMemory: SESSION_MEMORY_MAX_MB,
    maxHeaderListPairs: HEADER_PAIRS_MAX,
    settings: {
      maxConcurrentStreams: STREAMS_PER_SESSION_MAX,
      maxHeaderListSize: HEADER_BLOCK_BYTES_MAX,
    },
  });
  server.on("request", (request, response) => {
    const { stream } = response;
    stream.once("finish", () => {
      if (!request.complete) void endUnread(stream);
    });
    handler(request, response);
  });
  server.on("session", (session) => {
    invariant(accepting, "a session begins when its socket is handed over");
    sessions.add(session);
    const forget = pulse.watch(clientOf(session, accepting));
    session.once("close", () => {
      sessions.delete(session);
      forget();
    });
  });
  server.on("sessionError", (error) => logger.debug({ error }, "an HTTP/2 session broke"));
  return {
    accept(socket) {
      // An HTTP server's sockets may be half open; a session would outlive its client.
      socket.allowHalfOpen = false;
      accepting = socket;
      server.emit("connection", socket);
      accepting = undefined;
    },
    count: () => sessions.size,
    close() {
      for (const session of sessions) session.close();
    },
  };

  function clientOf(session: ServerHttp2Session, socket: Socket): Client {
    return {
      get bytesRead() {
        return socket.bytesRead;
      },
      ping() {
        if (!session.destroyed) session.ping(answered);
      },
      cut() {
        logger.debug({}, "an HTTP/2 client stopped answering");
        session.destroy();
        // The session alone would wait for what it has written to leave.
        socket.destroy();
      },
    };
  }

  /** Node leaves a stream open for ever that was answered by headers alone before its message was read to the end. */
  async function endUnread(stream: ServerHttp2Stream): Promise<void> {
    const closed = new AbortController();
    stream.once("close", () => closed.abort());
    await clock.sleep(limits.requestTimeoutMs, closed.signal);
    if (!closed.signal.aborted) stream.close(constants.NGHTTP2_NO_ERROR);
  }
}

/** An answer is told by its bytes. */
function answered(): void {}
