// Redis killed, frozen, refusing, empty or never there: calls go on without waiting, each node by its own limits, and
// operators are told once. When it is back, limits hold across nodes again, with what happened meanwhile.
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import type { Limiter } from "../../../src/access/limits/limiter.ts";
import { keptLog } from "../../support/log-lines.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import { waitFor } from "../../support/wait-for.ts";
import { callerOf, hasty, keptMetrics, limiterOf, refusalOf } from "./limiter-fixture.ts";

const AWAY = "Redis is away: limits hold per node until it is back";
const BACK = "Redis is back: limits hold across all nodes again";
/** The product's bound is 100 ms; the rest is for a machine with more to do than this test. */
const WAIT_MS_MAX = 1_000;

const enter = (limiter: Limiter, who: string) => refusalOf(limiter.enter(callerOf(who), false));
const isShared = (limiter: Limiter) => waitFor(() => limiter.isShared, { what: "Redis to be back" });
const isAlone = (limiter: Limiter) => waitFor(() => !limiter.isShared, { what: "Redis to be missed" });

async function timed<T>(call: Promise<T>): Promise<{ answer: T; ms: number }> {
  const startedAt = performance.now();
  return { answer: await call, ms: performance.now() - startedAt };
}

test.each([
  ["killed", (redis: TestRedis) => redis.kill(), (redis: TestRedis) => redis.restart()],
  ["frozen", async (redis: TestRedis) => redis.freeze(), async (redis: TestRedis) => redis.thaw()],
] as const)(
  "limits: Redis is %s in the middle of calls → they go on per node, told once, and recover",
  async (...row) => {
    const [, breakIt, mendIt] = row;
    const redis = await startRedis();
    const log = keptLog();
    const metrics = keptMetrics();
    const settings = { limitRequestsPerPrincipal: 100 };
    const node = await limiterOf({ settings, redisUrl: redis.url, logger: log.logger, metrics });
    const other = await limiterOf({ settings, redisUrl: redis.url });
    const calls = (count: number) => Array.from({ length: count }, () => timed(enter(node, "ana")));
    const before = calls(20);
    await breakIt(redis);
    const during = await Promise.all([...before, ...calls(20)]);
    expect(during.filter(({ answer }) => answer !== undefined)).toEqual([]);
    await isAlone(node);
    const after = await Promise.all(calls(200));
    expect(Math.max(...[...during, ...after].map(({ ms }) => ms))).toBeLessThan(WAIT_MS_MAX);
    // The node's own limit holds: at most as many again.
    const letIn = after.filter(({ answer }) => answer === undefined).length;
    expect(letIn).toBeLessThanOrEqual(100);
    expect(letIn).toBeGreaterThanOrEqual(60);
    expect(after.some(({ answer }) => answer?.reason === "RATE_LIMITED")).toBe(true);
    expect(log.troubles()).toEqual([AWAY]);
    expect(metrics.counts.get("limiter_fallbacks_total")).toBeGreaterThanOrEqual(letIn);

    await mendIt(redis);
    await Promise.all([isShared(node), isShared(other)]);
    expect(log.troubles()).toEqual([AWAY, BACK]);
    let letInByBoth = 0;
    for (let call = 0; call < 102; call++) {
      if ((await enter(call % 2 ? node : other, "ben")) === undefined) letInByBoth++;
    }
    expect(letInByBoth).toBe(100);
  },
);

test("limits: once Redis is known to be away → no call waits for it at all", async () => {
  const redis = await startRedis();
  const node = await limiterOf({ settings: { limitRequestsPerPrincipal: 10_000 }, redisUrl: redis.url });
  redis.freeze();
  await enter(node, "ana");
  await isAlone(node);
  const { ms } = await timed(Promise.all(Array.from({ length: 1_000 }, () => enter(node, "ana"))));
  redis.thaw();
  // A thousand calls, each of which would have had to wait for 100 ms.
  expect(ms).toBeLessThan(WAIT_MS_MAX);
});

test("limits: Redis goes away again and again → each outage lasts longer, so that the log isn't flooded", async () => {
  const redis = await startRedis();
  const log = keptLog();
  const settings = { limitRequestsPerPrincipal: 1_000 };
  const node = await limiterOf({ settings, redisUrl: redis.url, logger: log.logger });
  const lastedMs: number[] = [];
  for (let outage = 0; outage < 3; outage++) {
    redis.freeze();
    await enter(node, "ana");
    await isAlone(node);
    const begunAt = performance.now();
    redis.thaw();
    await isShared(node);
    lastedMs.push(performance.now() - begunAt);
  }
  expect(lastedMs[1]).toBeGreaterThan(900);
  expect(lastedMs[2]).toBeGreaterThan(1_900);
  expect(log.troubles()).toEqual([AWAY, BACK, AWAY, BACK, AWAY, BACK]);
});

test("limits: nothing listens at REDIS_URL at start → a warning; Redis comes later → limits are shared", async () => {
  const redis = await startRedis();
  await redis.kill();
  const log = keptLog();
  const { answer: node, ms } = await timed(
    limiterOf({ settings: { limitRequestsPerPrincipal: 2 }, redisUrl: redis.url, logger: log.logger }),
  );
  expect(ms).toBeLessThan(5_000);
  expect(log.troubles()).toEqual([AWAY]);
  for (const expected of [undefined, undefined, "RATE_LIMITED"]) {
    expect((await enter(node, "ana"))?.reason).toBe(expected);
  }
  await redis.restart();
  await isShared(node);
  expect(log.troubles()).toEqual([AWAY, BACK]);
});

test.each([
  ["wants a password", ["--requirepass", "hunter2"], ""],
  ["is given a wrong password", ["--requirepass", "hunter2"], ":letmein@"],
  ["has no memory left", ["--maxmemory", "1", "--maxmemory-policy", "noeviction"], ""],
  ["takes no writes", ["--replicaof", "127.0.0.1", "1"], ""],
])("limits: Redis %s → per node, told once and without a secret", async (_, args, login) => {
  const redis = await startRedis(args);
  const log = keptLog();
  const redisUrl = redis.url.replace("redis://", `redis://${login}`);
  const settings = { limitRequestsPerPrincipal: 1 };
  const node = await limiterOf({ settings, redisUrl, logger: log.logger });
  expect(await enter(node, "ana")).toBeUndefined();
  expect((await enter(node, "ana"))?.reason).toBe("RATE_LIMITED");
  expect(node.isShared).toBe(false);
  expect(log.troubles()).toEqual([AWAY]);
  expect(JSON.stringify(log.lines)).not.toMatch(/hunter2|letmein/);
});

test("limits: streams opened and closed while Redis was away → counted right when it is back", async () => {
  const redis = await startRedis();
  const settings = { streamsPerPrincipalMax: 3 };
  const node = await limiterOf({ settings, redisUrl: redis.url });
  const other = await limiterOf({ settings, redisUrl: redis.url });
  const ana = callerOf("ana");
  const held = [await node.openStream(ana), await node.openStream(ana)];
  await redis.kill();
  await Promise.all([isAlone(node), isAlone(other)]);
  for (const slot of held) slot.release();
  await node.openStream(ana);
  await redis.restart();
  await Promise.all([isShared(node), isShared(other)]);
  expect(await refusalOf(other.openStream(ana))).toBeUndefined();
  expect(await refusalOf(other.openStream(ana))).toBeUndefined();
  expect((await refusalOf(other.openStream(ana)))?.details.metadata).toMatchObject({ limit: "open_streams" });
});

test("limits: streams end while Redis is frozen, which then still has them → they no longer count", async () => {
  const redis = await startRedis();
  const settings = { streamsPerPrincipalMax: 2 };
  const node = await limiterOf({ settings, redisUrl: redis.url });
  const other = await limiterOf({ settings, redisUrl: redis.url });
  const ana = callerOf("ana");
  const held = [await node.openStream(ana), await node.openStream(ana)];
  redis.freeze();
  await node.openStream(callerOf("ben"));
  await isAlone(node);
  for (const slot of held) slot.release();
  redis.thaw();
  await isShared(node);
  await other.openStream(ana);
  expect(await refusalOf(other.openStream(ana))).toBeUndefined();
});

test("limits: a node that ends, or falls silent for 45 s → its streams no longer count", async () => {
  const redis = await startRedis();
  const settings = { streamsPerPrincipalMax: 1 };
  const ana = callerOf("ana");
  const other = await limiterOf({ settings, redisUrl: redis.url });
  const ended = await limiterOf({ settings, redisUrl: redis.url });
  await ended.openStream(ana);
  expect(await refusalOf(other.openStream(ana))).toBeDefined();
  await ended.close();
  (await other.openStream(ana)).release();

  const silent = await limiterOf({ settings, redisUrl: redis.url });
  await silent.openStream(ana);
  await passInRedis(redis, 40_000);
  expect(await refusalOf(other.openStream(ana))).toBeDefined();
  await passInRedis(redis, 6_000);
  expect(await refusalOf(other.openStream(ana))).toBeUndefined();
});

test("limits: Redis forgets everything, or a live node → the node tells it again with its next beat", async () => {
  const redis = await startRedis();
  const settings = { streamsPerPrincipalMax: 1 };
  const log = keptLog();
  const node = await limiterOf({ settings, redisUrl: redis.url, clock: hasty, logger: log.logger });
  const other = await limiterOf({ settings, redisUrl: redis.url, clock: hasty });
  const ana = callerOf("ana");
  await node.openStream(ana);
  await redis.client.flushall();
  await waitFor(async () => (await redis.client.keys("test:open_streams:*")).length > 0);
  expect(await refusalOf(other.openStream(ana))).toBeDefined();
  expect(log.troubles()).toEqual([]);
});

test("limits: Redis answers, but always too late → told once, and not again with each answer", async () => {
  const redis = await startRedis();
  const slow = await delayingProxy(Number(new URL(redis.url).port), 150);
  const log = keptLog();
  const settings = { limitRequestsPerPrincipal: 1 };
  const node = await limiterOf({ settings, redisUrl: slow.url, logger: log.logger });
  // Each means that a connection was made, given time and given up again.
  await waitFor(() => slow.connections > 2);
  expect(log.troubles()).toEqual([AWAY]);
  expect(await enter(node, "ana")).toBeUndefined();
  expect((await enter(node, "ana"))?.reason).toBe("RATE_LIMITED");
});

test("limits: a node is closed while Redis is frozen → it doesn't wait", async () => {
  const redis = await startRedis();
  const node = await limiterOf({ settings: { limitRequestsPerPrincipal: 1 }, redisUrl: redis.url });
  redis.freeze();
  const { ms } = await timed(node.close());
  expect(ms).toBeLessThan(WAIT_MS_MAX);
  expect(await enter(node, "ana")).toBeUndefined();
});

/** Carries connections to a port of this machine, and answers that much later. */
async function delayingProxy(port: number, ms: number): Promise<{ url: string; connections: number }> {
  const proxy = createServer((client) => {
    told.connections++;
    const server = connect(port, "127.0.0.1");
    client.pipe(server);
    server.on("data", (chunk) => void delay(ms).then(() => client.write(chunk)));
    client.on("error", () => {}).on("close", () => server.destroy());
    server.on("error", () => {}).on("close", () => client.destroy());
    onTestFinished(() => void client.destroy());
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  onTestFinished(() => void proxy.close());
  const address = proxy.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const told = { url: `redis://127.0.0.1:${address.port}`, connections: 0 };
  return told;
}

/** As if no node had been heard of for that long. */
async function passInRedis({ client }: TestRedis, ms: number): Promise<void> {
  for (const node of await client.zrange("test:nodes", "0", "-1")) {
    await client.zincrby("test:nodes", -ms, String(node));
  }
}
