// The load client against node's own HTTP/2 server.
import { once } from "node:events";
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { Envelopes, eachField, enveloped, firstField } from "../../bench/load/envelopes.ts";
import { H2Client, type H2Options } from "../../bench/load/h2-client.ts";

async function serve(handle: (stream: ServerHttp2Stream, path: string) => void, options?: H2Options) {
  const server = createServer();
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    handle(stream, String(headers[":path"]));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = await H2Client.open(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, options);
  onTestFinished(() => {
    client.destroy();
    server.close();
  });
  return client;
}

interface Answer {
  readonly body: Buffer;
  readonly error: string | undefined;
}

function call(
  client: H2Client,
  path: string,
  headers: Record<string, string> = {},
  body = "",
): Promise<Answer> {
  const chunks: Buffer[] = [];
  return new Promise((resolve) => {
    client.post(path, headers, Buffer.from(body), {
      onData: (bytes) => void chunks.push(Buffer.from(bytes)),
      onEnd: (error) => resolve({ body: Buffer.concat(chunks), error }),
    });
  });
}

it("load client: headers long and short, a body → as sent; several streams on one connection", async () => {
  const long = "x".repeat(5_000);
  const client = await serve((stream) => {
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  });
  const answers = await Promise.all(["a", "b", "c"].map((body) => call(client, "/", { long }, body)));
  expect(answers.map(({ body, error }) => [body.toString(), error])).toEqual([
    ["a", undefined],
    ["b", undefined],
    ["c", undefined],
  ]);
});

it("load client: more than its windows → widened, all of it comes; trailers end it", async () => {
  const size = 5_000_000;
  const client = await serve(
    (stream) => {
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.alloc(size, 7));
    },
    { windowBytes: 100_000 },
  );
  const { body, error } = await call(client, "/");
  expect([body.length, error]).toEqual([size, undefined]);
});

it("load client: a stalled one → takes what its window holds and no more", async () => {
  let sent: ServerHttp2Stream | undefined;
  const client = await serve(
    (stream) => {
      sent = stream;
      stream.respond({ ":status": 200 });
      stream.write(Buffer.alloc(200_000));
    },
    { windowBytes: 65_535, isStalled: true },
  );
  const came = Promise.withResolvers<void>();
  let bytes = 0;
  client.post("/", {}, Buffer.alloc(0), {
    onData(data) {
      bytes += data.length;
      if (bytes >= 65_535) came.resolve();
    },
    onEnd() {},
  });
  await came.promise;
  // What is written after that waits behind it.
  const ping = Promise.withResolvers<void>();
  sent?.session?.ping(() => ping.resolve());
  await ping.promise;
  expect(bytes).toBe(65_535);
});

it("load client: a reset, a connection that is cut → told", async () => {
  const client = await serve((stream, path) => {
    if (path === "/reset") stream.close(2);
    else stream.session?.destroy();
  });
  expect((await call(client, "/reset")).error).toContain("reset the stream (2)");
  expect((await call(client, "/cut")).error).toBeDefined();
});

it("envelopes: a stream cut at every byte → the same messages", () => {
  const messages = ["", "a", "bc".repeat(300)].map((text) => Buffer.from(text));
  const bytes = Buffer.concat(messages.map(enveloped));
  for (let size = 1; size <= bytes.length; size++) {
    const seen: string[] = [];
    const envelopes = new Envelopes((message) => void seen.push(message.toString()));
    for (let at = 0; at < bytes.length; at += size) envelopes.push(bytes.subarray(at, at + size));
    expect(seen).toEqual(messages.map(String));
  }
});

it("fields: of protobuf bytes → numbers, payloads and values", () => {
  const bytes = Buffer.from([0x0a, 2, 1, 2, 0x10, 0x96, 1]);
  const seen: unknown[] = [];
  eachField(bytes, (no, payload, value) => void seen.push([no, [...payload], value]));
  expect(seen).toEqual([
    [1, [1, 2], 2],
    [2, [], 150],
  ]);
  expect(firstField(bytes)[0]).toBe(1);
});
