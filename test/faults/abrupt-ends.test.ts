// Clients that end without a word, in whatever state their stream is: nothing of them stays. A thousand of them with the
// tests; `TIDEMARK_ENDS=10000` runs as many as docs/runs/abrupt-ends-10000.md tells of.
import { expect, it, onTestFinished } from "vitest";
import { authority, signed, tlsFiles } from "../support/certificates.ts";
import { inspected, type Remains, remains } from "../support/inspector.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { freePort, type ServerProcess, spawnServer, syncClient } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";
import { ENDINGS, type Ports, PRINCIPALS } from "./endings.ts";

const ENDS = Number(process.env["TIDEMARK_ENDS"] ?? 1_000);
const AT_ONCE = 20;
const RUN_MS_MAX = 1_800_000;
/** Code and pools that were needed for the first time. A client that leaves its stream's objects leaves some 10 KB. */
const GROWTH_BYTES_MAX = 4_000_000;
/** Of 300 records of a client's, and of 8 of 3 MB. */
const MANY = 300;
const LARGE = 8;

interface Node {
  readonly server: ServerProcess;
  readonly port: number;
  readonly metricsPort: number;
  readonly inspectorPort: number;
}

let database: TestDatabase;
let cleartext: Node;
let tls: Node;
let ports: Ports;

/** All of it is ended when the test is. */
async function setUp(): Promise<void> {
  database = await testDatabase();
  onTestFinished(() => database.drop());
  const large = "x".repeat(3_000_000);
  const todos = [
    ...Array.from({ length: MANY }, (_, n) => ({
      _id: `many-${n}`,
      ownerId: PRINCIPALS.manyRecords,
      notes: "n".repeat(2_000),
    })),
    ...Array.from({ length: LARGE }, (_, n) => ({
      _id: `large-${n}`,
      ownerId: PRINCIPALS.largeRecords,
      title: large,
    })),
    { _id: "large", ownerId: PRINCIPALS.largeRecord, title: large },
    { _id: "one", ownerId: PRINCIPALS.idle },
  ];
  await database.source.collection<{ _id: string }>("todos").insertMany(todos);
  const ca = await authority("test authority");
  const { certFile, keyFile } = await tlsFiles(await signed(ca, "server"));
  cleartext = await startNode({});
  tls = await startNode({ TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile });
  ports = { cleartext: cleartext.port, tls: tls.port };
}

async function startNode(env: Record<string, string>): Promise<Node> {
  const [metricsPort, inspectorPort] = [await freePort(), await freePort()];
  const noLimits = ["REQUESTS", "OPENED_STREAMS", "MEGABYTES"].flatMap((what) =>
    ["PRINCIPAL", "DEVICE", "ADDRESS"].map((per) => [`LIMIT_${what}_PER_${per}`, "0"]),
  );
  const server = await spawnServer(database, {
    ...Object.fromEntries(noLimits),
    // What a few clients leave open, the others are refused for.
    STREAMS_PER_PRINCIPAL_MAX: "400",
    METRICS_PORT: String(metricsPort),
    NODE_OPTIONS: inspected(inspectorPort),
    ...env,
  });
  onTestFinished(async () => void (await server.stop()));
  const node = { server, port: Number(new URL(server.url).port), metricsPort, inspectorPort };
  await waitFor(async () => (await gauges(node).catch(() => undefined))?.("open_streams") === 0, {
    what: "a server that serves",
  });
  return node;
}

async function gauges({ metricsPort }: Node): Promise<(name: string) => number> {
  const page = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  return (name) => Number(new RegExp(`^tidemark_${name} (\\S+)$`, "m").exec(page)?.[1] ?? Number.NaN);
}

async function hasNobody(node: Node): Promise<boolean> {
  const now = await gauges(node);
  return ["open_streams", "subscribers", "http2_sessions"].every((name) => now(name) === 0);
}

/** Cursors that somebody may still read from: of a pass that goes on though its client is gone. */
async function openCursors(): Promise<number> {
  const ops = database.client.db("admin").aggregate([
    { $currentOp: { idleCursors: true, localOps: true } },
    {
      $match: {
        type: "idleCursor",
        ns: { $regex: `^${database.tidemarkDb}\\.` },
        "cursor.tailable": false,
      },
    },
  ]);
  return (await ops.toArray()).length;
}

async function endMany(count: number): Promise<void> {
  for (let done = 0; done < count; done += AT_ONCE) {
    const some = Array.from(
      { length: Math.min(AT_ONCE, count - done) },
      (_, n) => (done + n) % ENDINGS.length,
    );
    // Who is live is being sent something.
    const write = database.source
      .collection<{ _id: string }>("todos")
      .updateMany({ _id: { $in: ["one", "many-0"] } }, { $set: { notes: `after ${done}` } });
    await Promise.all([write, ...some.map(endAs)]);
  }
  await waitFor(async () => (await hasNobody(cleartext)) && (await hasNobody(tls)), {
    what: "everything of the clients that are gone to be gone",
  });
  await waitFor(async () => (await openCursors()) === 0, { what: "the cursors of passes to be closed" });
}

async function endAs(index: number): Promise<void> {
  const [name, end] = ENDINGS[index] ?? ["", async () => {}];
  await end(ports).catch((cause: unknown) => {
    throw new Error(name, { cause });
  });
}

/** Sockets and handles of all kinds; the driver opens connections when it needs them, and timers come and go. */
function kept({ resources }: Remains): number {
  const { TCPSocketWrap = 0, TCPServerWrap = 0 } = resources;
  return TCPSocketWrap + TCPServerWrap;
}

it(
  `${ENDS.toLocaleString("en-US")} clients end abruptly, in every state → no stream, session, subscriber, cursor, socket or memory of theirs is left`,
  async () => {
    await setUp();
    const warmUp = Math.max(ENDINGS.length, Math.ceil(ENDS / 4));
    await endMany(warmUp);
    const before = await Promise.all([cleartext, tls].map(({ inspectorPort }) => remains(inspectorPort)));
    await endMany(ENDS - warmUp);
    const after = await Promise.all([cleartext, tls].map(({ inspectorPort }) => remains(inspectorPort)));
    for (const [index, now] of after.entries()) {
      const then = before[index] ?? now;
      process.stdout.write(`${JSON.stringify({ then, now })}\n`);
      expect(now.heapBytes - then.heapBytes).toBeLessThan(GROWTH_BYTES_MAX);
      expect(now.bufferBytes - then.bufferBytes).toBeLessThan(GROWTH_BYTES_MAX);
      expect(kept(now) - kept(then)).toBeLessThan(20);
    }
    let records = 0;
    const headers = { authorization: `Bearer dev-${PRINCIPALS.manyRecords}` };
    for await (const { frame } of syncClient(cleartext.server.url).pullChanges({ mode: 2 }, { headers }))
      if (frame.case === "batch") records += frame.value.changes.length;
    expect(records).toBe(MANY);
  },
  RUN_MS_MAX,
);
