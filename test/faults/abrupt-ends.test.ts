// Clients that end without a word, in whatever state their stream is: nothing of them stays. A thousand of them with the
// tests; `TIDEMARK_ENDS=10000` runs as many as docs/runs/abrupt-ends-10000.md tells of.
import { connect } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { enveloped } from "../../bench/load/envelopes.ts";
import { H2Client, type H2Options } from "../../bench/load/h2-client.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { freePort, type ServerProcess, spawnServer, syncClient } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";

const ENDS = Number(process.env["TIDEMARK_ENDS"] ?? 1_000);
const AT_ONCE = 20;
const RUN_MS_MAX = 900_000;
const HEAP_GROWTH_BYTES_MAX = 60_000_000;
const PATH = "/tidemark.v1.SyncService/PullChanges";

let database: TestDatabase;
let server: ServerProcess;
let metricsPort: number;

beforeAll(async () => {
  database = await testDatabase();
  metricsPort = await freePort();
  const noLimits = ["REQUESTS", "OPENED_STREAMS", "MEGABYTES"].flatMap((what) =>
    ["PRINCIPAL", "DEVICE", "ADDRESS"].map((per) => [`LIMIT_${what}_PER_${per}`, "0"]),
  );
  const todos = [
    ...Array.from({ length: 300 }, (_, n) => ({ _id: `t${n}`, ownerId: "ana", notes: "n".repeat(2_000) })),
    { _id: "large", ownerId: "eve", title: "x".repeat(3_000_000) },
    { _id: "one", ownerId: "ben" },
  ];
  await database.source.collection<{ _id: string }>("todos").insertMany(todos);
  server = await spawnServer(database, {
    ...Object.fromEntries(noLimits),
    STREAMS_PER_PRINCIPAL_MAX: "0",
    METRICS_PORT: String(metricsPort),
  });
  await server.ready();
});

afterAll(async () => {
  await server.stop();
  await database.drop();
});

const SMALL_WINDOW: H2Options = { windowBytes: 16_384, isStalled: true };

/** How a client comes to its end: what it does first, and until when. */
const ENDINGS: Readonly<Record<string, () => Promise<void>>> = {
  "idle, its stream reset": () => overH2("ben", {}, (client, id) => client.reset(id)),
  "idle, its connection cut": () => overH2("ben", {}, (client) => client.destroy()),
  "not reading, in the midst of catching up, reset": () =>
    overH2("ana", SMALL_WINDOW, (client, id) => client.reset(id)),
  "not reading, in the midst of catching up, cut": () =>
    overH2("ana", SMALL_WINDOW, (client) => client.destroy()),
  "not reading, in the midst of a large record": () =>
    overH2("eve", SMALL_WINDOW, (client) => client.destroy()),
  "before its first frame": () => overH2("ana", {}, (client) => client.destroy(), "at once"),
  "before its request is whole": () => overHttp1("ana", 50, "at once"),
  "over HTTP/1.1, idle": () => overHttp1("ben"),
  "over HTTP/1.1, not reading": () => overHttp1("ana"),
};

type When = "at once" | "something came";

async function overH2(
  principal: string,
  options: H2Options,
  end: (client: H2Client, id: number) => void,
  when: When = "something came",
): Promise<void> {
  const client = await H2Client.open(server.url, options);
  const came = Promise.withResolvers<void>();
  const headers = {
    "content-type": "application/grpc+proto",
    te: "trailers",
    authorization: `Bearer dev-${principal}`,
  };
  const id = client.post(PATH, headers, enveloped(Buffer.alloc(0)), {
    onData: () => came.resolve(),
    onEnd: (error) => came.reject(new Error(error ?? "the stream ended by itself")),
  });
  if (when === "something came") await came.promise;
  else came.promise.catch(() => {});
  end(client, id);
  client.destroy();
}

async function overHttp1(principal: string, missingBytes = 0, when: When = "something came"): Promise<void> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  const body = enveloped(Buffer.from("{}"));
  const head = [
    `POST ${PATH} HTTP/1.1`,
    `host: ${hostname}`,
    "content-type: application/connect+json",
    `authorization: Bearer dev-${principal}`,
    `content-length: ${body.length + missingBytes}`,
  ];
  const came = new Promise<void>((resolve, reject) => {
    // One chunk, then the rest fills the buffers on the way.
    socket.once("data", () => {
      socket.pause();
      resolve();
    });
    socket.once("error", reject);
    if (when === "at once") socket.once("connect", () => resolve());
  });
  socket.write(`${head.join("\r\n")}\r\n\r\n`);
  socket.write(body);
  await came;
  socket.destroy();
}

async function metrics(): Promise<(name: string) => number> {
  const page = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  return (name) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(page)?.[1] ?? Number.NaN);
}

async function allGone(): Promise<void> {
  const what = "everything of the clients that are gone to be gone";
  const isGone = async () => {
    const now = await metrics();
    const left = ["open_streams", "subscribers", "http2_sessions"].map((name) => now(`tidemark_${name}`));
    return left.every((count) => count === 0);
  };
  await waitFor(isGone, { what });
}

async function endMany(count: number): Promise<void> {
  const ways = Object.values(ENDINGS);
  for (let done = 0; done < count; done += AT_ONCE) {
    const some = Array.from(
      { length: Math.min(AT_ONCE, count - done) },
      (_, n) => ways[(done + n) % ways.length],
    );
    await Promise.all(some.map((way) => way?.()));
  }
  await allGone();
}

it(
  `${ENDS.toLocaleString("en-US")} clients end abruptly, in every state → no stream, session or subscriber is left`,
  async () => {
    // Code is compiled and pools are filled by then.
    await endMany(Math.ceil(ENDS / 4));
    const before = (await metrics())("nodejs_heap_size_used_bytes");
    await endMany(ENDS - Math.ceil(ENDS / 4));
    const after = (await metrics())("nodejs_heap_size_used_bytes");
    expect(after - before).toBeLessThan(HEAP_GROWTH_BYTES_MAX);
    let records = 0;
    const headers = { authorization: "Bearer dev-ana" };
    for await (const { frame } of syncClient(server.url).pullChanges({ mode: 2 }, { headers }))
      if (frame.case === "batch") records += frame.value.changes.length;
    expect(records).toBe(300);
  },
  RUN_MS_MAX,
);
