// TLS and mTLS with real clients: every protocol, who is let in, and certificates that change while streams run.
import { writeFile } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { createClient } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import type { TlsSettings } from "../../src/edge/certificates.ts";
import { FakeClock } from "../pull/fake-clock.ts";
import { authority, type KeyPair, signed, tlsFiles } from "../support/certificates.ts";
import { waitFor } from "../support/wait-for.ts";
import { asAna, frame, type Script, type Started, startEdge } from "./edge-fixture.ts";

let ca: KeyPair;
let otherCa: KeyPair;
let server: KeyPair;
let renewed: KeyPair;
let client: KeyPair;
let stranger: KeyPair;

beforeAll(async () => {
  [ca, otherCa] = await Promise.all([authority("Test CA"), authority("Other CA")]);
  [server, renewed, client, stranger] = await Promise.all([
    signed(ca, "first"),
    signed(ca, "renewed"),
    signed(ca, "a phone"),
    signed(otherCa, "a stranger"),
  ]);
});

async function startTls(script: Script = {}, clientCa?: string): Promise<Started & { tls: TlsSettings }> {
  const tls = await tlsFiles(server, clientCa);
  return { ...(await startEdge({ tls, ...script })), tls };
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

function get(url: string, options: ConnectionOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(`${url}/healthz`, { ca: ca.cert, agent: false, ...options }, (answer) => {
      answer.resume().on("end", () => resolve({ status: answer.statusCode, headers: answer.headers }));
    });
    request.on("error", reject).end();
  });
}

/** The connection once its handshake is done, on both sides: TLS 1.3 clients learn of a refusal by what follows. */
function dial(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", ca: ca.cert, ...options }, () => resolve(socket));
    socket.on("error", reject);
    onTestFinished(() => void socket.destroy());
  });
}

async function servedName(port: number): Promise<string> {
  const socket = await dial(port);
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return String(subject.CN);
}

const overTls = {
  "gRPC h2": (baseUrl: string, nodeOptions: object) => createGrpcTransport({ baseUrl, nodeOptions }),
  "gRPC-web HTTP/1.1": (baseUrl: string, nodeOptions: object) =>
    createGrpcWebTransport({ baseUrl, httpVersion: "1.1", nodeOptions }),
  "Connect h2": (baseUrl: string, nodeOptions: object) =>
    createConnectTransport({ baseUrl, httpVersion: "2", nodeOptions }),
  "Connect HTTP/1.1": (baseUrl: string, nodeOptions: object) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false, nodeOptions }),
};

test.each(Object.entries(overTls))(
  "TLS: %s → unary calls and streams, told as https",
  async (_, transport) => {
    const checkpoint = frame({ case: "checkpoint", value: { position: 7n } });
    const { url } = await startTls({
      pull: {
        async *pullChanges() {
          yield checkpoint;
        },
      },
    });
    const sync = createClient(SyncService, transport(url, { ca: ca.cert }));
    expect((await sync.listChanges({}, asAna)).cursor?.subscription).toBe("s");
    const frames: (string | undefined)[] = [];
    for await (const { frame } of sync.pullChanges({}, asAna)) frames.push(frame.case);
    expect(frames).toEqual(["checkpoint"]);
  },
);

test("TLS: answers → with strict-transport-security; in cleartext → without", async () => {
  const { url } = await startTls();
  expect((await get(url)).headers["strict-transport-security"]).toBe("max-age=31536000");
  const plain = await startEdge();
  expect((await fetch(plain.url)).headers.get("strict-transport-security")).toBeNull();
});

test("TLS: a client that doesn't know the authority → breaks off; the server serves on", async () => {
  const { url, port } = await startTls();
  await expect(get(url, { ca: otherCa.cert })).rejects.toThrow(/certificate/);
  expect(await servedName(port)).toBe("first");
});

test.each(["application/grpc", "application/json"])(
  "TLS: a message by %s over HTTP/2, dripped for ever → cut after the time limit",
  async (contentType) => {
    const { url } = await startTls({ limits: { headersTimeoutMs: 200, requestTimeoutMs: 200 } });
    const session = connectHttp2(url, { ca: ca.cert });
    onTestFinished(() => void session.destroy());
    const stream = session.request({
      ":method": "POST",
      ":path": "/tidemark.v1.SyncService/PushMutations",
      "content-type": contentType,
      ...asAna.headers,
    });
    stream.on("error", () => {});
    await waitFor(() => {
      // Written to after it was reset, Node's client keeps a stream that nobody else has any more.
      if (!stream.closed) stream.write("\0");
      return stream.closed;
    });
    expect((await get(url)).status).toBe(200);
  },
);

describe("versions", () => {
  test.each<[TlsSettings["minVersion"], ConnectionOptions, string]>([
    ["1.2", { maxVersion: "TLSv1.2" }, "TLSv1.2"],
    ["1.2", {}, "TLSv1.3"],
    ["1.3", { minVersion: "TLSv1.3" }, "TLSv1.3"],
  ])("TLS: least %s, client %j → %s", async (minVersion, options, spoken) => {
    const tls = await tlsFiles(server);
    const { port } = await startEdge({ tls: { ...tls, minVersion } });
    expect((await dial(port, options)).getProtocol()).toBe(spoken);
  });

  test.each<[TlsSettings["minVersion"], ConnectionOptions]>([
    ["1.2", { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }],
    ["1.3", { maxVersion: "TLSv1.2" }],
  ])("TLS: least %s, client %j → refused", async (minVersion, options) => {
    const tls = await tlsFiles(server);
    const { port } = await startEdge({ tls: { ...tls, minVersion } });
    await expect(dial(port, options)).rejects.toThrow();
    expect(await servedName(port)).toBe("first");
  });
});

describe("mTLS", () => {
  const own = (pair: KeyPair) => ({ cert: pair.cert, key: pair.key });

  test("mTLS: a certificate of the clients' authority → served, with a token; without one → UNAUTHENTICATED", async () => {
    const { url, lines } = await startTls({}, ca.cert);
    expect((await get(url, own(client))).status).toBe(200);
    const sync = createClient(SyncService, overTls["gRPC h2"](url, { ca: ca.cert, ...own(client) }));
    await sync.listChanges({}, asAna);
    const wrong = sync.listChanges({}, { headers: { authorization: "Bearer x" } });
    await expect(wrong).rejects.toThrow(/unauthenticated/);
    const denied = lines.filter(({ fields }) => fields["audit"] === "denied");
    expect(denied.map(({ fields }) => [fields["reason"], fields["address"]])).toEqual([
      ["TOKEN_INVALID", "127.0.0.1"],
    ]);
  });

  test.each<[string, () => ConnectionOptions, string]>([
    ["no certificate", () => ({}), "NO_CERTIFICATE"],
    ["another authority's certificate", () => own(stranger), "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
    ["a certificate that expired", () => own(expired), "CERT_HAS_EXPIRED"],
  ])(
    "mTLS: %s → refused in the handshake, over TLS 1.2 and 1.3, with a line of audit",
    async (_, options, fault) => {
      expired = await signed(ca, "late", new Date(Date.now() - 3_600_000));
      const { url, lines, counts } = await startTls({}, ca.cert);
      for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
        await expect(get(url, { ...options(), maxVersion })).rejects.toThrow();
      }
      expect((await get(url, own(client))).status).toBe(200);
      const fields = { audit: "denied", reason: "CLIENT_CERTIFICATE", fault, address: "127.0.0.1" };
      const denied = { level: "warn", message: "denied", fields };
      await waitFor(() => counts.length === 2);
      expect(lines.filter(({ level }) => level !== "info")).toEqual([denied, denied]);
      expect(counts).toEqual(["denied_total CLIENT_CERTIFICATE", "denied_total CLIENT_CERTIFICATE"]);
    },
  );
  let expired: KeyPair;

  test("mTLS: many refused at once → each line of audit has its own client's address", async () => {
    const { port, lines } = await startTls({}, ca.cert);
    const addresses = Array.from({ length: 20 }, (_, index) => `127.0.0.${index + 2}`);
    await Promise.all(
      addresses.map((localAddress) => {
        const options = { port, host: "127.0.0.1", ca: ca.cert, ...own(stranger), localAddress };
        const socket = connect(options);
        socket.on("error", () => {});
        return new Promise((resolve) => socket.once("close", resolve));
      }),
    );
    const told = () =>
      lines.filter(({ message }) => message === "denied").map(({ fields }) => fields["address"]);
    await waitFor(() => told().length === addresses.length);
    expect(told().sort()).toEqual(addresses.sort());
  });

  test("mTLS: the clients' authority changes → a session begun under the old one isn't resumed", async () => {
    const clock = new FakeClock();
    const { url, port, tls, lines } = await startTls({ clock }, ca.cert);
    const first = await dial(port, { ...own(client), maxVersion: "TLSv1.2" });
    const session = first.getSession();
    first.destroy();
    const resumed = await dial(port, { ...own(client), maxVersion: "TLSv1.2", session });
    expect(resumed.isSessionReused()).toBe(true);
    await writeFile(String(tls.clientCaFile), otherCa.cert);
    await passUntil(clock, () => lines.filter(({ message }) => message === IN_USE).length === 2);
    await expect(get(url, { ...own(client), maxVersion: "TLSv1.2", session })).rejects.toThrow();
    expect((await get(url, own(stranger))).status).toBe(200);
  });
});

const IN_USE = "TLS certificate in use";

/** Lets the server look at its files until the condition holds. */
async function passUntil(clock: FakeClock, condition: () => boolean): Promise<void> {
  await waitFor(() => {
    clock.advance(5_000);
    return condition();
  });
}

describe("reload", () => {
  test("TLS: new files while a stream runs → it goes on, new handshakes see the new certificate", async () => {
    const clock = new FakeClock();
    const steps = [0, 1].map(() => Promise.withResolvers<void>());
    const { url, port, tls, lines } = await startTls({
      clock,
      pull: {
        async *pullChanges() {
          for (const [index, { promise }] of steps.entries()) {
            yield frame({ case: "checkpoint", value: { position: BigInt(index) } });
            await promise;
          }
          yield frame({ case: "checkpoint", value: { position: 2n } });
        },
      },
    });
    const sync = createClient(SyncService, overTls["gRPC h2"](url, { ca: ca.cert }));
    const stream = sync.pullChanges({}, asAna)[Symbol.asyncIterator]();
    const position = async () => {
      const { value } = await stream.next();
      return value?.frame.case === "checkpoint" ? value.frame.value.position : undefined;
    };
    expect([await position(), await servedName(port)]).toEqual([0n, "first"]);
    await writeFile(tls.certFile, renewed.cert);
    await writeFile(tls.keyFile, renewed.key);
    await passUntil(clock, () => lines.some(({ fields }) => String(fields["subject"]) === "CN=renewed"));
    expect(await servedName(port)).toBe("renewed");
    steps[0]?.resolve();
    expect(await position()).toBe(1n);
    steps[1]?.resolve();
    expect(await position()).toBe(2n);
    expect((await stream.next()).done).toBe(true);
    expect(lines.filter(({ level }) => level === "error")).toEqual([]);
  });

  test.each<[string, string, string]>([
    ["no PEM", "garbage", "TLS_CERT_FILE: holds no certificate in PEM"],
    ["empty", "", "TLS_CERT_FILE: holds no certificate in PEM"],
    [
      "half a certificate",
      "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
      "TLS_CERT_FILE: holds a certificate that can't be read",
    ],
    ["another key's certificate", "stranger", "TLS_KEY_FILE: is not the key of TLS_CERT_FILE"],
  ])(
    "TLS: a new file that is %s → the old certificate stays, told once, and a mended one is taken",
    async (_, content, fault) => {
      const clock = new FakeClock();
      const { port, tls, lines } = await startTls({ clock });
      await writeFile(tls.certFile, content === "stranger" ? stranger.cert : content);
      const errors = () => lines.filter(({ level }) => level === "error");
      await passUntil(clock, () => errors().length > 0);
      for (let look = 0; look < 5; look++) {
        clock.advance(5_000);
        expect(await servedName(port)).toBe("first");
      }
      expect(errors()).toEqual([
        {
          level: "error",
          fields: { err: expect.objectContaining({ message: fault }) },
          message: "new TLS files can't be used: the old certificate stays",
        },
      ]);
      await writeFile(tls.certFile, renewed.cert);
      await writeFile(tls.keyFile, renewed.key);
      await passUntil(clock, () => lines.some(({ fields }) => String(fields["subject"]) === "CN=renewed"));
      expect(await servedName(port)).toBe("renewed");
    },
  );
});

describe("start", () => {
  test.each<[string, (tls: TlsSettings) => Promise<unknown>, RegExp]>([
    [
      "an empty certificate file",
      (tls) => writeFile(tls.certFile, ""),
      /^TLS_CERT_FILE: holds no certificate in PEM$/,
    ],
    ["a key that is none", (tls) => writeFile(tls.keyFile, "x"), /^TLS_KEY_FILE: holds no usable key/],
    ["another's key", (tls) => writeFile(tls.keyFile, stranger.key), /^TLS_KEY_FILE: is not the key of/],
    [
      "clients' authorities that are none",
      (tls) => writeFile(String(tls.clientCaFile), "x"),
      /^TLS_CLIENT_CA_FILE: holds no certificate in PEM$/,
    ],
  ])("TLS: %s → not started, told which setting", async (_, spoil, fault) => {
    const tls = await tlsFiles(server, ca.cert);
    await spoil(tls);
    await expect(startEdge({ tls })).rejects.toThrow(fault);
  });

  test("TLS: a file that isn't there → not started, told which and where", async () => {
    const tls = { ...(await tlsFiles(server)), keyFile: "/nowhere/key.pem" };
    await expect(startEdge({ tls })).rejects.toThrow("TLS_KEY_FILE: can't read /nowhere/key.pem (ENOENT)");
  });

  test("TLS: a certificate that has expired → served, with a warning", async () => {
    const tls = await tlsFiles(await signed(ca, "old", new Date(Date.now() - 1_000)));
    const { lines, port } = await startEdge({ tls });
    expect(lines.map(({ level, message }) => [level, message])).toEqual([
      ["warn", "the TLS certificate in use has expired"],
    ]);
    await expect(dial(port)).rejects.toThrow("certificate has expired");
  });
});

describe("ALPN", () => {
  test("TLS: clients offering h2, http/1.1 or nothing → h2, http/1.1 and HTTP/1.1", async () => {
    const { port } = await startTls();
    const offered = async (ALPNProtocols?: string[]) =>
      (await dial(port, ALPNProtocols && { ALPNProtocols })).alpnProtocol;
    expect(await offered(["h2", "http/1.1"])).toBe("h2");
    expect(await offered(["http/1.1"])).toBe("http/1.1");
    const bare = await dial(port);
    expect(bare.alpnProtocol).toBe(false);
    bare.write("GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    expect(String(await new Promise((resolve) => bare.once("data", resolve)))).toMatch(/^HTTP\/1\.1 200/);
    await expect(dial(port, { ALPNProtocols: ["spdy/3"] })).rejects.toThrow();
  });

  test("TLS: the preface of HTTP/2 where HTTP/1.1 was agreed → ended, others served", async () => {
    const { port, url } = await startTls();
    const socket = await dial(port, { ALPNProtocols: ["http/1.1"] });
    socket.resume();
    socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
    await new Promise((resolve) => socket.once("close", resolve));
    const session = connectHttp2(url, { ca: ca.cert });
    onTestFinished(() => void session.destroy());
    const stream = session.request({ ":path": "/healthz" });
    const head = await new Promise((resolve) => stream.once("response", resolve));
    expect(head).toMatchObject({ ":status": 200 });
  });
});
