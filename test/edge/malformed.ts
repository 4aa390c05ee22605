// Requests that are wrong in every way one can be wrong: drawn at random, part by part, so that a seed repeats them.
import { gzipSync } from "node:zlib";
import { envelope } from "../faults/call-server.ts";
import type { Random } from "../support/random.ts";

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** An answer to it may go on for ever. */
  readonly isStream: boolean;
}

const STREAMS = [
  "/tidemark.v1.SyncService/PullChanges",
  "/grpc.health.v1.Health/Watch",
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];
const PATHS = [
  ...STREAMS,
  "/tidemark.v1.SyncService/ListChanges",
  "/tidemark.v1.SyncService/PushMutations",
  "/tidemark.v1.ReceiptService/GetReceipt",
  "/tidemark.v1.ReceiptService/ListReceipts",
  "/tidemark.v1.ServerService/GetServerInfo",
  "/grpc.health.v1.Health/Check",
  "/tidemark.v1.SyncService/Nothing",
  "/tidemark.v1.SyncService/",
  "/",
  "//",
  "/healthz/..",
  "/%2e%2e/%2e%2e/passwd",
  "/%00",
  "/%",
  "/?",
  "/constructor",
  "/__proto__",
];
const CONTENT_TYPES = [
  "application/json",
  "application/proto",
  "application/connect+json",
  "application/connect+proto",
  "application/grpc",
  "application/grpc+proto",
  "application/grpc+json",
  "application/grpc-web+proto",
  "application/grpc-web+json",
  "application/grpc-web-text",
  "application/json; charset=utf-16",
  "application/grpc+thrift",
  "text/html",
  "",
];
const ODD_HEADERS: readonly (readonly [string, readonly string[]])[] = [
  [
    "authorization",
    [
      "Bearer dev-ana",
      "Bearer x.y.z",
      "Bearer ",
      "Basic YTpi",
      `Bearer ${"a".repeat(17_000)}`,
      "Bearer dev-",
    ],
  ],
  ["tidemark-client", ["ios/2.4.0; device=d", "ios", "/", ";;;", `x/${"1".repeat(600)}`, "ios/2; device="]],
  ["grpc-timeout", ["1S", "99999999H", "-1S", "1", "x", "123456789n"]],
  ["connect-timeout-ms", ["1000", "0", "-5", "9999999999", "99999999999", "1e3", "x"]],
  ["connect-protocol-version", ["1", "2", "", "x"]],
  ["content-encoding", ["gzip", "br", "identity", "deflate", "gzip, gzip", "x"]],
  ["connect-content-encoding", ["gzip", "zstd"]],
  ["grpc-encoding", ["gzip", "snappy", ""]],
  ["grpc-accept-encoding", ["gzip", "x,,,"]],
  ["accept-encoding", ["gzip", "*;q=x"]],
  ["x-request-id", ["r1", "a".repeat(500), "%0d%0a"]],
  ["x-forwarded-for", ["1.1.1.1", "garbage", ",,,,"]],
  ["origin", ["https://app.example", "null", "://"]],
  ["te", ["trailers"]],
  ["x-user-agent", ["%n%s"]],
];
const JSON_BODIES = [
  "{}",
  "",
  "{",
  "null",
  "[]",
  "0",
  '"text"',
  '{"selections":1}',
  '{"selections":[{"collection":{}}]}',
  '{"selections":[{"collection":"todos"}],"cursor":{"subscription":"x","position":"-1"}}',
  '{"cursor":{"position":1e400}}',
  '{"unknown":true}',
  '{"mutations":[{"mutationId":"x"}]}',
  '{"mutations":[{"mutationId":"3f0e6ab3-0d3f-4e6c-9c1c-2f1b8f5b6a10","collection":"todos","recordId":"r","create":{"record":{"json":{"title":{"$where":"1"}}}}}]}',
  '{"mutations":[{"mutationId":"3f0e6ab3-0d3f-4e6c-9c1c-2f1b8f5b6a11","collection":"todos","recordId":"\\u0000","create":{"record":{"proto":"!!"}}}]}',
  '{"mutations":[{"mutationId":"3f0e6ab3-0d3f-4e6c-9c1c-2f1b8f5b6a12","collection":"__proto__","recordId":"r","delete":{}}]}',
  '{"mutationId":"nope"}',
  '{"pageToken":"AAAA"}',
  `${"[".repeat(20_000)}${"]".repeat(20_000)}`,
  `{"a":${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}}`,
  '"\ud800"',
  '{"\\ud800":1}',
];

export function malformedRequest(random: Random): Request {
  const path = random.of(PATHS);
  const isGet = random.below(5) === 0;
  const method = isGet
    ? "GET"
    : random.of(["POST", "POST", "POST", "POST", "PUT", "HEAD", "OPTIONS", "PATCH"]);
  const contentType = random.of(CONTENT_TYPES);
  const headers: Record<string, string> = { "content-type": contentType };
  // Most get past the gate, or nothing behind it would be tried.
  if (random.below(4) > 0) headers["authorization"] = "Bearer dev-ana";
  for (let count = random.below(4); count > 0; count--) {
    const [name, values] = random.of(ODD_HEADERS);
    headers[name] = random.of(values);
  }
  const body = isGet || method === "HEAD" ? Buffer.alloc(0) : bodyFor(contentType, random);
  const query = isGet || random.below(10) === 0 ? queryFrom(random) : "";
  return { method, path: path + query, headers, body, isStream: STREAMS.includes(path) };
}

function bodyFor(contentType: string, random: Random): Buffer {
  const message = messageFrom(contentType, random);
  const packed = random.below(5) === 0 ? gzipSync(message) : message;
  if (!/grpc|connect\+/.test(contentType)) return packed;
  const flags = random.of([0, 0, 0, 1, 2, 4, 0x80, 0xff]);
  const lies = random.of([packed.length, packed.length, packed.length + 1, 0, 0xffff_ffff, 5 * 2 ** 20]);
  const one = envelope(packed, flags, lies);
  return random.of([one, one, Buffer.concat([one, one]), one.subarray(0, random.below(6))]);
}

function messageFrom(contentType: string, random: Random): Buffer {
  const pick = random.below(8);
  if (pick === 0) return noise(random, random.below(300));
  if (pick === 1) return Buffer.alloc(0);
  if (pick === 2) return Buffer.alloc(4 * 2 ** 20 + 1, random.below(256));
  if (contentType.includes("json"))
    return Buffer.from(random.of(JSON_BODIES), pick === 3 ? "utf16le" : "utf8");
  // Tags of the fields there are, with lengths and values of no sense.
  const field = () => Buffer.from([(1 + random.below(9)) * 8 + random.below(8), random.below(256)]);
  return Buffer.concat(
    Array.from({ length: random.below(12) }, () => Buffer.concat([field(), noise(random, random.below(9))])),
  );
}

function queryFrom(random: Random): string {
  const message = random.of([
    ...JSON_BODIES.filter(({ length }) => length < 500),
    "%%%",
    "AAAA",
    "////",
    "=",
    "-_-_",
  ]);
  const parameters: Record<string, string> = { message, encoding: random.of(["json", "proto", "xml", ""]) };
  if (random.below(2) === 0) parameters["base64"] = random.of(["1", "0", "x"]);
  if (random.below(3) === 0) parameters["connect"] = random.of(["v1", "v9"]);
  if (random.below(4) === 0) parameters["compression"] = random.of(["gzip", "x"]);
  return `?${random.below(10) === 0 ? "%E0%A4%A" : new URLSearchParams(parameters)}`;
}

function noise(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)));
}

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** Bytes for a socket: noise, what begins like HTTP, frames of HTTP/2 with random types, flags and lengths. */
export function malformedBytes(random: Random): Buffer {
  switch (random.below(4)) {
    case 0:
      return noise(random, 1 + random.below(200));
    case 1: {
      const line = random.of([
        "GET / HTTP/1.1",
        "POST / HTTP/1.1",
        "GET / HTTP/3",
        "CONNECT a:1 HTTP/1.1",
        "* * *",
      ]);
      const header = random.of([
        "content-length: -1",
        "transfer-encoding: x",
        "transfer-encoding: chunked",
        "host",
        "\0: a",
        "upgrade: h2c",
      ]);
      return Buffer.concat([
        Buffer.from(`${line}\r\nhost: a\r\n${header}\r\n\r\n`),
        noise(random, random.below(40)),
      ]);
    }
    case 2:
      return Buffer.concat([PREFACE.subarray(0, 1 + random.below(24)), noise(random, random.below(60))]);
    default: {
      const frames = Array.from({ length: 1 + random.below(5) }, () => {
        const payload = noise(random, random.below(30));
        const length = random.below(3) === 0 ? random.below(20_000) : payload.length;
        const head = Buffer.from([
          0,
          length >> 8,
          length & 0xff,
          random.below(12),
          random.below(256),
          0,
          0,
          0,
          random.below(6),
        ]);
        return Buffer.concat([head, payload]);
      });
      return Buffer.concat([PREFACE, Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]), ...frames]);
    }
  }
}
