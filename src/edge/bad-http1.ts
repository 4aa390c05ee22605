// HTTP/1.1 requests that node gives up on before a handler sees them: unreadable, too large in their head, too slow.
// Each is told why, unless an answer is already on its way; then the connection ends.
import type { Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { ErrorReason } from "../model/sync-error.ts";
import { REASON_METADATA } from "./errors.ts";
import { plainHeaders } from "./security-headers.ts";

type Explanation = readonly [status: string, reason: ErrorReason, why: string];

const EXPLANATIONS: Readonly<Record<string, Explanation>> = {
  HPE_HEADER_OVERFLOW: [
    "431 Request Header Fields Too Large",
    "REQUEST_TOO_LARGE",
    "the address and headers are too many or too large",
  ],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [
    "413 Content Too Large",
    "REQUEST_TOO_LARGE",
    "the chunk extensions are too large",
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [
    "408 Request Timeout",
    "DEADLINE_EXCEEDED",
    "the request took too long to arrive",
  ],
};
const UNREADABLE: Explanation = [
  "400 Bad Request",
  "INVALID_REQUEST",
  "this is no HTTP/1.1 request, and no HTTP/2 either",
];

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
    const [status, reason, why] = EXPLANATIONS[error.code ?? ""] ?? UNREADABLE;
    const about = [
      [REASON_METADATA, reason],
      ["connection", "close"],
      ["content-length", `${why.length + 1}`],
    ];
    const lines = [...plainHeaders(), ...about].map(([name, value]) => `${name}: ${value}\r\n`).join("");
    socket.write(`HTTP/1.1 ${status}\r\n${lines}\r\n${why}\n`, () => socket.destroy());
  });
}
