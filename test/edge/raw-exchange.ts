// Requests as bytes over HTTP/1.1 and HTTP/2, in cleartext and TLS, and all that came back: status lines, headers,
// bodies and trailers as one text.
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Request } from "./malformed.ts";

export interface Target {
  readonly port: number;
  /** What the server's certificate is signed with; undefined: cleartext. */
  readonly ca: string | undefined;
}

function dial({ port, ca }: Target): Socket {
  const to = { port, host: "127.0.0.1" };
  return ca === undefined ? connect(to) : connectTls({ ...to, ca, ALPNProtocols: ["http/1.1"] });
}

/** All that comes until the connection ends. The client ends its side once it has written. */
export function exchangeBytes(target: Target, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = dial(target);
    let text = "";
    socket.setEncoding("latin1").on("data", (chunk: string) => {
      text += chunk;
    });
    socket.on("error", () => {}).once("close", () => resolve(text));
    socket.end(bytes);
  });
}

/** Of a stream, the answer's beginning with its first frame. */
export function exchangeHttp1(
  target: Target,
  { method, path, headers, body, isStream }: Request,
): Promise<string> {
  return new Promise((resolve) => {
    const socket = dial(target);
    let text = "";
    socket.setEncoding("latin1").on("data", (chunk: string) => {
      text += chunk;
      if (isStream && /\r\n\r\n[\s\S]/.test(text)) socket.destroy();
    });
    socket.on("error", () => {}).once("close", () => resolve(text));
    const all = { host: "127.0.0.1", connection: "close", "content-length": String(body.length), ...headers };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`, "latin1");
    socket.write(body);
  });
}

export function exchangeHttp2({ port, ca }: Target, request: Request): Promise<string> {
  const { method, path, headers, body, isStream } = request;
  return new Promise((resolve) => {
    const session =
      ca === undefined
        ? connectHttp2(`http://127.0.0.1:${port}`)
        : connectHttp2(`https://127.0.0.1:${port}`, { ca });
    let text = "";
    const done = () => {
      session.destroy();
      resolve(text);
    };
    const note = (head: IncomingHttpHeaders) => {
      // gRPC's message is percent-encoded, its details are base64.
      const details = Buffer.from(String(head["grpc-status-details-bin"] ?? ""), "base64").toString("latin1");
      text += `${decodeURIComponent(JSON.stringify(head).replace(/%(?![0-9A-F]{2})/g, "%25"))}\n${details}\n`;
    };
    session.on("error", done);
    const stream = session.request({ ":method": method, ":path": path, ...headers });
    stream
      .on("response", note)
      .on("trailers", note)
      .on("error", () => {});
    stream.setEncoding("latin1").on("data", (chunk: string) => {
      text += chunk;
      if (isStream) done();
    });
    stream.once("end", done).once("close", done);
    stream.end(body);
  });
}
