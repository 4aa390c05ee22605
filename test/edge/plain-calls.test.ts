// Plain pushes, gRPC in binary form over HTTP/2: answered without Connect's pipeline as Connect would answer them; what
// isn't plain goes Connect's way with the bytes that were read.
import { once } from "node:events";
import { type ClientHttp2Stream, connect, type IncomingHttpHeaders } from "node:http2";
import { gzipSync } from "node:zlib";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import {
  PushMutationsRequestSchema,
  PushMutationsResponseSchema,
} from "#gen/tidemark/v1/push_mutations_pb.js";
import { SyncError } from "../../src/model/sync-error.ts";
import { type Script, startEdge } from "./edge-fixture.ts";

const PATH = "/tidemark.v1.SyncService/PushMutations";
const MUTATION_ID = "0192d7a5-7c1e-7cc3-98c4-dc0c0c07398f";

type Init = MessageInitShape<typeof PushMutationsRequestSchema>;

const mutation = {
  mutationId: MUTATION_ID,
  collection: "todos",
  recordId: "milk",
  kind: { case: "delete" as const, value: {} },
};
const push: Init = { mutations: [mutation] };

function message(init: Init = push): Buffer {
  return Buffer.from(toBinary(PushMutationsRequestSchema, create(PushMutationsRequestSchema, init)));
}

function envelope(body: Buffer, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

interface Answer {
  readonly headers: IncomingHttpHeaders;
  /** With the headers, where these were all. */
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A call begun, its body not yet sent. */
function begin(url: string, headers: Readonly<Record<string, string>> = {}): ClientHttp2Stream {
  const session = connect(url);
  session.on("error", () => {});
  onTestFinished(() => session.destroy());
  return session.request({
    ":method": "POST",
    ":path": PATH,
    "content-type": "application/grpc+proto",
    te: "trailers",
    authorization: "Bearer dev-ana",
    ...headers,
  });
}

async function answerTo(stream: ClientHttp2Stream): Promise<Answer> {
  let headers: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders | undefined;
  const chunks: Buffer[] = [];
  stream.on("response", (answer) => {
    headers = answer;
  });
  stream.on("trailers", (answer) => {
    trailers = answer;
  });
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("error", () => {});
  await once(stream, "close");
  return { headers, trailers: trailers ?? headers, body: Buffer.concat(chunks) };
}

const applied: Script = {
  push: { pushMutations: async () => ({ receipts: [], commitClock: 7n }) },
};

/** A push that goes on until it is aborted, and why it was. */
function endless() {
  const begun = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<unknown>();
  const script: Script = {
    push: {
      pushMutations: (_principal, _request, signal) =>
        new Promise((_, reject) => {
          begun.resolve();
          signal.addEventListener("abort", () => {
            aborted.resolve(signal.reason);
            reject(signal.reason);
          });
        }),
    },
  };
  return { script, begun: begun.promise, aborted: aborted.promise };
}

test("plain: a push → its receipts, and status 0 in the trailers", async () => {
  const { url, lines } = await startEdge(applied);
  const stream = begin(url);
  const answer = answerTo(stream);
  stream.end(envelope(message()));
  const { headers, trailers, body } = await answer;
  expect(headers).toMatchObject({ ":status": 200, "content-type": "application/grpc+proto" });
  // Connect's own answers say what else they could be sent: so this one isn't Connect's.
  expect(headers["grpc-accept-encoding"]).toBeUndefined();
  expect(trailers["grpc-status"]).toBe("0");
  expect(body.readUInt32BE(1)).toBe(body.length - 5);
  expect(fromBinary(PushMutationsResponseSchema, body.subarray(5)).commitClock).toBe(7n);
  const call = lines.find(({ message }) => message === "call");
  expect(call?.fields).toMatchObject({ procedure: PATH, code: "ok", principal: "ana" });
});

test("plain: a body that comes in pieces → put together", async () => {
  const { url } = await startEdge(applied);
  const stream = begin(url);
  const answer = answerTo(stream);
  for (const byte of envelope(message())) stream.write(Buffer.of(byte));
  stream.end();
  expect((await answer).trailers["grpc-status"]).toBe("0");
});

test.each<[string, Readonly<Record<string, string>>, Buffer, RegExp]>([
  ["a token that is none", { authorization: "Bearer x" }, envelope(message()), /^16 .*token/],
  [
    "a client header that can't be read",
    { "tidemark-client": '"' },
    envelope(message()),
    /^3 .*tidemark-client/,
  ],
  ["an id that is none", {}, envelope(message({ mutations: [{ mutationId: "x" }] })), /^3 .*mutation_id/],
  ["no mutation", {}, envelope(message({})), /^3 .*mutations/],
  ["an id twice", {}, envelope(message({ mutations: [mutation, mutation] })), /^3 .*twice/],
  ["no message", {}, Buffer.alloc(0), /^12 .*missing/],
  ["two messages", {}, Buffer.concat([envelope(message()), envelope(message())]), /^12 .*extra/],
  ["half a message", {}, envelope(message()).subarray(0, -3), /^3 .*incomplete/],
  ["bytes that are no message", {}, envelope(Buffer.from("nonsense")), /^3 .*parse binary/],
  ["compressed, without saying how", {}, envelope(gzipSync(message()), 1), /^13 .*compress/],
  ["more than 4 MiB", {}, envelope(Buffer.alloc(4 * 2 ** 20 + 1)), /^8 .*larger than the 4194304 bytes/],
  ["a deadline that is over", { "grpc-timeout": "0m" }, envelope(message()), /^4 .*timed/],
  ["a deadline that can't be read", { "grpc-timeout": "soon" }, envelope(message()), /^3 .*timeout/],
])("plain: %s → refused", async (_, headers, body, told) => {
  const { url } = await startEdge(endless().script);
  const stream = begin(url, headers);
  const answer = answerTo(stream);
  stream.end(body);
  const { trailers } = await answer;
  expect(`${trailers["grpc-status"]} ${decodeURIComponent(String(trailers["grpc-message"]))}`).toMatch(told);
  expect(trailers["tidemark-reason"]).toMatch(/^[A-Z_]+$/);
});

test("plain: compressed and saying so → applied, by Connect", async () => {
  const { url } = await startEdge(applied);
  const stream = begin(url, { "grpc-encoding": "gzip" });
  const answer = answerTo(stream);
  stream.end(envelope(gzipSync(message()), 1));
  expect((await answer).trailers["grpc-status"]).toBe("0");
});

test("plain: what push throws → its reason, when to come back, and details", async () => {
  const pushMutations = async () => {
    throw new SyncError("OVERLOADED", "too many at once", { retryAfterMs: 1_500 });
  };
  const { url } = await startEdge({ push: { pushMutations } });
  const stream = begin(url);
  const answer = answerTo(stream);
  stream.end(envelope(message()));
  const { trailers } = await answer;
  expect(trailers).toMatchObject({
    "grpc-status": "8",
    "tidemark-reason": "OVERLOADED",
    "retry-after": "2",
    "grpc-status-details-bin": expect.any(String),
  });
});

test("plain: the gate passes a call once, also where Connect takes over", async () => {
  let entered = 0;
  const { url } = await startEdge({
    ...applied,
    limiter: {
      openStreams: 0,
      isShared: false,
      arrive: async () => undefined,
      enter: async () => void entered++,
      countMutations: async () => {},
      countBytes() {},
      openStream: async () => ({ release() {} }),
      close: async () => {},
    },
  });
  for (const body of [envelope(message()), Buffer.concat([envelope(message()), envelope(message())])]) {
    const stream = begin(url);
    const answer = answerTo(stream);
    stream.end(body);
    await answer;
  }
  expect(entered).toBe(2);
});

test("plain: its deadline passes while it is pushed → DEADLINE_EXCEEDED, and push is told", async () => {
  const { script, begun, aborted } = endless();
  const { url } = await startEdge(script);
  const stream = begin(url, { "grpc-timeout": "50m" });
  const answer = answerTo(stream);
  stream.end(envelope(message()));
  await begun;
  expect(await aborted).toMatchObject({ message: expect.stringContaining("timed out") });
  expect((await answer).trailers).toMatchObject({
    "grpc-status": "4",
    "tidemark-reason": "DEADLINE_EXCEEDED",
  });
});

test("plain: its client goes away, before its body is whole or while it is pushed → given up", async () => {
  const { script, begun, aborted } = endless();
  const { url, lines } = await startEdge(script);
  const early = begin(url);
  early.write(envelope(message()).subarray(0, 7));
  await once(early, "ready").catch(() => {});
  early.close(8);
  await once(early, "close");
  const late = begin(url);
  late.end(envelope(message()));
  await begun;
  late.close(8);
  expect(await aborted).toMatchObject({ message: expect.stringContaining("gone away") });
  expect(lines.filter(({ level }) => level === "error")).toEqual([]);
});

test("plain: the server ends while it is pushed → SHUTTING_DOWN", async () => {
  const { script, begun } = endless();
  const { edge, url } = await startEdge(script);
  const stream = begin(url);
  const answer = answerTo(stream);
  stream.end(envelope(message()));
  await begun;
  await edge.close(1_100);
  expect((await answer).trailers).toMatchObject({ "grpc-status": "14", "tidemark-reason": "SHUTTING_DOWN" });
});
