// Ways for a client to end without a word: in every protocol, over HTTP/1.1, HTTP/2 and TLS, in whatever state its stream
// or its connection is.
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { enveloped } from "../../bench/load/envelopes.ts";
import { H2Client, type H2Options } from "../../bench/load/h2-client.ts";
import { readUnacknowledged } from "../../src/edge/unacknowledged.ts";
import { waitFor } from "../support/wait-for.ts";

export interface Ports {
  readonly cleartext: number;
  readonly tls: number;
}

export type Ending = readonly [name: string, end: (ports: Ports) => Promise<void>];

/** Whose records are of which kind. */
export const PRINCIPALS = {
  idle: "ben",
  manyRecords: "ana",
  largeRecord: "eve",
  largeRecords: "kim",
} as const;

const PULL = "/tidemark.v1.SyncService/PullChanges";
const PUSH = "/tidemark.v1.SyncService/PushMutations";

const PROTOCOLS = {
  gRPC: { "content-type": "application/grpc+proto", te: "trailers" },
  "gRPC-web": { "content-type": "application/grpc-web+proto" },
  Connect: { "content-type": "application/connect+proto" },
} as const;

type H2End = (client: H2Client, streamId: number) => void;

const H2_ENDS: Readonly<Record<string, H2End>> = {
  "its stream is reset": (client, id) => client.reset(id),
  "its connection is cut": () => {},
  "it says GOAWAY and is cut": (client) => client.leave(),
  "its stream is reset twice, then it says GOAWAY": (client, id) => {
    client.reset(id);
    client.reset(id);
    client.leave();
  },
};

const SMALL_WINDOW: H2Options = { windowBytes: 16_384, isStalled: true };

/** When the end comes. */
interface State {
  readonly principal: string;
  readonly options?: H2Options;
  readonly when: "at once" | "something came" | "its socket is full";
}

const STATES: Readonly<Record<string, State>> = {
  idle: { principal: PRINCIPALS.idle, when: "something came" },
  "in the midst of catching up, its window closed": {
    principal: PRINCIPALS.manyRecords,
    options: SMALL_WINDOW,
    when: "something came",
  },
  "in the midst of a large record, its window closed": {
    principal: PRINCIPALS.largeRecord,
    options: SMALL_WINDOW,
    when: "something came",
  },
  "in the midst of large records, its socket full": {
    principal: PRINCIPALS.largeRecords,
    when: "its socket is full",
  },
  "before its first frame": { principal: PRINCIPALS.manyRecords, when: "at once" },
};

/** All of them, in turns of the protocols. */
export const ENDINGS: readonly Ending[] = [
  ...Object.entries(STATES).flatMap(([stateName, state]) =>
    Object.entries(H2_ENDS).flatMap(([endName, end]) =>
      Object.entries(PROTOCOLS).map(([protocol, headers]): Ending => {
        const name = `${protocol} over HTTP/2, ${stateName}: ${endName}`;
        return [name, ({ cleartext }) => overH2(cleartext, headers, { ...state, end })];
      }),
    ),
  ),
  ["50 streams of one session, which is cut", ({ cleartext }) => manyOverH2(cleartext, 50)],
  ...(["gRPC-web", "Connect"] as const).flatMap((protocol) => {
    const over = (state: Partial<Http1State>) => (ports: Ports) =>
      overHttp1(connect(ports.cleartext, HOST), { ...PROTOCOLS[protocol], ...NO_STATE, ...state });
    const of = (name: string, state: Partial<Http1State>): Ending => [
      `${protocol} over HTTP/1.1, ${name}`,
      over(state),
    ];
    return [
      of("idle", {}),
      of("in the midst of catching up", { principal: PRINCIPALS.manyRecords }),
      of("its socket full", { principal: PRINCIPALS.largeRecords, when: "its socket is full" }),
      of("before its first frame", { when: "at once" }),
      of("before its request is whole", { when: "at once", missingBytes: 50 }),
      of("one request after the other before an answer", { when: "at once", requests: 3 }),
      of("after it has ended its side", { endsItsSide: true }),
    ];
  }),
  ["a push, cut as it is sent", ({ cleartext }) => cutPush(cleartext)],
  ["TLS: in the midst of its hello", ({ tls }) => cutHello(tls)],
  ["TLS: in the midst of its handshake", ({ tls }) => cutHandshake(tls)],
  [
    "Connect over HTTP/1.1 in TLS, idle",
    ({ tls }) => overHttp1(dialTls(tls), { ...PROTOCOLS.Connect, ...NO_STATE }),
  ],
  [
    "Connect over HTTP/1.1 in TLS, in the midst of catching up",
    ({ tls }) =>
      overHttp1(dialTls(tls), { ...PROTOCOLS.Connect, ...NO_STATE, principal: PRINCIPALS.manyRecords }),
  ],
];

const HOST = "127.0.0.1";

interface H2State extends State {
  readonly end: H2End;
}

async function overH2(
  port: number,
  headers: Readonly<Record<string, string>>,
  { principal, options = {}, when, end }: H2State,
): Promise<void> {
  const client = await H2Client.open(`http://${HOST}:${port}`, options);
  const came = Promise.withResolvers<void>();
  const asPrincipal = { ...headers, authorization: `Bearer dev-${principal}` };
  const id = client.post(PULL, asPrincipal, enveloped(Buffer.alloc(0)), {
    onData: () => came.resolve(),
    onEnd: (error) => came.reject(new Error(error ?? "the stream ended by itself")),
  });
  if (when === "at once") came.promise.catch(() => {});
  else await came.promise;
  if (when === "its socket is full") {
    client.pause();
    await isFull(port, client.localPort);
  }
  end(client, id);
  client.destroy();
}

async function manyOverH2(port: number, count: number): Promise<void> {
  const client = await H2Client.open(`http://${HOST}:${port}`);
  const headers = { ...PROTOCOLS.gRPC, authorization: `Bearer dev-${PRINCIPALS.idle}` };
  const streams = Array.from({ length: count }, () => {
    const came = Promise.withResolvers<void>();
    client.post(PULL, headers, enveloped(Buffer.alloc(0)), {
      onData: () => came.resolve(),
      onEnd: (error) => came.reject(new Error(error ?? "the stream ended by itself")),
    });
    return came.promise;
  });
  await Promise.all(streams);
  client.destroy();
}

/** Its kernel tells ours that it has no room, which ours then asks for again and again. */
async function isFull(serverPort: number, clientPort: number): Promise<void> {
  if (process.platform !== "linux") return;
  const isOfClient = (key: string) => key.startsWith(`${serverPort} ${clientPort} `);
  await waitFor(async () => [...(await readUnacknowledged()).keys()].some(isOfClient), {
    what: "a full socket",
  });
}

interface Http1State {
  readonly principal: string;
  readonly when: State["when"];
  /** Of the last request's body, promised and not sent. */
  readonly missingBytes: number;
  readonly requests: number;
  readonly endsItsSide: boolean;
}

const NO_STATE: Http1State = {
  principal: PRINCIPALS.idle,
  when: "something came",
  missingBytes: 0,
  requests: 1,
  endsItsSide: false,
};

async function overHttp1(
  socket: Socket,
  state: Http1State & { readonly "content-type": string },
): Promise<void> {
  const { principal, when, missingBytes, requests, endsItsSide } = state;
  const body = enveloped(Buffer.alloc(0));
  const head = [
    `POST ${PULL} HTTP/1.1`,
    `host: ${HOST}`,
    `content-type: ${state["content-type"]}`,
    `authorization: Bearer dev-${principal}`,
    `content-length: ${body.length + missingBytes}`,
  ];
  const request = Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), body]);
  const isUp = happens(socket, "encrypted" in socket ? "secureConnect" : "connect");
  const came = happens(socket, "data");
  came.catch(() => {});
  await isUp;
  socket.write(Buffer.concat(Array.from({ length: requests }, () => request)));
  if (when !== "at once") {
    await came;
    // The rest fills the buffers on the way.
    socket.pause();
  }
  if (when === "its socket is full") await isFull(socket.remotePort ?? 0, socket.localPort ?? 0);
  if (endsItsSide) socket.end();
  else if (requests % 2 === 0) socket.resetAndDestroy();
  socket.destroy();
}

async function cutPush(port: number): Promise<void> {
  const socket = connect(port, HOST);
  const mutation = { id: crypto.randomUUID(), put: { collection: "todos", id: "none", record: {} } };
  const body = JSON.stringify({ mutations: [mutation] });
  const head = [
    `POST ${PUSH} HTTP/1.1`,
    `host: ${HOST}`,
    "content-type: application/json",
    `authorization: Bearer dev-${PRINCIPALS.idle}`,
    `content-length: ${body.length}`,
  ];
  await happens(socket, "connect");
  socket.write(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.resetAndDestroy());
  await new Promise((resolve) => socket.once("close", resolve));
}

async function cutHello(port: number): Promise<void> {
  const socket = connect(port, HOST);
  await happens(socket, "connect");
  const record = Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]);
  socket.write(record, () => socket.destroy());
  await new Promise((resolve) => socket.once("close", resolve));
}

/** Once the server's part of it has come. */
async function cutHandshake(port: number): Promise<void> {
  const raw = connect(port, HOST);
  await happens(raw, "connect");
  const secured = connectTls({ socket: raw, rejectUnauthorized: false, ALPNProtocols: ["h2"] });
  secured.on("error", () => {});
  await waitFor(() => raw.bytesRead > 0, { what: "the server's part of the handshake" });
  raw.destroy();
  secured.destroy();
}

function dialTls(port: number): Socket {
  return connectTls({ port, host: HOST, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] });
}

function happens(socket: Socket, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => resolve());
    socket.on("error", reject);
    socket.once("close", () => reject(new Error(`the connection was closed before its ${event}`)));
  });
}
