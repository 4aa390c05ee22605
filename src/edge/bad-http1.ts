// HTTP/1.1 requests that node gives up on before a handler sees them: unreadable, too large in their head, too slow.
// Each is told why, unless an answer is already on its way; then the connection ends.
import type { Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { plainHeaders } from "./security-headers.ts";

const EXPLANATIONS: Readonly<Record<string, readonly [status: string, why: string]>> = {
  HPE_HEADER_OVERFLOW: [
    "431 Request Header Fields Too Large",
    "the address and headers are too large together",
  ],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ["413 Content Too Large", "the chunk extensions are too large"],
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "the request took too long to arrive"],
};
const UNREADABLE = ["400 Bad Request", "this is no HTTP/1.1 request, and no HTTP/2 either"] as const;

export function explainBadHttp1(server: Server): void {
  const answers = new WeakMap<Duplex, Set<ServerResponse>>();
  server.on("request", ({ socket }, response) => {
    const open = answers.get(socket) ?? new Set();
    answers.set(socket, open.add(response));
    response.once("close", () => open.delete(response));
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    const hasBegun = [...(answers.get(socket) ?? [])].some(({ headersSent }) => headersSent);
    if (!socket.writable || hasBegun || error.code === "ECONNRESET") {
      socket.destroy();
      return;
    }
    const [status, why] = EXPLANATIONS[error.code ?? ""] ?? UNREADABLE;
    const head = [...plainHeaders(), ["connection", "close"], ["content-length", `${why.length + 1}`]];
    const lines = head.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    socket.write(`HTTP/1.1 ${status}\r\n${lines}\r\n${why}\n`, () => socket.destroy());
  });
}
