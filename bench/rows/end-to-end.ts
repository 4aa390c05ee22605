// From a device's push to its receipt, and to the change at another device, over gRPC through the whole server; against a
// majority write and its arrival at a raw watch().
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { PullMode } from "#gen/tidemark/v1/pull_changes_pb.js";
import { Outcome } from "#gen/tidemark/v1/receipt_pb.js";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import { issueToken } from "../../src/access/issue-token.ts";
import { BENCH_SECRET, type Bench, type RunningServer } from "../bench.ts";
import { Device, wireMutationOf } from "../device.ts";
import { PUSH_SCHEMA } from "../push-node.ts";
import { measured, percentile, type Row } from "../row.ts";

const PUSHES = 200;
const WARM_UP = 40;

export const endToEnd: Row = {
  name: "end-to-end",
  async run(bench) {
    await bench.reset();
    const device = new Device(0);
    const todos = device.todos();
    await bench.insertTodos(todos);
    const server = await bench.startServer({ schema: PUSH_SCHEMA });
    await bench.logReaches(todos.length);
    await bench.serverReady(server);
    const pushed = await pushes(server, device);
    await server.stop();
    const written = await writes(bench);
    const row = (what: string, ms: readonly number[], referenceMs: readonly number[], p: number) =>
      measured({
        row: `a push, until ${what}, p${p * 100}`,
        unit: "ms",
        value: percentile(ms, p),
        reference: percentile(referenceMs, p),
        referenceName: "the same of a majority write and watch()",
      });
    return [0.5, 0.99].flatMap((p) => [
      row("its receipt", pushed.receiptMs, written.receiptMs, p),
      row("another device has the change", pushed.arrivalMs, written.arrivalMs, p),
    ]);
  },
};

interface Times {
  /** Until whoever wrote knows that it is written. */
  readonly receiptMs: readonly number[];
  /** Until another one has it. */
  readonly arrivalMs: readonly number[];
}

/** One after the other: the next when the other device has the last. */
async function pushes(server: RunningServer, device: Device): Promise<Times> {
  const secret = { secret: BENCH_SECRET, principal: device.name, claims: {}, ttlSeconds: 3600 };
  const headers = { authorization: `Bearer ${await issueToken({ ...secret, nowMs: Date.now() })}` };
  const clientOf = () => createClient(SyncService, createGrpcTransport({ baseUrl: server.url }));
  const ending = new AbortController();
  const request = { selections: [{ collection: "todos" }], mode: PullMode.FOLLOW };
  const stream = clientOf().pullChanges(request, { headers, signal: ending.signal });
  const settled = Promise.withResolvers<void>();
  let arrived: (version: bigint) => void = () => {};
  const following = (async () => {
    for await (const { frame } of stream) {
      if (frame.case === "checkpoint") settled.resolve();
      if (frame.case === "batch") for (const { version } of frame.value.changes) arrived(version);
    }
  })().catch((error: unknown) => {
    if (!ending.signal.aborted) throw error;
  });
  await settled.promise;
  const client = clientOf();
  const times = await measure(() => {
    const arrival = new Promise<void>((resolve) => {
      arrived = () => resolve();
    });
    const mutations = device.edits(1).map(wireMutationOf);
    const receipt = client.pushMutations({ mutations }, { headers }).then(({ receipts: [receipt] }) => {
      if (receipt?.outcome !== Outcome.APPLIED) throw new Error("a push was not applied");
    });
    return { receipt, arrival };
  });
  ending.abort();
  await following;
  return times;
}

async function writes(bench: Bench): Promise<Times> {
  const todos = bench.client.db(bench.sourceDb).collection("todos", { writeConcern: { w: "majority" } });
  const [first] = await todos
    .find({}, { projection: { _id: 1 } })
    .limit(1)
    .toArray();
  const watching = todos.watch();
  const times = await measure((n) => {
    const arrival = watching.next().then(() => {});
    const receipt = todos.updateOne(first ?? {}, { $set: { votes: 1_000 + n } }).then(() => {});
    return { receipt, arrival };
  });
  await watching.close();
  return times;
}

type Begin = (n: number) => { readonly receipt: Promise<void>; readonly arrival: Promise<void> };

async function measure(begin: Begin): Promise<Times> {
  const receiptMs: number[] = [];
  const arrivalMs: number[] = [];
  for (let n = 0; n < WARM_UP + PUSHES; n++) {
    const startMs = performance.now();
    const passed = (into: number[]) => () => {
      if (n >= WARM_UP) into.push(performance.now() - startMs);
    };
    const { receipt, arrival } = begin(n);
    await Promise.all([receipt.then(passed(receiptMs)), arrival.then(passed(arrivalMs))]);
  }
  return { receiptMs, arrivalMs };
}
