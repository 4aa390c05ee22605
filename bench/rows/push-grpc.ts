// The same single mutations over gRPC, through a server's whole edge, by Node's own client: told, not judged, since the
// client's work takes its share of the machine.
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { Outcome } from "#gen/tidemark/v1/receipt_pb.js";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import { issueToken } from "../../src/access/issue-token.ts";
import { BENCH_SECRET, type RunningServer } from "../bench.ts";
import { type Call, CallTimes } from "../concurrent-calls.ts";
import { Device, wireMutationOf } from "../device.ts";
import { naiveRoad } from "../naive-push.ts";
import { PUSH_SCHEMA } from "../push-node.ts";
import { measured, type Row } from "../row.ts";

const DEVICES = 64;
const ROUNDS = 3;
/** Of each device in a round. */
const CALLS = { grpc: 60, naive: 40 };

export const pushOverGrpc: Row = {
  name: "push-grpc",
  async run(bench) {
    await bench.reset();
    const devices = Array.from({ length: DEVICES }, (_, n) => new Device(n));
    const todos = devices.flatMap((device) => device.todos());
    await bench.insertTodos(todos);
    const server = await bench.startServer({ schema: PUSH_SCHEMA });
    await bench.logReaches(todos.length);
    await bench.serverReady(server);
    const clients = await Promise.all(devices.map((device) => clientOf(server, device)));
    const road = naiveRoad(bench.client, bench.sourceDb);
    const grpc = new CallTimes();
    const naive = new CallTimes();
    const overGrpc = (calls: number) => clients.map((client) => client.calls(calls));
    await new CallTimes().run(overGrpc(1));
    for (let round = 0; round < ROUNDS; round++) {
      await naive.run(
        devices.map((device) =>
          Array.from({ length: CALLS.naive }, () => {
            const edits = device.edits(1);
            return () => road.push(device, edits);
          }),
        ),
      );
      await grpc.run(overGrpc(CALLS.grpc));
    }
    for (const client of clients) client.close();
    await server.stop();
    const row = `push over gRPC, ${DEVICES} devices × 1 mutation a call`;
    const referenceName = "a transaction per mutation, in process";
    return [
      measured({
        row,
        unit: "1/s",
        value: grpc.callsPerSecond(),
        reference: naive.callsPerSecond(),
        referenceName,
      }),
      measured({
        row: `${row}, p99 of a call`,
        unit: "ms",
        value: grpc.p99Ms(),
        reference: naive.p99Ms(),
        referenceName,
      }),
    ];
  },
};

/** A device with a connection of its own. */
async function clientOf(server: RunningServer, device: Device) {
  const token = await issueToken({
    secret: BENCH_SECRET,
    principal: device.name,
    claims: {},
    ttlSeconds: 3600,
    nowMs: Date.now(),
  });
  const headers = { authorization: `Bearer ${token}` };
  const connection = new Http2SessionManager(server.url);
  const transport = createGrpcTransport({ baseUrl: server.url, sessionManager: connection });
  const client = createClient(SyncService, transport);
  const call = (): Call => {
    const mutations = device.edits(1).map(wireMutationOf);
    return async () => {
      const { receipts } = await client.pushMutations({ mutations }, { headers });
      const other = receipts.find(({ outcome }) => outcome !== Outcome.APPLIED);
      if (other) throw new Error(`a push was not applied: ${Outcome[other.outcome]}`);
    };
  };
  return {
    calls: (count: number) => Array.from({ length: count }, call),
    close: () => connection.abort(),
  };
}
