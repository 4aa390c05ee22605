// A server of the bench's own for the fan-out row: hands a change to each of its streams, as often as its parent lets it.
// As the product does it: the real edge, limits, pull and hub over a real log, each change coming as the leader hands an
// append over. As bare HTTP/2 would: one shared buffer written to every stream. As Connect's handler does: a generator a
// stream, each message created and encoded for it. The parent tells what its client has received: never more than a
// window is on the way, so that nobody falls behind.
import { once } from "node:events";
import { createServer, type ServerHttp2Stream } from "node:http2";
import { create } from "@bufbuild/protobuf";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Timestamp } from "mongodb";
import { type PullChangesResponse, PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import { readTrustedProxies } from "../src/access/address.ts";
import { createAuthenticator } from "../src/access/authenticate.ts";
import { createClientVersions } from "../src/access/client-versions.ts";
import { createLimiter } from "../src/access/limits/limiter.ts";
import { readConfig } from "../src/config.ts";
import { createEdge } from "../src/edge/edge.ts";
import { listenerDefaults } from "../src/edge/listener.ts";
import { frameWire } from "../src/edge/wire/envelopes.ts";
import { batchFrame } from "../src/frames/batch.ts";
import { encodePut } from "../src/frames/change.ts";
import { checkpointFrame, type Frame } from "../src/frames/frame.ts";
import { loadDescriptorSet } from "../src/generate/load-descriptor-set.ts";
import type { CommittedAppend } from "../src/log/append.ts";
import type { MainEntry } from "../src/log/entry.ts";
import { openLog, readState } from "../src/log/log.ts";
import { readAllEntries } from "../src/log/read.ts";
import { realClock } from "../src/main.ts";
import { commitClockOf } from "../src/model/commit-clock.ts";
import { silentLogger } from "../src/model/logger.ts";
import { SyncError } from "../src/model/sync-error.ts";
import { connectMongo } from "../src/mongo/connect.ts";
import { snapshotSession } from "../src/mongo/snapshot.ts";
import { createPull } from "../src/pull/pull.ts";
import { readSchema } from "../src/schema/schema.ts";

export type FanOutWay = "tidemark" | "raw" | "connect";

export type FromParent =
  | { readonly kind: "go"; readonly streams: number }
  | { readonly kind: "received"; readonly deliveries: number };
export interface ToParent {
  readonly port: number;
}

/** Changes on their way to each stream. */
const WINDOW = 64;

interface Server {
  readonly port: number;
  publish(): void;
}

const way = process.argv[2] as FanOutWay;
const config = readConfig(process.env);
const { log, state, entry } = await openItem();
const server = await { tidemark: startTidemark, raw: startRaw, connect: startConnect }[way]();
let streams = 0;
let published = 0;
let received = 0;
process.on("message", (message: FromParent) => {
  if (message.kind === "received") received = message.deliveries;
  else {
    streams = message.streams;
    setImmediate(goOn);
  }
});
process.on("disconnect", () => process.exit(0));
process.send?.({ port: server.port } satisfies ToParent);

function goOn(): void {
  if (published * streams - received < WINDOW * streams) {
    server.publish();
    published++;
    setImmediate(goOn);
  } else setTimeout(goOn, 1);
}

/** Any entry of the log. */
async function openItem() {
  const client = await connectMongo(config.mongodbUri ?? "");
  const log = await openLog(client, config.tidemarkDb);
  const session = snapshotSession(client);
  const reader = readAllEntries(log, 0, { session, batchSize: 1 });
  const first = (await reader.next()).value?.[0];
  await reader.return();
  await session.endSession();
  if (first?.kind !== "main") throw new Error("the log has no records");
  return { log, state: await readState(log), entry: first };
}

async function startTidemark(): Promise<Server> {
  const schema = readSchema(await loadDescriptorSet(config.schema));
  const shared = { clock: realClock, logger: silentLogger };
  const edge = createEdge({
    ...shared,
    version: "bench",
    receiptDays: config.receiptDays,
    tombstoneDays: config.tombstoneDays,
    mutationBytesMax: config.mutationBytesMax,
    corsOrigins: config.corsOrigins,
    limits: { ...listenerDefaults, connectionsMax: config.connectionsMax },
    tls: undefined,
    trustedProxies: readTrustedProxies([]),
    clientVersions: createClientVersions({
      oldest: new Map(),
      deprecated: new Map(),
      upgradeUrls: new Map(),
    }),
    featureFlags: config.featureFlags,
    metrics: { count() {} },
    waitingFor: () => [],
  });
  const port = await edge.listen(0, "127.0.0.1");
  const pull = createPull({ ...shared, log, schema });
  while (!pull.isInformed) await realClock.sleep(5);
  const limiter = await createLimiter({
    ...shared,
    settings: config,
    keyPrefix: "bench",
    metrics: { count() {} },
  });
  const authenticate = createAuthenticator({ ...config, schema, clock: realClock });
  const refuse = () => Promise.reject(new SyncError("UNSUPPORTED", "the bench only pulls"));
  edge.open({
    schema,
    authenticate,
    limiter,
    pull,
    push: { pushMutations: refuse },
    receipts: { getReceipt: refuse, listReceipts: refuse },
  });
  let last = state;
  return {
    port,
    publish() {
      const append = nextAppend(last);
      last = append.state;
      pull.onAppend(append);
    },
  };
}

/** The item once more, a second later each time. */
function nextAppend(before: typeof state): CommittedAppend {
  const seq = before.head + 1;
  const time = clockAfter(before.clock ?? new Timestamp({ t: 1_800_000_000, i: 1 }));
  const changed: MainEntry = { ...entry, seq, since: seq };
  return {
    before: before.head,
    state: { ...before, head: seq, revision: before.revision + 1, clock: time },
    entries: [changed],
    grantsChanged: false,
    time,
  };
}

function clockAfter(clock: Timestamp): Timestamp {
  return new Timestamp({ t: clock.high, i: clock.low + 1 });
}

/** What the product sends of a step. */
function framesOf(seq: number): Frame[] {
  const change = encodePut({
    collection: entry.key.c,
    recordId: entry.recordId,
    version: seq,
    record: entry.record,
    changed: [],
  });
  if (change.kind !== "inline") throw new Error("an item fits a frame");
  const clock = commitClockOf(new Timestamp({ t: 1_800_000_000, i: 1 }));
  return [batchFrame([change.bytes], seq), checkpointFrame(seq, clock)];
}

async function startRaw(): Promise<Server> {
  const open = new Set<ServerHttp2Stream>();
  const server = createServer({ maxSessionMemory: 512, settings: { maxConcurrentStreams: 4_096 } });
  server.on("stream", (stream) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc+proto" });
    stream.write(frameWire.PROTO(framesOf(1).slice(1)).buffer);
    stream.on("error", () => {});
    stream.resume();
    open.add(stream);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { buffer } = frameWire.PROTO(framesOf(2));
  return {
    port: portOf(server.address()),
    publish() {
      for (const stream of open) stream.write(buffer);
    },
  };
}

async function startConnect(): Promise<Server> {
  let published = Promise.withResolvers<number>();
  let seq = 1;
  const handler = connectNodeAdapter({
    routes(router) {
      router.rpc(SyncService.method.pullChanges, async function* () {
        yield checkpointMessage(1);
        for (;;) {
          const at = await published.promise;
          yield batchMessage(at);
          yield checkpointMessage(at);
        }
      });
    },
  });
  const server = createServer({ maxSessionMemory: 512, settings: { maxConcurrentStreams: 4_096 } }, handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: portOf(server.address()),
    publish() {
      const { resolve } = published;
      published = Promise.withResolvers();
      resolve(++seq);
    },
  };
}

function batchMessage(seq: number): PullChangesResponse {
  const record = { form: { case: "proto" as const, value: entry.record } };
  const put = { case: "put" as const, value: { record } };
  const change = { collection: entry.key.c, recordId: entry.recordId, version: BigInt(seq), kind: put };
  const value = { changes: [change], position: BigInt(seq) };
  return create(PullChangesResponseSchema, { frame: { case: "batch", value } });
}

function checkpointMessage(seq: number): PullChangesResponse {
  const value = { position: BigInt(seq), commitClock: 1n, time: { seconds: 1_800_000_000n } };
  return create(PullChangesResponseSchema, { frame: { case: "checkpoint", value } });
}

function portOf(address: ReturnType<ReturnType<typeof createServer>["address"]>): number {
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
