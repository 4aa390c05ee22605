// What lies around the calls: pages, readiness, CORS, caching, request ids, log lines, paths that lead nowhere.
import { connect as connectHttp2, constants } from "node:http2";
import { Code } from "@connectrpc/connect";
import { expect, onTestFinished, test } from "vitest";
import { asAna, clientOf, frame, scriptedParts, startEdge } from "./edge-fixture.ts";

const LIST = "/tidemark.v1.SyncService/ListChanges";
const list = (message: object) =>
  `${LIST}?${new URLSearchParams({ encoding: "json", message: JSON.stringify(message) })}`;

test("pages: / → what to try", async () => {
  const { url } = await startEdge();
  const answer = await fetch(url);
  expect(answer.headers.get("content-type")).toBe("application/json");
  expect(await answer.json()).toMatchObject({ tidemark: "0.0.0-test", try: { health: expect.any(String) } });
});

test("pages: starting → alive, not ready and waiting for what; calls UNAVAILABLE in every protocol", async () => {
  const { url, edge } = await startEdge({ closed: true });
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  const readiness = await fetch(`${url}/readyz`);
  expect([readiness.status, await readiness.json()]).toEqual([
    503,
    { ready: false, state: "starting", waitingFor: ["the database"] },
  ]);
  for (const transport of [
    "gRPC proto h2c",
    "gRPC-web JSON HTTP/1.1",
    "Connect GET JSON",
    "Connect proto h2c",
  ]) {
    const error = await clientOf(url, transport)
      .listChanges({}, asAna)
      .catch((thrown) => thrown);
    expect([error.code, error.metadata.get("tidemark-reason")]).toEqual([
      Code.Unavailable,
      "DATABASE_UNAVAILABLE",
    ]);
    expect(error.metadata.get("retry-after")).toBe("1");
  }
  edge.open(await scriptedParts({}));
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  await clientOf(url).listChanges({}, asAna);
});

test("pages: a path that leads nowhere → 404 with a pointer", async () => {
  const { url } = await startEdge();
  const answer = await fetch(`${url}/nothing?x`);
  expect([answer.status, await answer.json()]).toEqual([
    404,
    { code: "not_found", message: "there is nothing at /nothing; see /" },
  ]);
  expect((await fetch(`${url}/healthz`, { method: "DELETE" })).status).toBe(404);
});

test.each([
  ["application/json", 404],
  ["application/proto", 404],
  ["application/connect+json", 404],
])("calls: to a method there isn't, by %s → unimplemented with its reason", async (contentType, status) => {
  const { url } = await startEdge();
  const answer = await fetch(`${url}/tidemark.v1.SyncService/Nothing`, {
    method: "POST",
    headers: { "content-type": contentType },
    body: "{}",
  });
  expect(answer.status).toBe(status);
  expect(answer.headers.get("tidemark-reason")).toBe("UNSUPPORTED");
  expect(await answer.json()).toMatchObject({ code: "unimplemented" });
});

test.each(["application/grpc", "application/grpc-web+json"])(
  "calls: to a method there isn't, by %s → trailers only",
  async (contentType) => {
    const { url } = await startEdge();
    const session = connectHttp2(url);
    onTestFinished(() => void session.destroy());
    const stream = session.request({
      ":method": "POST",
      ":path": "/tidemark.v1.SyncService/Nothing",
      "content-type": contentType,
    });
    const headers = await new Promise((resolve) => stream.once("response", resolve));
    expect(headers).toMatchObject({
      ":status": 200,
      "content-type": contentType,
      "grpc-status": String(Code.Unimplemented),
      "tidemark-reason": "UNSUPPORTED",
    });
  },
);

test.each([
  [
    "a content type nobody knows",
    { method: "POST", headers: { "content-type": "text/plain" } },
    415,
    "content-type",
  ],
  ["a method that isn't for it", { method: "PUT" }, 405, "POST or GET"],
])("calls: by %s → said what to do", async (_, init, status, advice) => {
  const { url, lines } = await startEdge();
  const answer = await fetch(url + LIST, init);
  expect(answer.status).toBe(status);
  expect(await answer.text()).toContain(advice);
  await expect.poll(() => lines.map(({ fields }) => fields["code"])).toEqual(["Unimplemented"]);
});

test("CORS: a preflight from any origin in dev → what all three protocols need", async () => {
  const { url } = await startEdge();
  const answer = await fetch(url + LIST, {
    method: "OPTIONS",
    headers: {
      origin: "https://app.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,tidemark-client",
    },
  });
  expect(answer.status).toBe(204);
  expect(answer.headers.get("access-control-allow-origin")).toBe("https://app.example");
  const allowed = answer.headers.get("access-control-allow-headers")?.toLowerCase().split(", ");
  const needed = ["authorization", "tidemark-client", "content-type", "connect-protocol-version"];
  expect(allowed).toEqual(
    expect.arrayContaining([...needed, "connect-timeout-ms", "x-grpc-web", "grpc-timeout"]),
  );
  expect(answer.headers.get("access-control-allow-methods")).toBe("POST, GET, OPTIONS");
  expect(answer.headers.get("vary")).toBe("origin");
});

test("CORS: answers, errors too → readable by the page, with what Tidemark adds", async () => {
  const { url } = await startEdge();
  const origin = "https://app.example";
  for (const headers of [
    { origin, ...asAna.headers },
    { origin, authorization: "?" },
  ]) {
    const answer = await fetch(url + list({}), { headers });
    expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
    const exposed = answer.headers.get("access-control-expose-headers")?.split(", ");
    const needed = ["tidemark-reason", "retry-after", "x-request-id"];
    expect(exposed?.map((name) => name.toLowerCase())).toEqual(
      expect.arrayContaining([...needed, "grpc-status", "grpc-message", "grpc-status-details-bin"]),
    );
  }
});

test("CORS: an origin that isn't on the list → no header; one that is → its own", async () => {
  const { url } = await startEdge({ corsOrigins: ["https://app.example", "https://other.example"] });
  const allowed = async (origin: string) => {
    const answer = await fetch(`${url}/`, { headers: { origin } });
    return answer.headers.get("access-control-allow-origin");
  };
  expect(await allowed("https://evil.example")).toBeNull();
  expect(await allowed("https://other.example")).toBe("https://other.example");
});

test("caching: a GET of one's own → private; of public collections, anonymously → free", async () => {
  const { url } = await startEdge();
  const caching = async (message: object, headers = {}) => {
    const answer = await fetch(url + list(message), { headers });
    return [answer.status, answer.headers.get("cache-control")];
  };
  const cities = { selections: [{ collection: "cities" }] };
  expect(await caching({}, asAna.headers)).toEqual([200, "private, no-store"]);
  expect(await caching(cities, asAna.headers)).toEqual([200, "private, no-store"]);
  expect(await caching({})).toEqual([200, "private, no-store"]);
  expect(await caching(cities)).toEqual([200, null]);
  expect(await caching(cities, { authorization: "Bearer x" })).toEqual([401, "private, no-store"]);
});

test("request ids: a sane one → kept; none or a wild one → made", async () => {
  const { url } = await startEdge();
  const answered = async (id?: string) => {
    const answer = await fetch(`${url}/`, { headers: id === undefined ? {} : { "x-request-id": id } });
    return answer.headers.get("x-request-id");
  };
  expect(await answered("trace-1")).toBe("trace-1");
  const made = /^[0-9a-f-]{36}$/;
  for (const id of [undefined, "", "x".repeat(129), 'a"b', "a b"]) expect(await answered(id)).toMatch(made);
});

test("log: one line per finished call, with who and how, never what", async () => {
  const checkpoint = frame({ case: "checkpoint", value: { position: 1n } });
  const { url, lines } = await startEdge({
    pull: {
      async *pullChanges() {
        yield checkpoint;
        yield checkpoint;
      },
    },
  });
  const headers = { ...asAna.headers, "x-request-id": "r1" };
  for await (const _ of clientOf(url).pullChanges({ cursor: { subscription: "secret" } }, { headers })) {
    // Only the log line matters.
  }
  await expect
    .poll(() => lines)
    .toEqual([
      {
        level: "info",
        message: "call",
        fields: {
          requestId: "r1",
          procedure: "/tidemark.v1.SyncService/PullChanges",
          code: "ok",
          ms: expect.any(Number),
          principal: "ana",
          frames: 2,
          bytes: 2 * checkpoint.bytes.length,
        },
      },
    ]);
});

test("log: a client that goes away → its pull ends and the line says so", async () => {
  let ended = false;
  const { url, lines } = await startEdge({
    pull: {
      async *pullChanges(_principal, _request, signal) {
        yield frame({ case: "checkpoint", value: { position: 1n } });
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        ended = true;
      },
    },
  });
  for (const transport of ["gRPC proto h2c", "Connect JSON HTTP/1.1"]) {
    ended = false;
    const client = new AbortController();
    const stream = clientOf(url, transport).pullChanges({}, { ...asAna, signal: client.signal });
    await stream[Symbol.asyncIterator]().next();
    client.abort();
    await expect.poll(() => ended).toBe(true);
  }
  await expect.poll(() => lines.filter(({ message }) => message === "call")).toHaveLength(2);
  for (const { fields } of lines.filter(({ message }) => message === "call")) {
    expect(["gone", "Canceled"]).toContain(fields["code"]);
  }
});

test("pull: a client that stops reading and goes away → its pull ends", async () => {
  let sent = 0;
  let ended = false;
  const large = frame({ case: "part", value: { data: new Uint8Array(60_000) } });
  const { url } = await startEdge({
    pull: {
      async *pullChanges(_principal, _request, signal) {
        try {
          for (; !signal.aborted; sent++) yield large;
        } finally {
          ended = true;
        }
      },
    },
  });
  const session = connectHttp2(url);
  session.on("error", () => {});
  const stream = session.request({
    ":method": "POST",
    ":path": "/tidemark.v1.SyncService/PullChanges",
    "content-type": "application/grpc",
    authorization: "Bearer dev-ana",
  });
  stream.on("error", () => {});
  stream.end(Buffer.alloc(5));
  let before = -1;
  await expect
    .poll(
      () => {
        const isStuck = sent > 0 && sent === before;
        before = sent;
        return isStuck;
      },
      { interval: 100, timeout: 5000 },
    )
    .toBe(true);
  expect(sent).toBeLessThan(100);
  session.destroy();
  await expect.poll(() => ended).toBe(true);
});

test("requests: refused by headers alone, with a message that is never read → its stream ends all the same", async () => {
  const { url } = await startEdge({ limits: { headersTimeoutMs: 100, requestTimeoutMs: 100 } });
  const session = connectHttp2(url);
  onTestFinished(() => void session.destroy());
  const headers = { "content-type": "application/grpc" };
  const stream = session.request({
    ":method": "POST",
    ":path": "/tidemark.v1.SyncService/Nothing",
    ...headers,
  });
  stream.resume().end(Buffer.alloc(5 * 2 ** 20));
  await new Promise((resolve) => stream.once("close", resolve));
  expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
});

test("requests: a message that never ends → cut after the time limit", async () => {
  const { url } = await startEdge({ limits: { headersTimeoutMs: 100, requestTimeoutMs: 100 } });
  const session = connectHttp2(url);
  onTestFinished(() => void session.destroy());
  for (const contentType of ["application/grpc", "application/json"]) {
    const stream = session.request({
      ":method": "POST",
      ":path": "/tidemark.v1.SyncService/PushMutations",
      "content-type": contentType,
      authorization: "Bearer dev-ana",
    });
    stream.on("error", () => {});
    stream.write("\0\0\0");
    await new Promise((resolve) => stream.once("close", resolve));
  }
});
