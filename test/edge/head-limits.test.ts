// How large a request may be: its address, its headers, its message; each refusal says what to do, over HTTP/1.1 and
// HTTP/2, and afterwards the server serves on.
import { once } from "node:events";
import { connect as connectHttp2, constants, type OutgoingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { type Script, startEdge } from "./edge-fixture.ts";

const PUSH = "/tidemark.v1.SyncService/PushMutations";
const LIST = "/tidemark.v1.SyncService/ListChanges";
const json = { "content-type": "application/json", authorization: "Bearer dev-ana" };

let url = "";

/** However its requests end, the edge is asked for its version before it closes. */
async function start(script: Script = {}): Promise<void> {
  ({ url } = await startEdge(script));
  onTestFinished(async () => {
    expect(await getVersion(url)).toBe("0.0.0-test");
  });
}

async function getVersion(at: string): Promise<unknown> {
  const session = connectHttp2(at);
  const stream = session.request({ ":path": "/" });
  let text = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  await once(stream, "end");
  session.destroy();
  return JSON.parse(text).tidemark;
}

interface Answer {
  readonly status: unknown;
  readonly reason: unknown;
  readonly text: string;
}

async function overHttp2(headers: OutgoingHttpHeaders): Promise<Answer> {
  const session = connectHttp2(url);
  onTestFinished(() => void session.destroy());
  const stream = session.request(headers);
  const [head] = await once(stream, "response");
  let text = "";
  for await (const chunk of stream) text += String(chunk);
  return { status: head[":status"], reason: head["tidemark-reason"], text };
}

async function overHttp1(head: string): Promise<Answer> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let text = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    text += chunk;
  });
  socket.on("error", () => {});
  socket.write(`${head}connection: close\r\n\r\n`, "latin1");
  await new Promise((resolve) => socket.once("close", resolve));
  const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(text) ?? [];
  return { status: Number(status), reason: /tidemark-reason: (\w+)/i.exec(text)?.[1], text };
}

const many = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`x-${index}`, "1"]));
const lines = (headers: Record<string, string>) =>
  Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");

const heads: Readonly<
  Record<string, readonly [path: string, headers: Record<string, string>, status: number, says: string]>
> = {
  "an address of 16,385 bytes": [`/${"a".repeat(16_384)}`, {}, 414, "longer than 16384 bytes"],
  "101 headers": ["/", many(101), 431, "more than 100 headers"],
  "a header of 33,000 bytes": ["/", { "x-large": "a".repeat(33_000) }, 431, "larger than 32768 bytes"],
};

test.each(Object.entries(heads))(
  "limits: %s, over HTTP/1.1 and HTTP/2 → told what to do",
  async (_, [path, headers, status, says]) => {
    await start();
    const answers = [
      await overHttp1(`GET ${path} HTTP/1.1\r\nhost: a\r\n${lines(headers)}`),
      await overHttp2({ ":path": path, ...headers }),
    ];
    for (const answer of answers) {
      expect(answer).toMatchObject({
        status,
        reason: "REQUEST_TOO_LARGE",
        text: expect.stringContaining(says),
      });
    }
  },
);

test("limits: just within each → served", async () => {
  await start();
  const path = `/healthz?${"a".repeat(16_300)}`;
  const headers = { ...many(80), "x-large": "a".repeat(30_000) };
  expect(await overHttp1(`GET ${path} HTTP/1.1\r\nhost: a\r\n${lines(headers)}`)).toMatchObject({
    status: 200,
  });
  expect(await overHttp2({ ":path": path, ...headers })).toMatchObject({ status: 200 });
});

test("limits: too large a head of a gRPC call → RESOURCE_EXHAUSTED in its trailers", async () => {
  await start();
  const session = connectHttp2(url);
  onTestFinished(() => void session.destroy());
  const headers = { "content-type": "application/grpc", te: "trailers", "x-large": "a".repeat(33_000) };
  const stream = session.request({ ":method": "POST", ":path": PUSH, ...headers });
  const [head] = await once(stream, "response");
  expect(head).toMatchObject({ ":status": 200, "grpc-status": "8", "tidemark-reason": "REQUEST_TOO_LARGE" });
});

test.each([
  ["70,000 bytes", { "x-large": "a".repeat(70_000) }],
  ["300 headers", many(300)],
])("limits: headers of %s over HTTP/1.1 → 431 and a sentence", async (_, headers) => {
  await start();
  const answer = await overHttp1(`GET / HTTP/1.1\r\nhost: a\r\n${lines(headers)}`);
  expect([answer.status, answer.reason]).toEqual([431, "REQUEST_TOO_LARGE"]);
  expect(answer.text).toMatch(
    /x-content-type-options: nosniff\r\n[\s\S]*\r\n\r\nthe address and headers are too many or too large/,
  );
});

test.each([
  ["70,000 bytes", { "x-large": "a".repeat(70_000) }],
  ["300 headers", many(300)],
])("limits: headers of %s over HTTP/2 → the stream refused, the session goes on", async (_, headers) => {
  await start();
  const session = connectHttp2(url, { maxSendHeaderBlockLength: 1_000_000 });
  session.on("error", () => {});
  onTestFinished(() => void session.destroy());
  // Until the client has acknowledged the server's settings, node takes more, and the handler refuses it.
  await once(session, "remoteSettings");
  const stream = session.request({ ":path": "/", ...headers });
  stream.on("error", () => {});
  await new Promise((resolve) => stream.once("close", resolve));
  expect(stream.rstCode).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  const next = session.request({ ":path": "/" });
  const [head] = await once(next, "response");
  expect(head[":status"]).toBe(200);
});

test("limits: what isn't HTTP → 400 and a sentence", async () => {
  await start();
  for (const head of [
    "NONSENSE\r\n",
    "GET / HTTP/9.9\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\n: x\r\n",
    "\x16\x03\x01\x00\r\n",
  ]) {
    const answer = await overHttp1(head);
    expect(answer.status).toBe(400);
    expect(answer.text).toContain("this is no HTTP/1.1 request, and no HTTP/2 either");
  }
});

test("limits: garbage after a request whose answer is under way → no second answer in its midst", async () => {
  await start({
    pull: {
      async *pullChanges(_principal, _request, signal) {
        yield {
          kind: "checkpoint",
          bytes: Buffer.from([0x22, 0]),
          enveloped: undefined,
          isPersonal: false,
          position: 1,
        };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    },
  });
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  const body = Buffer.from([0, 0, 0, 0, 0]);
  socket.write(
    `POST /tidemark.v1.SyncService/PullChanges HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n${lines({
      ...json,
      "content-type": "application/grpc-web+proto",
    })}\r\n`,
  );
  socket.write(body);
  let text = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    if (text === "") socket.write("NONSENSE\r\n\r\n");
    text += chunk;
  });
  await once(socket, "close");
  expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
});

const bomb = gzipSync(Buffer.alloc(200 * 2 ** 20, 0x20), { level: 9 });

test("limits: 200 MiB of spaces in 200 KiB of gzip → refused, nothing unpacked beyond the limit", async () => {
  await start();
  const before = process.memoryUsage().arrayBuffers;
  let peak = before;
  const watch = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().arrayBuffers);
  }, 1);
  onTestFinished(() => clearInterval(watch));
  const unary = await fetch(url + PUSH, {
    method: "POST",
    headers: { ...json, "content-encoding": "gzip" },
    body: bomb,
  });
  const envelope = Buffer.alloc(5);
  envelope[0] = 1;
  envelope.writeUInt32BE(bomb.length, 1);
  const stream = await fetch(`${url}/tidemark.v1.SyncService/PullChanges`, {
    method: "POST",
    headers: { ...json, "content-type": "application/connect+json", "connect-content-encoding": "gzip" },
    body: Buffer.concat([envelope, bomb]),
  });
  for (const text of [await unary.text(), await stream.text()]) {
    expect(text).toContain("resource_exhausted");
    expect(text).toContain("larger than the 4194304 bytes this server takes: split it");
  }
  expect(peak - before).toBeLessThan(100 * 2 ** 20);
});

test("limits: a message of 4 MiB and a byte → REQUEST_TOO_LARGE; a GET's message as large as its address allows → served", async () => {
  await start();
  const answer = await fetch(url + PUSH, {
    method: "POST",
    headers: json,
    body: " ".repeat(4 * 2 ** 20 + 1),
  });
  expect([answer.status, answer.headers.get("tidemark-reason")]).toEqual([429, "REQUEST_TOO_LARGE"]);
  const message = `{"selections":[${" ".repeat(8_000)}]}`;
  const query = new URLSearchParams({ encoding: "json", message });
  expect((await fetch(`${url}${LIST}?${query}`, { headers: json })).status).toBe(200);
});
