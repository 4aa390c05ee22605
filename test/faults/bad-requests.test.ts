// Requests no honest client sends, over real sockets: each is refused with a type and a sentence, or answered as the
// contract says, nothing of the inside leaks, and the server goes on serving.
import { randomUUID } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { Document } from "mongodb";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Tidemark } from "../../src/main.ts";
import { type KeptLog, keptLog } from "../support/log-lines.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { startServer } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";
import { callGrpc, callJson, envelope, exchange, expectClean, SYNC } from "./call-server.ts";

let database: TestDatabase;
let server: Tidemark;
let log: KeptLog;

beforeAll(async () => {
  database = await testDatabase();
  const todos = database.source.collection<Document>("todos");
  await todos.insertOne({ _id: "ana's", title: "mine", ownerId: "ana" } as Document);
  log = keptLog();
  server = await startServer(database, {}, log.logger);
  await waitFor(() => server.status().isSettled);
});

afterAll(async () => {
  await server.close();
  await database.drop();
});

/** Whatever was sent before: the server still serves, and found nothing wrong with itself. */
afterEach(async () => {
  const { status, text } = await callJson(server.url, "ListChanges", {});
  expect(status).toBe(200);
  expect(text).toContain("ana's");
  expect(log.troubles()).toEqual([]);
});

function mutationOf(over: object = {}): object {
  const create = { record: { json: { title: "T", ownerId: "ana" } } };
  return { mutationId: randomUUID(), collection: "todos", recordId: randomUUID(), create, ...over };
}

const pushOf = (over: object): object => ({ mutations: [mutationOf(over)] });
const nested = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;
const twice = mutationOf();
const protobuf = { "content-type": "application/proto" };

interface BadCall {
  readonly method?: "PushMutations" | "ListChanges";
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly reason: string;
  /** Part of the message. */
  readonly says: string;
}

const INVALID = "INVALID_REQUEST";

const badCalls: Readonly<Record<string, BadCall>> = {
  "no mutation": { body: { mutations: [] }, reason: INVALID, says: "mutations: must contain at least 1" },
  "1,001 mutations": {
    body: { mutations: Array.from({ length: 1_001 }, () => mutationOf()) },
    reason: INVALID,
    says: "mutations: must contain no more than 1000",
  },
  "an id twice": {
    body: { mutations: [twice, twice] },
    reason: INVALID,
    says: "mutations[1].mutation_id: comes twice",
  },
  "a mutation id that is no UUID": {
    body: pushOf({ mutationId: "1" }),
    reason: INVALID,
    says: "mutations[0].mutation_id: must be a valid UUID",
  },
  "an empty record id": { body: pushOf({ recordId: "" }), reason: INVALID, says: "mutations[0].record_id" },
  "a record id of 1,025 bytes": {
    body: pushOf({ recordId: `${"é".repeat(512)}x` }),
    reason: INVALID,
    says: "mutations[0].record_id: must be at most 1024 bytes",
  },
  "an over-long collection": {
    body: pushOf({ collection: "c".repeat(121) }),
    reason: INVALID,
    says: "mutations[0].collection",
  },
  "no kind": { body: pushOf({ create: undefined }), reason: INVALID, says: "mutations[0].kind" },
  "two kinds": { body: pushOf({ delete: {} }), reason: INVALID, says: "oneof set multiple times" },
  "a negative version": {
    body: pushOf({ expectedVersion: "-1" }),
    reason: INVALID,
    says: "expected_version",
  },
  "a time beyond 64 bits": {
    body: pushOf({ madeAfter: "9223372036854775808" }),
    reason: INVALID,
    says: "made_after",
  },
  "no JSON": { body: "{", reason: INVALID, says: "cannot decode" },
  "no body": { body: "", reason: INVALID, says: "cannot decode" },
  null: { body: "null", reason: INVALID, says: "cannot decode" },
  "JSON that isn't UTF-8": { body: Uint8Array.of(0x7b, 0xff, 0x7d), reason: INVALID, says: "cannot decode" },
  "JSON 200,000 levels deep": {
    body: `{"mutations":[{"create":{"record":{"json":{"title":${nested(200_000)}}}}}]}`,
    reason: INVALID,
    says: "recursion depth",
  },
  "no protobuf": {
    body: Uint8Array.of(0xff, 0xff, 1),
    headers: protobuf,
    reason: INVALID,
    says: "illegal tag",
  },
  "protobuf 100,000 groups deep": {
    body: new Uint8Array(100_000).fill(0x0b),
    headers: protobuf,
    reason: INVALID,
    says: "parse binary",
  },
  "no gzip": {
    body: Uint8Array.of(1, 2, 3),
    headers: { "content-encoding": "gzip" },
    reason: INVALID,
    says: "decompression failed",
  },
  "over 4 MiB": {
    body: pushOf({ collection: "c".repeat(4.1 * 2 ** 20) }),
    reason: "REQUEST_TOO_LARGE",
    says: "larger than the 4194304 bytes this server takes: split it",
  },
  "300 MiB in 300 KiB": {
    body: gzipSync(Buffer.alloc(300 * 2 ** 20)),
    headers: { "content-encoding": "gzip" },
    reason: "REQUEST_TOO_LARGE",
    says: "larger than the 4194304 bytes this server takes: split it",
  },
  "a deadline of 1 ms": {
    body: { mutations: Array.from({ length: 200 }, () => mutationOf()) },
    headers: { "connect-timeout-ms": "1" },
    reason: "DEADLINE_EXCEEDED",
    says: "timed out",
  },
  "a deadline that is none": {
    body: pushOf({}),
    headers: { "connect-timeout-ms": "soon" },
    reason: INVALID,
    says: "timeout",
  },
  "a token that is none": {
    body: pushOf({}),
    headers: { authorization: "Bearer x.y.z" },
    reason: "TOKEN_INVALID",
    says: "token",
  },
  "an unsigned token": {
    body: pushOf({}),
    headers: { authorization: "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEifQ." },
    reason: "TOKEN_INVALID",
    says: "token",
  },
  "a scheme without a token": {
    body: pushOf({}),
    headers: { authorization: "Bearer" },
    reason: "TOKEN_INVALID",
    says: "Bearer <token>",
  },
  "another scheme": {
    body: pushOf({}),
    headers: { authorization: "Basic YW5h" },
    reason: "TOKEN_INVALID",
    says: "Bearer <token>",
  },
  "a principal without a name": {
    body: pushOf({}),
    headers: { authorization: "Bearer dev-" },
    reason: "TOKEN_INVALID",
    says: "1 to 256 characters",
  },
  "a principal with a long name": {
    body: pushOf({}),
    headers: { authorization: `Bearer dev-${"a".repeat(257)}` },
    reason: "TOKEN_INVALID",
    says: "1 to 256 characters",
  },
  "a client that doesn't say its version": {
    body: pushOf({}),
    headers: { "tidemark-client": "ios" },
    reason: INVALID,
    says: "<platform>/<version>",
  },
  "a selection without a name": {
    method: "ListChanges",
    body: { selections: [{ collection: "" }] },
    reason: INVALID,
    says: "selections[0].collection",
  },
  "201 selections": {
    method: "ListChanges",
    body: { selections: Array.from({ length: 201 }, (_, n) => ({ collection: `c${n}` })) },
    reason: INVALID,
    says: "selections",
  },
  "a negative position": {
    method: "ListChanges",
    body: { cursor: { position: "-1" } },
    reason: INVALID,
    says: "cursor.position",
  },
  "an over-long subscription": {
    method: "ListChanges",
    body: { cursor: { subscription: "A".repeat(1_025) } },
    reason: INVALID,
    says: "cursor.subscription",
  },
  "a negative wait": { method: "ListChanges", body: { wait: "-1s" }, reason: INVALID, says: "wait" },
  "a batch of 2 MiB and a byte": {
    method: "ListChanges",
    body: { maxBatchBytes: "2097153" },
    reason: INVALID,
    says: "max_batch_bytes",
  },
};

it.each(Object.entries(badCalls))("%s → refused, saying why", async (_, bad) => {
  const { reason, text } = await callJson(server.url, bad.method ?? "PushMutations", bad.body, bad.headers);
  expect(reason, text).toBe(bad.reason);
  expect(JSON.parse(text).message).toContain(bad.says);
});

it.each(["é", "a/b", "%2F", "../..", "user:ana", "{sub}", "$where", "__proto__", "null", "dev-dev-"])(
  "dev mode, a principal called %s → a principal like any other, who sees nothing of others",
  async (name) => {
    const authorization = `Bearer dev-${name}`;
    const { status, text } = await callJson(server.url, "ListChanges", {}, { authorization });
    expect(status).toBe(200);
    expect(text).not.toContain("ana's");
  },
);

const NO_ARGUMENT = "3";
const TOO_MUCH = "8";
const NOT_SO = "12";
const INTERNAL = "13";
const LATE = "4";

/** gRPC: the body; the status that gRPC says it gets. */
const badEnvelopes: Readonly<
  Record<string, readonly [body: Uint8Array, status: string, headers?: Readonly<Record<string, string>>]>
> = {
  "no message": [Buffer.alloc(0), NOT_SO],
  "two messages": [Buffer.concat([envelope(Buffer.alloc(0)), envelope(Buffer.alloc(0))]), NOT_SO],
  "half a prefix": [Buffer.alloc(2), NO_ARGUMENT],
  "a message cut short": [envelope(Buffer.from("abc"), 0, 100), NO_ARGUMENT],
  "a message of 4 GiB, it says": [envelope(Buffer.from("abc"), 0, 2 ** 32 - 1), TOO_MUCH],
  "no protobuf": [envelope(Buffer.of(0xff, 0xff, 1)), NO_ARGUMENT],
  "compressed, it doesn't say how": [envelope(Buffer.from("abc"), 1), INTERNAL],
  "not compressed as it says": [envelope(Buffer.from("abc"), 1), NO_ARGUMENT, { "grpc-encoding": "gzip" }],
  "compressed as nobody knows": [envelope(Buffer.from("abc"), 1), NOT_SO, { "grpc-encoding": "snappy" }],
  "a deadline that is none": [envelope(Buffer.alloc(0)), NO_ARGUMENT, { "grpc-timeout": "soon" }],
  "an unreadable host": [envelope(Buffer.alloc(0)), NO_ARGUMENT, { ":authority": "[" }],
};

describe.each(["PullChanges", "PushMutations"])("gRPC %s", (method) => {
  it.each(Object.entries(badEnvelopes))(
    "%s → its status and a reason",
    async (_, [body, status, headers]) => {
      const answer = await callGrpc(server.url, method, body, headers);
      expect(answer.status, answer.message).toBe(status);
      expect(answer.reason).toMatch(/^[A-Z_]+$/);
      expect(answer.message).toMatch(/\w+ \w+/);
    },
  );
});

it("gRPC: a stream with a deadline of 1 ms → DEADLINE_EXCEEDED", async () => {
  const empty = envelope(Buffer.alloc(0));
  const answer = await callGrpc(server.url, "PullChanges", empty, { "grpc-timeout": "1m" });
  expect(answer).toMatchObject({ status: LATE, reason: "DEADLINE_EXCEEDED" });
});

it("a deadline further off than timers go → none", async () => {
  const deadlines = [{ "connect-timeout-ms": "9999999999" }, { "connect-timeout-ms": "2147483648" }];
  for (const headers of deadlines)
    expect((await callJson(server.url, "ListChanges", {}, headers)).status).toBe(200);
  const empty = envelope(Buffer.alloc(0));
  for (const deadline of ["99999999H", "99999999S"]) {
    const answer = await callGrpc(server.url, "ListChanges", empty, { "grpc-timeout": deadline });
    expect(answer.status).toBe("0");
  }
});

const page = `${SYNC}ListChanges?connect=v1`;
const head = "Authorization: Bearer dev-ana\r\nConnection: close\r\n\r\n";
const bodyOf = (text: string) => `Content-Type: application/json\r\nContent-Length: ${text.length}\r\n`;

/** HTTP/1.1 as written; the status. */
const badHttp: Readonly<Record<string, readonly [request: string, status: number]>> = {
  "an unreadable host": [`POST ${SYNC}ListChanges HTTP/1.1\r\nHost: [\r\n${bodyOf("{}")}${head}{}`, 400],
  "a host with a space": [`POST ${SYNC}ListChanges HTTP/1.1\r\nHost: a b\r\n${bodyOf("{}")}${head}{}`, 400],
  "no host": [`POST ${SYNC}ListChanges HTTP/1.0\r\n${bodyOf("{}")}${head}{}`, 400],
  "a path of slashes": [`POST // HTTP/1.1\r\nHost: a\r\n${bodyOf("{}")}${head}{}`, 404],
  "a path up": [`GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n${head}`, 404],
  "GET, not base64": [`GET ${page}&encoding=proto&base64=1&message=!! HTTP/1.1\r\nHost: a\r\n${head}`, 400],
  "GET, not JSON": [`GET ${page}&encoding=json&message=%ff HTTP/1.1\r\nHost: a\r\n${head}`, 400],
  "GET, not gzip": [
    `GET ${page}&encoding=json&compression=gzip&base64=1&message=AAAA HTTP/1.1\r\nHost: a\r\n${head}`,
    400,
  ],
  "GET, no encoding": [`GET ${page} HTTP/1.1\r\nHost: a\r\n${head}`, 415],
  "GET of a push": [`GET ${SYNC}PushMutations HTTP/1.1\r\nHost: a\r\n${head}`, 405],
  "two lengths": [
    `POST ${SYNC}ListChanges HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n${bodyOf("{}")}${head}{}`,
    400,
  ],
  "headers of 70 KB": [`GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(70_000)}\r\n${head}`, 431],
  TLS: ["\x16\x03\x01\x00\xff\x01\x00\r\n\r\n", 400],
};

it.each(Object.entries(badHttp))("HTTP/1.1: %s → a status", async (_, [request, status]) => {
  const answer = await exchange(server.url, request);
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expectClean(answer);
});
