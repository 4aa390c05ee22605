// Clients that are gone without closing their connection: how long it takes until the server lets go of them, and that
// it lets go of no others. Real sockets, real processes.
import { connect as connectHttp2 } from "node:http2";
import { connect, createServer, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  createListener,
  type HttpRequest,
  type HttpResponse,
  type Listener,
  listenerDefaults,
} from "../../src/edge/listener.ts";
import { silentLogger } from "../../src/model/logger.ts";
import { waitFor } from "../support/wait-for.ts";
import { clock } from "./edge-fixture.ts";
import { type OwnProcess, spawnClient } from "./gone-clients.ts";

const INTERVAL_MS = 1_000;
/** What a machine with better things to do may add. */
const SLACK_MS = 1_500;
const HTTP1 = Buffer.from("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
/** The preface, SETTINGS and WINDOW_UPDATE for windows of 2 GiB, and HEADERS of a GET of /, which is all of the request. */
const HTTP2 = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  Buffer.from("00000604000000000000047fffffff0000040800000000007fff0000", "hex"),
  Buffer.from("000006010500000001828684010161", "hex"),
]);

interface Started {
  readonly listener: Listener;
  readonly port: number;
  /** Of each answer under way, in the order of their requests. */
  readonly answers: readonly HttpResponse[];
  readonly ended: readonly { readonly atMs: number }[];
}

/** How an answer goes on once its first byte is written. */
type Course = (response: HttpResponse) => void;

const nothingMore: Course = () => {};
/** As a pull does: something small, every now and then. */
const beats: Course = (response) => {
  const timer = setInterval(() => write(response, "beat"), 100);
  response.once("close", () => clearInterval(timer));
};
/** More than any buffer on the way holds, each piece once the one before has left. */
const pours: Course = (response) => {
  const piece = Buffer.alloc(65_536);
  const pour = () => {
    while (!response.destroyed && write(response, piece)) {}
  };
  response.on("drain", pour);
  pour();
};

/** Of the two kinds of responses, each has overloads of its own. */
function write(response: HttpResponse, data: string | Uint8Array): boolean {
  return "stream" in response ? response.write(data) : response.write(data);
}

async function start(course: Course): Promise<Started> {
  const answers: HttpResponse[] = [];
  const ended: { atMs: number }[] = [];
  const listener = createListener({
    handler(request: HttpRequest, response: HttpResponse) {
      request.resume();
      answers.push(response);
      response.once("close", () => ended.push({ atMs: performance.now() }));
      response.on("error", () => {});
      write(response, "begun");
      course(response);
    },
    clock,
    logger: silentLogger,
    limits: { ...listenerDefaults, pingIntervalMs: INTERVAL_MS },
  });
  onTestFinished(() => listener.close(0));
  return { listener, port: await listener.listen(0, "127.0.0.1"), answers, ended };
}

/** A client whose answer has begun. */
async function spawnAnswered(
  started: Started,
  said: Buffer,
  pace: Parameters<typeof spawnClient>[2],
): Promise<OwnProcess> {
  const client = await spawnClient(started.port, said, pace);
  await waitFor(() => started.answers.length === 1);
  return client;
}

/** Intervals until the first answer's end. */
async function intervalsUntilEnd({ ended }: Started, sinceMs: number): Promise<number> {
  const { atMs } = await waitFor(() => ended[0], { what: "the end of the client's answer" });
  return (atMs - sinceMs) / INTERVAL_MS;
}

const slack = SLACK_MS / INTERVAL_MS;

describe.concurrent("liveness: HTTP/2", () => {
  test.each([
    ["idle", nothingMore],
    ["being sent a heartbeat now and then", beats],
    ["in the midst of all it can take", pours],
  ] as const)("a client frozen while %s → gone within two intervals", async (_, course) => {
    const started = await start(course);
    const client = await spawnAnswered(started, HTTP2, "all");
    const sinceMs = performance.now();
    client.freeze();
    expect(await intervalsUntilEnd(started, sinceMs)).toBeLessThan(2 + slack);
    await waitFor(() => started.listener.sessionCount() === 0);
  });

  test.each([
    ["idle", nothingMore],
    ["in the midst of all it can take", pours],
  ] as const)("a client no packet reaches any more, %s → gone within two intervals", async (_, course) => {
    const started = await start(course);
    const client = await spawnAnswered(started, HTTP2, "all");
    const sinceMs = performance.now();
    await client.deafen();
    expect(await intervalsUntilEnd(started, sinceMs)).toBeLessThan(2 + slack);
    await waitFor(() => started.listener.sessionCount() === 0);
  });

  test("a client behind something that forwards nothing any more → gone within two intervals", async () => {
    const started = await start(nothingMore);
    const { port, stop } = await startRelay(started.port);
    const session = connectHttp2(`http://127.0.0.1:${port}`).on("error", () => {});
    onTestFinished(() => void session.destroy());
    session.request({ ":path": "/" }).resume();
    await waitFor(() => started.answers.length === 1);
    const sinceMs = performance.now();
    stop();
    expect(await intervalsUntilEnd(started, sinceMs)).toBeLessThan(2 + slack);
  });

  test("a client that answers PINGs and does nothing else → kept", async () => {
    const started = await start(nothingMore);
    const session = connectHttp2(`http://127.0.0.1:${started.port}`);
    onTestFinished(() => void session.destroy());
    session.request({ ":path": "/" }).on("error", () => {});
    let pings = 0;
    session.on("ping", () => pings++);
    await waitFor(() => pings >= 4);
    expect(started.ended).toEqual([]);
  });
});

describe.concurrent("liveness: HTTP/1.1", () => {
  test("a client frozen in the midst of all it can take → gone within four intervals", async () => {
    const started = await start(pours);
    const client = await spawnAnswered(started, HTTP1, "all");
    const sinceMs = performance.now();
    client.freeze();
    const intervals = await intervalsUntilEnd(started, sinceMs);
    expect(intervals).toBeGreaterThan(1.9);
    expect(intervals).toBeLessThan(4 + slack);
  });

  test.runIf(process.platform === "linux").each([
    ["being sent a heartbeat now and then", beats],
    ["in the midst of all it can take", pours],
  ] as const)("a client no packet reaches any more, %s → gone within two intervals", async (_, course) => {
    const started = await start(course);
    const client = await spawnAnswered(started, HTTP1, "all");
    const sinceMs = performance.now();
    await client.deafen();
    expect(await intervalsUntilEnd(started, sinceMs)).toBeLessThan(2 + slack);
  });

  test("a client no packet reaches any more, sent nothing → gone 10 s after an interval", async () => {
    const started = await start(nothingMore);
    const client = await spawnAnswered(started, HTTP1, "all");
    const sinceMs = performance.now();
    await client.deafen();
    const intervals = await intervalsUntilEnd(started, sinceMs);
    expect(intervals).toBeLessThan(1 + 10_000 / INTERVAL_MS + 2 * slack);
  });

  test("clients that read slowly, or are sent nothing for long → kept", async () => {
    const poured = await start(pours);
    await spawnAnswered(poured, HTTP1, "slowly");
    const idle = await start(nothingMore);
    const socket = connect(idle.port, "127.0.0.1").resume();
    onTestFinished(() => void socket.destroy());
    socket.write(HTTP1);
    // The clock of these: a frozen client, cut as late as any.
    const other = await start(pours);
    const frozen = await spawnAnswered(other, HTTP1, "once");
    frozen.freeze();
    await intervalsUntilEnd(other, performance.now());
    expect(idle.answers.length).toBe(1);
    expect([poured.ended, idle.ended]).toEqual([[], []]);
  });
});

/** A relay that can be stopped: both sides stay connected, and nothing is read any more. */
async function startRelay(to: number): Promise<{ readonly port: number; stop(): void }> {
  const sockets: Socket[] = [];
  const relay = createServer((near) => {
    const far = connect(to, "127.0.0.1");
    sockets.push(near, far);
    for (const socket of [near, far]) socket.on("error", () => {});
    near.pipe(far).pipe(near);
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    relay.close();
  });
  await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
  const address = relay.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    stop() {
      for (const socket of sockets) socket.unpipe().pause();
    },
  };
}
