// The listener's limits hold within TLS as in cleartext: slow handshakes, slow requests, silent and half-open clients,
// too many connections, clients that mistake the port.
import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import {
  createListener,
  type Listener,
  type ListenerLimits,
  listenerDefaults,
} from "../../src/edge/listener.ts";
import { authority, type KeyPair, signed, tlsFiles } from "../support/certificates.ts";
import { keptLog } from "../support/log-lines.ts";
import { waitFor } from "../support/wait-for.ts";
import { clock, startEdge } from "./edge-fixture.ts";

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/** Longer than any test: what ends, ends for another reason than time. */
const NEVER_MS = 600_000;
const NEVER = { headersTimeoutMs: NEVER_MS, requestTimeoutMs: NEVER_MS };

let ca: KeyPair;
let pair: KeyPair;

beforeAll(async () => {
  ca = await authority("Test CA");
  pair = await signed(ca, "server");
});

interface Started {
  readonly listener: Listener;
  readonly port: number;
}

async function start(limits: Partial<ListenerLimits> = {}, answers = true): Promise<Started> {
  const { logger, troubles } = keptLog();
  const listener = createListener({
    handler: (request, response) => {
      request.resume();
      if (answers) response.end(request.httpVersion);
    },
    clock,
    logger,
    limits: { ...listenerDefaults, ...limits },
    tls: await tlsFiles(pair),
  });
  onTestFinished(async () => {
    await listener.close(0);
    expect(troubles().filter((message) => !message.startsWith("cutting"))).toEqual([]);
  });
  return { listener, port: await listener.listen(0, "127.0.0.1") };
}

async function dialTcp(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1" });
  socket.on("error", () => {});
  onTestFinished(() => void socket.destroy());
  await once(socket, "connect");
  return socket;
}

async function dialTls(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connectTls({ port, host: "127.0.0.1", ca: ca.cert, ...options });
  onTestFinished(() => void socket.destroy());
  await once(socket, "secureConnect");
  socket.on("error", () => {});
  return socket;
}

/** All that comes until the server ends the connection. */
async function readToEnd(socket: Socket): Promise<string> {
  let text = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    text += chunk;
  });
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
  return text;
}

function dialHttp2(port: number): ClientHttp2Session {
  const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: ca.cert });
  session.on("error", () => {});
  onTestFinished(() => void session.destroy());
  return session;
}

async function expectServing(port: number): Promise<void> {
  const session = dialHttp2(port);
  const stream = session.request({ ":path": "/" });
  const [head] = await once(stream, "response");
  expect(head[":status"]).toBe(200);
  session.destroy();
}

test.each([
  ["nothing", Buffer.alloc(0)],
  ["the beginning of a hello", Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00])],
])("TLS listener: a client that says %s → closed after the time limit", async (_, said) => {
  const { port } = await start({ headersTimeoutMs: 100 });
  const socket = await dialTcp(port);
  socket.write(said);
  expect(await readToEnd(socket)).toBe("");
  await expectServing(port);
});

test("TLS listener: a handshake, then nothing → closed after the time limit", async () => {
  const { port } = await start({ headersTimeoutMs: 100 });
  for (const ALPNProtocols of [["h2"], ["http/1.1"]]) {
    expect(await readToEnd(await dialTls(port, { ALPNProtocols }))).toBe("");
  }
});

test("TLS listener: half a request's headers, half its body → 408 after the time limit", async () => {
  const { port } = await start({ headersTimeoutMs: 100, requestTimeoutMs: 200 }, false);
  for (const half of [
    "GET / HTTP/1.1\r\nhost:",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhal",
  ]) {
    const socket = await dialTls(port);
    socket.write(half);
    expect(await readToEnd(socket)).toMatch(/^HTTP\/1\.1 408 [\s\S]*took too long to arrive/);
  }
});

test("TLS listener: headers dripped byte by byte for ever → closed after the time limit", async () => {
  const { port } = await start({ headersTimeoutMs: 200, requestTimeoutMs: 300 });
  const socket = await dialTls(port);
  socket.write("GET / HTTP/1.1\r\nhost: a\r\n");
  let isOver = false;
  const answer = readToEnd(socket).finally(() => {
    isOver = true;
  });
  await waitFor(() => {
    if (!isOver) socket.write("x");
    return isOver;
  });
  expect(await answer).toMatch(/^HTTP\/1\.1 408/);
});

test("TLS listener: a session whose client ends its side → ended, not leaked", async () => {
  const { port, listener } = await start();
  const socket = await dialTls(port, { ALPNProtocols: ["h2"], allowHalfOpen: true } as ConnectionOptions);
  socket.resume();
  socket.write(PREFACE);
  await waitFor(() => listener.sessionCount() === 1);
  socket.end();
  await waitFor(() => listener.sessionCount() === 0);
});

test("TLS listener: a session that doesn't answer PINGs → cut", async () => {
  const { port, listener } = await start({ pingIntervalMs: 200 });
  const silent = await dialTls(port, { ALPNProtocols: ["h2"] });
  silent.resume();
  silent.write(PREFACE);
  await waitFor(() => listener.sessionCount() === 1);
  await waitFor(() => silent.destroyed);
  await waitFor(() => listener.sessionCount() === 0);
});

test("TLS listener: more connections than allowed, in their handshake too → the rest dropped, later room again", async () => {
  const { port } = await start({ connectionsMax: 2 });
  const held = [await dialTcp(port), await dialTls(port)];
  expect(await readToEnd(await dialTcp(port))).toBe("");
  for (const socket of held) socket.destroy();
  await waitFor(() =>
    dialTls(port).then(
      () => true,
      () => false,
    ),
  );
});

test("TLS listener: 200 connections reset in the middle of their handshake → others served", async () => {
  const { port, listener } = await start();
  const hello = Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]);
  const sockets = await Promise.all(Array.from({ length: 200 }, () => dialTcp(port)));
  for (const [index, socket] of sockets.entries()) {
    socket.write(hello.subarray(0, index % hello.length));
    socket.resetAndDestroy();
  }
  const secured = await Promise.all(Array.from({ length: 20 }, () => dialTls(port)));
  for (const socket of secured) socket.destroy();
  await expectServing(port);
  await waitFor(() => listener.sessionCount() === 0);
});

test("TLS listener: a client that speaks plain HTTP or HTTP/2 → closed at once, others served", async () => {
  const { port } = await start(NEVER);
  for (const said of ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", PREFACE, "\x00".repeat(100)]) {
    const socket = await dialTcp(port);
    socket.write(said, "latin1");
    await readToEnd(socket);
  }
  await expectServing(port);
});

test("listener: a client that speaks TLS to a cleartext port → closed at once, others served", async () => {
  const { port, url } = await startEdge({ limits: NEVER });
  await expect(dialTls(port)).rejects.toThrow();
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
});

test("TLS listener: close → handshakes and idle connections at once, then waits for calls in progress", async () => {
  const { port, listener } = await start(NEVER, false);
  const shaking = readToEnd(await dialTcp(port));
  const undecided = readToEnd(await dialTls(port));
  const { session, posting } = await callsInProgress(port);
  await waitFor(() => listener.sessionCount() === 1);
  let isClosed = false;
  const closing = listener.close(NEVER_MS).then(() => {
    isClosed = true;
  });
  await Promise.all([shaking, undecided]);
  expect(isClosed).toBe(false);
  session.destroy();
  posting.destroy();
  await closing;
});

test("TLS listener: close, and calls that don't end → cut after the grace", async () => {
  const { port, listener } = await start({}, false);
  const { posting } = await callsInProgress(port);
  await waitFor(() => listener.sessionCount() === 1);
  await listener.close(100);
  await waitFor(() => posting.destroyed && listener.sessionCount() === 0);
});

async function callsInProgress(port: number) {
  const session = dialHttp2(port);
  session.request({ ":path": "/" }).on("error", () => {});
  const posting = await dialTls(port);
  posting.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhal");
  return { session, posting };
}
