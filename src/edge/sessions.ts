// HTTP/2 sessions: made of the connections that began with its preface, counted, PINGed, and closed together.
import { constants, createServer, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { HEADER_BLOCK_BYTES_MAX, HEADER_PAIRS_MAX } from "./head-limits.ts";
import type { ListenerOptions } from "./listener.ts";
import { cutWhenSilent } from "./silent-session.ts";

export interface Sessions {
  accept(socket: Socket): void;
  count(): number;
  /** Each takes no further calls and ends with its last. */
  close(): void;
}

/** A proxy may carry thousands of clients' streams in one session. */
const STREAMS_PER_SESSION_MAX = 4_096;
/** Of a session's buffers, in MB: node's 10 would end sessions of many streams. */
const SESSION_MEMORY_MAX_MB = 512;

export function createSessions({ handler, clock, logger, limits }: ListenerOptions): Sessions {
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer({
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
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    void cutWhenSilent(session, { clock, logger, ...limits });
  });
  server.on("sessionError", (error) => logger.debug({ error }, "an HTTP/2 session broke"));
  return {
    accept(socket) {
      // An HTTP server's sockets may be half open; a session would outlive its client.
      socket.allowHalfOpen = false;
      server.emit("connection", socket);
    },
    count: () => sessions.size,
    close() {
      for (const session of sessions) session.close();
    },
  };

  /** Node leaves a stream open for ever that was answered by headers alone before its message was read to the end. */
  async function endUnread(stream: ServerHttp2Stream): Promise<void> {
    const closed = new AbortController();
    stream.once("close", () => closed.abort());
    await clock.sleep(limits.requestTimeoutMs, closed.signal);
    if (!closed.signal.aborted) stream.close(constants.NGHTTP2_NO_ERROR);
  }
}
