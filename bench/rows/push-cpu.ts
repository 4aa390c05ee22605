// What a unary call costs a server: CPU time of its process for each push over gRPC that is refused before anything is
// asked of the database, against grpc-js refusing the same message.
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { PushMutationsRequestSchema } from "#gen/tidemark/v1/push_mutations_pb.js";
import { issueToken } from "../../src/access/issue-token.ts";
import { BENCH_SECRET } from "../bench.ts";
import { Device, wireMutationOf } from "../device.ts";
import { enveloped } from "../load/envelopes.ts";
import { H2Client } from "../load/h2-client.ts";
import type { ToParent } from "../refusing-node.ts";
import { measured, percentile, type Row } from "../row.ts";

const AT_ONCE = 64;
const CALLS = 4_000;
const ROUNDS = 5;
/** Linux counts a process' time in hundredths of a second. */
const US_PER_TICK = 10_000;

export const pushCpu: Row = {
  name: "push-cpu",
  async run(bench) {
    const server = await bench.serverOfItems(1);
    const reference = fork(join(import.meta.dirname, "../refusing-node.ts"), bench.forkOptions());
    const [{ port }] = (await once(reference, "message")) as [ToParent];
    const roads = [
      { url: server.url, pid: server.pid, samples: [] as number[] },
      { url: `http://127.0.0.1:${port}`, pid: reference.pid ?? 0, samples: [] as number[] },
    ] as const;
    const headers = {
      "content-type": "application/grpc+proto",
      te: "trailers",
      authorization: await bearer(),
    };
    for (const { url } of roads) await call(url, headers);
    for (let round = 0; round < ROUNDS; round++) {
      for (const { url, pid, samples } of roads) {
        const before = cpuUs(pid);
        await call(url, headers);
        samples.push((cpuUs(pid) - before) / CALLS);
      }
    }
    reference.kill("SIGKILL");
    await server.stop();
    const [own, other] = roads.map(({ samples }) => percentile(samples, 0.5));
    return [
      measured({
        row: "a push over gRPC refused before the database, server CPU",
        unit: "µs",
        value: own ?? 0,
        reference: other ?? 0,
        referenceName: "grpc-js, the same message",
        atMost: 2,
      }),
    ];
  },
};

async function bearer(): Promise<string> {
  const about = { secret: BENCH_SECRET, principal: "bench", claims: {}, ttlSeconds: 3600 };
  return `Bearer ${await issueToken({ ...about, nowMs: Date.now() })}`;
}

/** A push as a generated client sends it, but for its id. */
function refusedPush(): Buffer {
  const [edit] = new Device(0).edits(1);
  if (!edit) throw new Error("a device has edits");
  const mutations = [{ ...wireMutationOf(edit), mutationId: "not-a-uuid" }];
  return enveloped(
    Buffer.from(toBinary(PushMutationsRequestSchema, create(PushMutationsRequestSchema, { mutations }))),
  );
}

/** All calls, as many at once as a few devices make, on one connection. */
async function call(url: string, headers: Readonly<Record<string, string>>): Promise<void> {
  const body = refusedPush();
  const client = await H2Client.open(url);
  let [begun, ended] = [0, 0];
  await new Promise<void>((resolve, reject) => {
    const next = () => {
      if (begun === CALLS) return;
      begun++;
      client.post("/tidemark.v1.SyncService/PushMutations", headers, body, { onData() {}, onEnd });
    };
    const onEnd = (error?: string) => {
      if (error !== undefined) reject(new Error(`a call was cut: ${error}`));
      if (++ended === CALLS) resolve();
      next();
    };
    for (let n = 0; n < AT_ONCE; n++) next();
  });
  client.destroy();
}

/** What a process has used by now, user and system. */
function cpuUs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * US_PER_TICK;
}
