// Every limit lets in what it allows and refuses what is over it, in memory and in a real Redis alike; nobody pays for
// anybody else; retry-after is the truth.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Caller, LimitSettings } from "../../../src/access/limits/limit.ts";
import type { Limiter } from "../../../src/access/limits/limiter.ts";
import type { SyncError } from "../../../src/model/sync-error.ts";
import { startRedis } from "../../support/redis.ts";
import { waitFor } from "../../support/wait-for.ts";
import { arrival, callerOf, keptMetrics, limiterOf, refusalOf } from "./limiter-fixture.ts";

type Act = (limiter: Limiter, caller: Caller) => Promise<SyncError | undefined>;

const arrive: Act = (limiter, { address }) => arrival(limiter, address);
const enter: Act = (limiter, caller) => refusalOf(limiter.enter(caller, false));
const openAnother: Act = (limiter, caller) => refusalOf(limiter.enter(caller, true));
const push: Act = (limiter, caller) => refusalOf(limiter.countMutations(caller, 1));
const hold: Act = (limiter, caller) => refusalOf(limiter.openStream(caller));

const ana = callerOf("ana");
const anasTablet = callerOf("ana", "tablet", "192.0.2.2");
const ben = callerOf("ben");
const elsewhere = callerOf("carl", "desk", "192.0.2.9");

type Row = [
  setting: keyof LimitSettings,
  act: Act,
  told: { limit: string; per: string },
  counted: Caller,
  free: Caller,
];

const table: Row[] = [
  ["limitRequestsPerDevice", enter, { limit: "requests", per: "device" }, ana, anasTablet],
  ["limitRequestsPerPrincipal", enter, { limit: "requests", per: "principal" }, anasTablet, ben],
  ["limitRequestsPerAddress", arrive, { limit: "requests", per: "address" }, ben, elsewhere],
  ["limitMutationsPerDevice", push, { limit: "mutations", per: "device" }, ana, anasTablet],
  ["limitMutationsPerPrincipal", push, { limit: "mutations", per: "principal" }, anasTablet, ben],
  ["limitMutationsPerAddress", push, { limit: "mutations", per: "address" }, ben, elsewhere],
  ["limitOpenedStreamsPerDevice", openAnother, { limit: "opened_streams", per: "device" }, ana, anasTablet],
  [
    "limitOpenedStreamsPerPrincipal",
    openAnother,
    { limit: "opened_streams", per: "principal" },
    anasTablet,
    ben,
  ],
  ["limitOpenedStreamsPerAddress", openAnother, { limit: "opened_streams", per: "address" }, ben, elsewhere],
  ["streamsPerPrincipalMax", hold, { limit: "open_streams", per: "principal" }, anasTablet, ben],
  ["streamsPerAddressMax", hold, { limit: "open_streams", per: "address" }, ben, elsewhere],
];

describe.each(["memory", "redis"] as const)("limits in %s", (where) => {
  const redisUrl = async () => (where === "redis" ? (await startRedis()).url : undefined);

  test.each(table)(
    "limits: %s of 3 → three are let in, the fourth is refused, others aren't",
    async (...row) => {
      const [setting, act, told, counted, free] = row;
      const metrics = keptMetrics();
      const limiter = await limiterOf({ settings: { [setting]: 3 }, redisUrl: await redisUrl(), metrics });
      // The first is another caller of the same holder wherever the holder has several.
      expect(await act(limiter, ana)).toBeUndefined();
      expect(await act(limiter, counted)).toBeUndefined();
      expect(await act(limiter, counted)).toBeUndefined();
      const refusal = await act(limiter, counted);
      expect(refusal?.reason).toBe("RATE_LIMITED");
      expect(refusal?.details.metadata).toEqual({ ...told, value: "3" });
      expect(refusal?.details.retryAfterMs).toBeGreaterThan(0);
      expect(refusal?.details.retryAfterMs).toBeLessThanOrEqual(60_000);
      expect(await act(limiter, free)).toBeUndefined();
      expect(metrics.counts.get(`limited_total ${told.limit}_per_${told.per}`)).toBe(1);
    },
  );

  test.each([
    ["limitMegabytesPerDevice", "device", ana, anasTablet],
    ["limitMegabytesPerPrincipal", "principal", anasTablet, ben],
    ["limitMegabytesPerAddress", "address", ben, elsewhere],
  ] as const)("limits: %s of 1 spent → the next call is refused, others aren't", async (...row) => {
    const [setting, per, counted, free] = row;
    const limiter = await limiterOf({ settings: { [setting]: 1 }, redisUrl: await redisUrl() });
    const call: Act = async (at, caller) => (await arrive(at, caller)) ?? enter(at, caller);
    limiter.countBytes(ana, 900_000);
    expect(await call(limiter, counted)).toBeUndefined();
    limiter.countBytes(counted, 5_000_000);
    const refusal = await call(limiter, counted);
    expect(refusal?.details.metadata).toEqual({ limit: "megabytes", per, value: "1" });
    expect(await call(limiter, free)).toBeUndefined();
  });

  test("limits: a request over the limit of mutations → refused whole; one that never fits → split it", async () => {
    const settings = { limitMutationsPerDevice: 10 };
    const limiter = await limiterOf({ settings, redisUrl: await redisUrl() });
    const never = await refusalOf(limiter.countMutations(ana, 11));
    expect(never?.reason).toBe("REQUEST_TOO_LARGE");
    expect(never?.message).toContain("split it");
    expect(await refusalOf(limiter.countMutations(ana, 10))).toBeUndefined();
    expect((await refusalOf(limiter.countMutations(ana, 1)))?.reason).toBe("RATE_LIMITED");
  });

  test("limits: when retry-after has passed → let in, and not before", async () => {
    const settings = { limitRequestsPerDevice: 2, limitWindowSeconds: 1 };
    const limiter = await limiterOf({ settings, redisUrl: await redisUrl() });
    await enter(limiter, ana);
    await enter(limiter, ana);
    const refusedAtMs = performance.now();
    const retryAfterMs = (await enter(limiter, ana))?.details.retryAfterMs ?? 0;
    expect(retryAfterMs).toBeGreaterThan(0);
    // Well before it: this is no race with the window's end.
    if (performance.now() < refusedAtMs + retryAfterMs / 2) expect(await enter(limiter, ana)).toBeDefined();
    await waitFor(() => performance.now() >= refusedAtMs + retryAfterMs + 20);
    expect(await enter(limiter, ana)).toBeUndefined();
  });

  test("limits: a device in a loop → its principal's other devices go on", async () => {
    const settings = { limitRequestsPerDevice: 5, limitRequestsPerPrincipal: 8 };
    const limiter = await limiterOf({ settings, redisUrl: await redisUrl() });
    for (let call = 0; call < 50; call++) await enter(limiter, ana);
    expect(await enter(limiter, anasTablet)).toBeUndefined();
  });

  test("limits: any number of calls at once → exactly as many as the limit are let in", async () => {
    const url = await redisUrl();
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 60 }),
        async (limit, calls) => {
          const settings = { limitRequestsPerPrincipal: limit, streamsPerPrincipalMax: limit };
          const nodes = [await limiterOf({ settings, redisUrl: url })];
          if (url !== undefined) nodes.push(await limiterOf({ settings, redisUrl: url }));
          const caller = callerOf(`principal ${run++} \u{1F30A} ${where}`);
          const letIn = async (act: Act) => {
            const all = Array.from({ length: calls }, (_, at) => act(nodeAt(nodes, at), caller));
            return (await Promise.all(all)).filter((refusal) => refusal === undefined).length;
          };
          expect(await letIn(enter)).toBe(Math.min(limit, calls));
          const streams = await letIn(hold);
          expect(streams).toBeGreaterThan(0);
          expect(streams).toBeLessThanOrEqual(limit);
        },
      ),
      { numRuns: 25 },
    );
  });

  test("limits: streams released, some twice → their places are free again, and only theirs", async () => {
    const limiter = await limiterOf({ settings: { streamsPerPrincipalMax: 2 }, redisUrl: await redisUrl() });
    const first = await limiter.openStream(ana);
    const second = await limiter.openStream(ana);
    expect(await hold(limiter, ana)).toBeDefined();
    first.release();
    first.release();
    const third = await limiter.openStream(ana);
    expect(await hold(limiter, ana)).toBeDefined();
    expect(limiter.openStreams).toBe(2);
    second.release();
    third.release();
    expect(limiter.openStreams).toBe(0);
  });
});

test("limits: STREAMS_PER_NODE_MAX → holds for everybody together, services too", async () => {
  const limiter = await limiterOf({ settings: { streamsPerNodeMax: 2 } });
  const slot = await limiter.openStream(ana);
  expect(await hold(limiter, serviceOf("reports"))).toBeUndefined();
  expect((await hold(limiter, ben))?.details.metadata).toEqual({
    limit: "open_streams",
    per: "node",
    value: "2",
  });
  slot.release();
  expect(await hold(limiter, ben)).toBeUndefined();
});

test("limits: a service → only the calls of its address are counted", async () => {
  const all = Object.fromEntries(table.map(([setting]) => [setting, 1]));
  const limiter = await limiterOf({ settings: all });
  const service = serviceOf("reports");
  for (const act of [enter, push, openAnother, hold, enter, push, openAnother, hold]) {
    expect(await act(limiter, service)).toBeUndefined();
  }
  expect(await arrive(limiter, service)).toBeUndefined();
  expect(await arrive(limiter, service)).toBeDefined();
});

test("limits: an anonymous caller → counted by address alone; without an address not at all", async () => {
  const limiter = await limiterOf({
    settings: { limitMutationsPerAddress: 1, limitMutationsPerPrincipal: 1, limitMutationsPerDevice: 1 },
  });
  const nobody = callerOf("", "phone", "198.51.100.7");
  expect(await push(limiter, nobody)).toBeUndefined();
  expect(await push(limiter, nobody)).toBeDefined();
  expect(await push(limiter, callerOf("", "phone", "198.51.100.8"))).toBeUndefined();
  for (let call = 0; call < 3; call++) expect(await push(limiter, callerOf("", "", ""))).toBeUndefined();
});

test("limits: a client that names no device → counted by its principal alone", async () => {
  const limiter = await limiterOf({ settings: { limitRequestsPerDevice: 1, limitRequestsPerPrincipal: 3 } });
  const nameless = callerOf("ana", "");
  for (let call = 0; call < 3; call++) expect(await enter(limiter, nameless)).toBeUndefined();
  expect((await enter(limiter, nameless))?.details.metadata).toMatchObject({ per: "principal" });
});

test("limits: names made to look like each other's → counted apart", async () => {
  const limiter = await limiterOf({ settings: { limitRequestsPerDevice: 1 } });
  expect(await enter(limiter, callerOf('a","b', "c"))).toBeUndefined();
  expect(await enter(limiter, callerOf("a", 'b","c'))).toBeUndefined();
  expect(await enter(limiter, callerOf("__proto__", "constructor"))).toBeUndefined();
  expect(await enter(limiter, callerOf("", "c"))).toBeUndefined();
});

function serviceOf(id: string): Caller {
  const { principal, address } = callerOf(id);
  return { address, principal: principal && { ...principal, isService: true } };
}

function nodeAt(nodes: readonly Limiter[], call: number): Limiter {
  const node = nodes[call % nodes.length];
  if (node === undefined) throw new Error("there are no nodes");
  return node;
}
