// One port, badly behaved clients: whatever they do, their connection ends and others are served.
import { request as httpRequest } from "node:http";
import { type ClientHttp2Session, connect as connectHttp2, constants } from "node:http2";
import { connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import {
  createListener,
  type HttpRequest,
  type HttpResponse,
  type Listener,
  type ListenerLimits,
  listenerDefaults,
} from "../../src/edge/listener.ts";
import { silentLogger } from "../../src/model/logger.ts";
import { waitFor } from "../support/wait-for.ts";
import { clock } from "./edge-fixture.ts";

interface Started {
  readonly listener: Listener;
  readonly port: number;
}

type Handler = (request: HttpRequest, response: HttpResponse) => void;

const sayVersion: Handler = (request, response) => {
  request.resume();
  response.end(request.httpVersion);
};

async function start(limits: Partial<ListenerLimits> = {}, handler = sayVersion): Promise<Started> {
  const options = { handler, clock, logger: silentLogger, limits: { ...listenerDefaults, ...limits } };
  const listener = createListener(options);
  onTestFinished(() => listener.close(0));
  return { listener, port: await listener.listen(0, "127.0.0.1") };
}

function dial(port: number, allowHalfOpen = false): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen }, () => resolve(socket));
    socket.on("error", reject);
    onTestFinished(() => void socket.destroy());
  });
}

/** All that comes until the server ends the connection. */
async function readToEnd(socket: Socket): Promise<string> {
  let text = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    text += chunk;
  });
  await new Promise((resolve) => socket.once("close", resolve));
  return text;
}

function http1(port: number): Promise<string> {
  return fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.text());
}

function dialHttp2(port: number): ClientHttp2Session {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  onTestFinished(() => void session.destroy());
  return session;
}

function get(session: ClientHttp2Session): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const stream = session.request({ ":path": "/" });
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    stream.on("end", () => resolve(text)).on("error", reject);
    stream.end();
  });
}

test("listener: HTTP/1.1 and h2c side by side → each served by its own", async () => {
  const { port } = await start();
  const session = dialHttp2(port);
  expect(await Promise.all([http1(port), get(session), http1(port), get(session)])).toEqual([
    "1.1",
    "2.0",
    "1.1",
    "2.0",
  ]);
});

test("listener: the preface and a request dripped byte by byte → served", async () => {
  const { port } = await start();
  const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00";
  const socket = await dial(port);
  const first = new Promise<Buffer>((resolve) => socket.once("data", resolve));
  await drip(socket, `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${settings}`);
  // A SETTINGS frame: the session has begun.
  expect((await first)[3]).toBe(4);

  const plain = await dial(port);
  const answer = readToEnd(plain);
  await drip(plain, "PRINT / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
  expect(await answer).toMatch(/^HTTP\/1\.1 400/);

  const post = await dial(port);
  const posted = readToEnd(post);
  await drip(post, "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
  expect(await posted).toMatch(/^HTTP\/1\.1 200/);
});

async function drip(socket: Socket, text: string): Promise<void> {
  socket.setNoDelay();
  for (const byte of Buffer.from(text, "latin1")) {
    await new Promise<void>((resolve) => socket.write(Buffer.of(byte), () => setImmediate(resolve)));
  }
}

test.each([
  ["nothing", ""],
  ["half a preface", "PRI * HTTP/2.0\r\n"],
])("listener: a client that says %s → closed after the time limit", async (_, said) => {
  const { port } = await start({ headersTimeoutMs: 100 });
  const socket = await dial(port);
  socket.write(said);
  expect(await readToEnd(socket)).toBe("");
  expect(await http1(port)).toBe("1.1");
});

test("listener: half a request's headers → 408 after the time limit", async () => {
  const { port } = await start({ headersTimeoutMs: 100, requestTimeoutMs: 200 });
  const socket = await dial(port);
  socket.write("GET / HTTP/1.1\r\nhost:");
  expect(await readToEnd(socket)).toMatch(/^HTTP\/1\.1 408/);
});

test("listener: half a body → 408 after the time limit", async () => {
  const { port } = await start({ headersTimeoutMs: 100, requestTimeoutMs: 200 }, (request) =>
    request.resume(),
  );
  const socket = await dial(port);
  socket.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
  expect(await readToEnd(socket)).toMatch(/^HTTP\/1\.1 408/);
});

test("listener: a client that half-closes before it says anything → closed", async () => {
  const { port } = await start();
  const socket = await dial(port, true);
  const ended = readToEnd(socket);
  socket.end();
  expect(await ended).toBe("");
});

test("listener: a session whose client half-closes → ended, not leaked", async () => {
  const { port, listener } = await start();
  const socket = await dial(port, true);
  socket.resume();
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
  await waitFor(() => listener.sessionCount() === 1);
  socket.end();
  await waitFor(() => listener.sessionCount() === 0);
});

test("listener: sessions that answer PINGs → kept; one that doesn't → cut", async () => {
  const { port, listener } = await start({ pingIntervalMs: 200 });
  const alive = dialHttp2(port);
  let pings = 0;
  alive.on("ping", () => pings++);
  const silent = await dial(port);
  silent.resume();
  silent.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
  await waitFor(() => listener.sessionCount() === 2);
  await waitFor(() => silent.destroyed);
  await waitFor(() => pings >= 3);
  expect(await get(alive)).toBe("2.0");
  expect(listener.sessionCount()).toBe(1);
});

test("listener: all streams of a session reset at once, as by a proxy → the session goes on", async () => {
  let open = 0;
  const { port } = await start({}, (request, response) => {
    request.resume();
    if (request.url === "/") return sayVersion(request, response);
    open++;
    response.once("close", () => open--);
  });
  const session = dialHttp2(port);
  await new Promise((resolve) => session.once("remoteSettings", resolve));
  const streams = Array.from({ length: 4_000 }, () =>
    session.request({ ":path": "/stays" }).on("error", () => {}),
  );
  await waitFor(() => open === streams.length);
  for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
  await waitFor(() => open === 0);
  expect(await get(session)).toBe("2.0");
});

test("listener: 200 connections reset at once → none left, others served", async () => {
  const { port, listener } = await start();
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const sockets = await Promise.all(Array.from({ length: 200 }, () => dial(port)));
  for (const [index, socket] of sockets.entries()) {
    socket.on("error", () => {});
    socket.write(index % 2 ? preface : preface.slice(0, index % 24));
    socket.resetAndDestroy();
  }
  expect(await http1(port)).toBe("1.1");
  await waitFor(() => listener.sessionCount() === 0);
});

test("listener: more connections than allowed → the rest dropped, and room again once some end", async () => {
  const { port } = await start({ connectionsMax: 2 });
  const held = [await dial(port), await dial(port)];
  const third = await dial(port);
  expect(await readToEnd(third)).toBe("");
  for (const socket of held) socket.destroy();
  await waitFor(() =>
    http1(port)
      .then((text) => text === "1.1")
      .catch(() => false),
  );
});

test("listener: a port that is taken → rejects", async () => {
  const { port } = await start();
  const other = createListener({
    handler: sayVersion,
    clock,
    logger: silentLogger,
    limits: listenerDefaults,
  });
  await expect(other.listen(port, "127.0.0.1")).rejects.toMatchObject({ code: "EADDRINUSE" });
});

test("listener: close → idle connections at once, calls in progress when they end", async () => {
  const inProgress: HttpResponse[] = [];
  const { port, listener } = await start({}, (request, response) => {
    request.resume();
    inProgress.push(response);
  });
  const session = dialHttp2(port);
  const idle = await dial(port);
  const idleEnded = readToEnd(idle);
  const answer = get(session);
  await waitFor(() => inProgress.length === 1);
  let closed = false;
  const closing = listener.close(10_000).then(() => {
    closed = true;
  });
  expect(await idleEnded).toBe("");
  await expect(http1(port)).rejects.toThrow();
  expect(closed).toBe(false);
  inProgress[0]?.end("done");
  expect(await answer).toBe("done");
  await closing;
});

test("listener: close, and clients that neither end nor listen → cut after the grace", async () => {
  let started = 0;
  const { port, listener } = await start({}, (request, response) => {
    request.resume();
    response.statusCode = 200;
    started++;
  });
  const stuck = get(dialHttp2(port)).catch(() => "cut");
  const plain = httpRequest({ port, host: "127.0.0.1" }).on("error", () => {});
  plain.end();
  // Reads nothing, so that it never sees the server end its side.
  const deaf = await dial(port, true);
  deaf.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
  const posting = await dial(port, true);
  posting.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
  await waitFor(() => started === 3 && listener.sessionCount() === 2);
  await listener.close(100);
  await stuck;
  await waitFor(() => listener.sessionCount() === 0);
});
