// How many mutations a second 64 devices push, one or a hundred per call, against a transaction for each mutation in
// the same process and at the same concurrency; ingest runs beside both.
import type { Bench } from "../bench.ts";
import { type Call, CallTimes } from "../concurrent-calls.ts";
import { Device, type Edit, mutationOf } from "../device.ts";
import { naiveRoad } from "../naive-push.ts";
import { type PushNode, startPushNode } from "../push-node.ts";
import { type Measured, measured, type Row } from "../row.ts";

const DEVICES = 64;

interface Shape {
  /** Mutations of a call. */
  readonly size: number;
  readonly name: string;
  readonly rounds: number;
  /** Of each device in a round: about three seconds' worth, or one call. */
  readonly calls: { readonly push: number; readonly naive: number };
  readonly ratioAtLeast: number;
}

const SINGLES: Shape = { size: 1, name: "1", rounds: 3, calls: { push: 150, naive: 40 }, ratioAtLeast: 4 };
const BATCHES: Shape = { size: 100, name: "100", rounds: 2, calls: { push: 6, naive: 1 }, ratioAtLeast: 8 };

export const push: Row = {
  name: "push",
  async run(bench) {
    await bench.reset();
    const devices = Array.from({ length: DEVICES }, (_, n) => new Device(n));
    await bench.insertTodos(devices.flatMap((device) => device.todos()));
    const node = await startPushNode(bench);
    try {
      await node.settled();
      return [
        ...(await measure({ bench, node, devices, shape: SINGLES })),
        ...(await measure({ bench, node, devices, shape: BATCHES })),
      ];
    } finally {
      await node.close();
    }
  },
};

interface Measuring {
  readonly bench: Bench;
  readonly node: PushNode;
  readonly devices: readonly Device[];
  readonly shape: Shape;
}

type Road = (device: Device, edits: readonly Edit[]) => Call;

async function measure({ bench, node, devices, shape }: Measuring): Promise<Measured[]> {
  const { size, rounds, calls } = shape;
  const roads = { push: pushRoad(node), naive: naive(bench, node) };
  const times = { push: new CallTimes(), naive: new CallTimes() };
  const run = async (road: "push" | "naive", count: number, into: CallTimes) => {
    const callsOf = (device: Device) =>
      Array.from({ length: count }, () => roads[road](device, device.edits(size)));
    await into.run(devices.map(callsOf));
    await node.settled();
  };
  // What isn't compiled yet, and an empty cache, aren't what a server runs with.
  for (const road of ["naive", "push"] as const) await run(road, Math.ceil(calls[road] / 2), new CallTimes());
  for (let round = 0; round < rounds; round++) {
    for (const road of ["naive", "push"] as const) await run(road, calls[road], times[road]);
  }
  const row = `push, ${devices.length} devices × ${shape.name} mutation${size > 1 ? "s" : ""} a call`;
  const referenceName = "a transaction per mutation";
  return [
    measured({
      row,
      unit: "1/s",
      value: times.push.callsPerSecond() * size,
      reference: times.naive.callsPerSecond() * size,
      referenceName,
      atLeast: shape.ratioAtLeast,
    }),
    measured({
      row: `${row}, p99 of a call`,
      unit: "ms",
      value: times.push.p99Ms(),
      reference: times.naive.p99Ms(),
      referenceName,
      atMost: 1,
    }),
  ];
}

function pushRoad(node: PushNode): Road {
  const { signal } = new AbortController();
  return (device, edits) => {
    const request = { mutations: edits.map(mutationOf), atomic: false, recordForm: "PROTO" } as const;
    const principal = node.principalOf(device.name);
    return async () => {
      const { receipts } = await node.push.pushMutations(principal, request, signal);
      const other = receipts.find(({ outcome }) => outcome !== "APPLIED");
      if (other) throw new Error(`a push was not applied: ${other.outcome} ${other.rejection?.description}`);
    };
  };
}

function naive(bench: Bench, node: PushNode): Road {
  const road = naiveRoad(node.client, bench.sourceDb);
  return (device, edits) => () => road.push(device, edits);
}
