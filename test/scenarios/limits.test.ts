// Limits on the whole server: two nodes on one deployment and one Redis have one budget, Redis may die under them, a
// killed node's streams stop counting, and operators see it on /metrics.
import { ConnectError } from "@connectrpc/connect";
import { expect, onTestFinished, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { PullMode } from "#gen/tidemark/v1/pull_changes_pb.js";
import type { Tidemark } from "../../src/main.ts";
import { choosePort } from "../../src/mongo/embedded/port.ts";
import { keptLog } from "../support/log-lines.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { asPrincipal, spawnServer, startServer, syncClient } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";

async function database(): Promise<TestDatabase> {
  const made = await testDatabase();
  onTestFinished(() => made.drop());
  return made;
}

async function start(...how: Parameters<typeof startServer>): Promise<Tidemark> {
  const server = await startServer(...how);
  onTestFinished(() => server.close());
  return server;
}

async function pullAs(url: string, principal: string): Promise<ConnectError | undefined> {
  const stream = syncClient(url).pullChanges(
    { selections: [{ collection: "todos" }], mode: PullMode.CATCH_UP },
    { headers: asPrincipal(principal) },
  );
  try {
    for await (const _ of stream);
    return undefined;
  } catch (error) {
    return ConnectError.from(error);
  }
}

/** A stream that has begun, left open until the test ends or `close` is called. */
async function followAs(url: string, principal: string): Promise<{ close(): void }> {
  const gone = new AbortController();
  onTestFinished(() => gone.abort());
  const options = { headers: asPrincipal(principal), signal: gone.signal };
  const frames = syncClient(url).pullChanges({ selections: [{ collection: "todos" }] }, options);
  await frames[Symbol.asyncIterator]().next();
  return { close: () => gone.abort() };
}

test("limits: two nodes on one Redis → a principal's budget is one, another's is untouched; Redis dies → per node", async () => {
  const on = await database();
  const redis = await startRedis();
  const log = keptLog();
  const env = { REDIS_URL: redis.url, LIMIT_REQUESTS_PER_PRINCIPAL: "6" };
  const [first, second] = [await start(on, env, log.logger), await start(on, env)];
  const urls = [first.url, second.url];
  const pulls = async (principal: string, count: number) => {
    const errors: (ConnectError | undefined)[] = [];
    for (let call = 0; call < count; call++) errors.push(await pullAs(urls[call % 2] ?? "", principal));
    return errors;
  };
  const ana = await pulls("ana", 8);
  expect(ana.slice(0, 6)).toEqual(Array(6).fill(undefined));
  for (const error of ana.slice(6)) {
    const [info] = error?.findDetails(ErrorInfoSchema) ?? [];
    expect(info).toMatchObject({ reason: "RATE_LIMITED", metadata: { limit: "requests", per: "principal" } });
  }
  expect(await pulls("ben", 6)).toEqual(Array(6).fill(undefined));

  await redis.kill();
  const carl = await pulls("carl", 14);
  expect(carl.slice(0, 12)).toEqual(Array(12).fill(undefined));
  expect(carl.slice(12).map((error) => error?.metadata.get("tidemark-reason"))).toEqual([
    "RATE_LIMITED",
    "RATE_LIMITED",
  ]);
  expect(log.troubles()).toEqual(["Redis is away: limits hold per node until it is back"]);
});

test("limits: a node is killed with streams open → they count until it has been silent for 45 s, then no longer", async () => {
  const on = await database();
  const redis = await startRedis();
  const env = { REDIS_URL: redis.url, STREAMS_PER_PRINCIPAL_MAX: "2" };
  const killed = await spawnServer(on, env);
  onTestFinished(() => killed.kill());
  expect(await killed.ready()).toBe(true);
  const survivor = await start(on, env);
  await followAs(killed.url, "ana");
  await followAs(killed.url, "ana");
  await killed.kill();
  expect((await pullAs(survivor.url, "ana"))?.metadata.get("tidemark-reason")).toBe("RATE_LIMITED");
  // What would have passed: the survivor keeps beating, the killed node doesn't.
  const nodes = `tidemark:${on.tidemarkDb}:nodes`;
  for (const node of await redis.client.zrange(nodes, "0", "-1")) {
    await redis.client.zincrby(nodes, -46_000, String(node));
  }
  expect(await pullAs(survivor.url, "ana")).toBeUndefined();
});

test.each([
  ["there", async () => {}],
  ["frozen", async (redis: TestRedis) => redis.freeze()],
])("limits: a server whose Redis is %s is told to stop → it exits with 0", async (_, disturb) => {
  const on = await database();
  const redis = await startRedis();
  const port = await choosePort(undefined);
  const server = await spawnServer(on, {
    REDIS_URL: redis.url,
    METRICS_PORT: String(port),
    DRAIN_SECONDS: "1",
    LOG_LEVEL: "silent",
  });
  onTestFinished(() => server.kill());
  expect(await server.ready()).toBe(true);
  await followAs(server.url, "ana");
  const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(page).toMatch(/^tidemark_limits_shared 1$/m);
  await disturb(redis);
  expect(await server.stop()).toBe(0);
});

test("limits: nothing at REDIS_URL → the server starts, with a warning", async () => {
  const on = await database();
  const log = keptLog();
  const env = {
    REDIS_URL: `redis://127.0.0.1:${await choosePort(undefined)}`,
    LIMIT_REQUESTS_PER_PRINCIPAL: "1",
  };
  const { url } = await start(on, env, log.logger);
  expect(log.troubles()).toEqual(["Redis is away: limits hold per node until it is back"]);
  expect(await pullAs(url, "ana")).toBeUndefined();
  expect((await pullAs(url, "ana"))?.metadata.get("tidemark-reason")).toBe("RATE_LIMITED");
});

test("metrics: /metrics on its own port → streams, the log's state and refusals; not where clients call", async () => {
  const on = await database();
  const port = await choosePort(undefined);
  const { url } = await start(on, { METRICS_PORT: String(port), LIMIT_REQUESTS_PER_PRINCIPAL: "2" });
  const metrics = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const stream = await followAs(url, "ana");
  await pullAs(url, "ana");
  await pullAs(url, "ana");
  await waitFor(async () => /^tidemark_log_settled 1$/m.test(await metrics()));
  const page = await metrics();
  expect(page).toMatch(/^tidemark_open_streams 1$/m);
  expect(page).toMatch(/^tidemark_http2_sessions [1-9]/m);
  expect(page).toMatch(/^tidemark_limited_total\{limit="requests_per_principal"\} 1$/m);
  expect(page).toMatch(/^tidemark_limits_shared 0$/m);
  expect(page).toMatch(/^tidemark_ingest_leading 1$/m);
  expect(page).toMatch(/^process_cpu_seconds_total /m);
  const [, clockSeconds] = /^tidemark_log_clock_seconds (\d+)$/m.exec(page) ?? [];
  expect(Math.abs(Number(clockSeconds) - Date.now() / 1000)).toBeLessThan(60);
  expect(page).not.toContain("ana");
  stream.close();
  await waitFor(async () => /^tidemark_open_streams 0$/m.test(await metrics()));
  expect((await fetch(`${url}/metrics`)).status).toBe(404);
});

test("metrics: a port that is taken → the start fails with EADDRINUSE and leaves nothing behind", async () => {
  const on = await database();
  const port = await choosePort(undefined);
  await start(on, { METRICS_PORT: String(port) });
  await expect(start(on, { METRICS_PORT: String(port) })).rejects.toMatchObject({ code: "EADDRINUSE" });
});
