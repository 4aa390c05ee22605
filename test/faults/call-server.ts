// Calls as broken clients make them: bodies that no generated client would send, over HTTP/1.1 and HTTP/2, and what
// came back, checked for what must never be in an answer.
import http2 from "node:http2";
import { createConnection } from "node:net";
import { expect } from "vitest";
import { asPrincipal } from "../support/server.ts";

export const SYNC = "/tidemark.v1.SyncService/";

/** Traces of the inside: stacks, files, connection strings, classes of the driver. */
const INSIDE =
  /\bat \S+ \(|node_modules|\.[jt]s\b|\/src\/|mongodb:|Mongo\w*Error|BSONError|TypeError|RangeError/;

export function expectClean(text: string): void {
  expect(text).not.toMatch(INSIDE);
}

export interface JsonAnswer {
  readonly status: number;
  /** Of an error. */
  readonly reason: string | null;
  readonly text: string;
}

/** A unary call in Connect's JSON. */
export async function callJson(
  url: string,
  method: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<JsonAnswer> {
  const answer = await fetch(`${url}${SYNC}${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...asPrincipal("ana"), ...headers },
    body: typeof body === "string" || body instanceof Uint8Array ? Buffer.from(body) : JSON.stringify(body),
  });
  const text = await answer.text();
  expectClean(text);
  return { status: answer.status, reason: answer.headers.get("tidemark-reason"), text };
}

export interface GrpcAnswer {
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** A gRPC call with these bytes as its body; resolves when the server has ended the stream. */
export async function callGrpc(
  url: string,
  method: string,
  body: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Promise<GrpcAnswer> {
  const session = http2.connect(url);
  try {
    const { promise, resolve, reject } = Promise.withResolvers<http2.IncomingHttpHeaders>();
    session.once("error", reject);
    const stream = session.request({
      ":method": "POST",
      ":path": `${SYNC}${method}`,
      "content-type": "application/grpc+proto",
      te: "trailers",
      ...asPrincipal("ana"),
      ...headers,
    });
    stream.once("error", reject);
    // Of an answer without a body the headers are the trailers.
    stream.once("response", (head) => head["grpc-status"] && resolve(head));
    stream.once("trailers", resolve);
    stream.resume();
    stream.end(body);
    const end = await promise;
    const message = decodeURIComponent(String(end["grpc-message"] ?? ""));
    expectClean(message);
    return { status: String(end["grpc-status"]), reason: String(end["tidemark-reason"]), message };
  } finally {
    session.destroy();
  }
}

/** A message in its envelope; `length` may lie. */
export function envelope(message: Uint8Array, flags = 0, length = message.length): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

/** Whatever a server answers to these bytes until it closes the connection. */
export function exchange(url: string, request: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = createConnection(Number(port), hostname);
    let answer = "";
    socket.setEncoding("latin1");
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    // A server that has answered needn't read the rest.
    socket.once("error", (error) => answer === "" && reject(error));
    socket.once("close", () => resolve(answer));
    socket.write(Buffer.from(request, "latin1"));
  });
}
