// Settings: each is read and bounded, all faults come together, and no secret is ever printed.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  ConfigError,
  describeConfig,
  type Environment,
  packageVersion,
  readConfig,
  settingsTable,
} from "../src/config.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const production: Environment = {
  TIDEMARK_TOKEN_SECRET: SECRET,
  MONGODB_URI: "mongodb://user:hunter2@db.example/?replicaSet=rs",
  MONGODB_DB: "shop",
};

function faultsOf(env: Environment): readonly string[] {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

test("config: dev mode alone → an embedded demo, reachable from this machine only", () => {
  const config = readConfig({ TIDEMARK_DEV: "1" });
  expect(config).toMatchObject({
    port: 8080,
    host: "127.0.0.1",
    devMode: true,
    tokenSecret: undefined,
    mongodbUri: undefined,
    mongodbDb: "demo",
    tidemarkDb: "tidemark",
    dataFolder: ".tidemark",
    receiptDays: 90,
    tombstoneDays: 30,
    mutationBytesMax: 1_048_576,
    corsOrigins: ["*"],
    logLevel: "info",
  });
  expect(existsSync(join(config.schema, "v1/todo.proto"))).toBe(true);
});

test("config: production → all addresses, no CORS", () => {
  expect(readConfig(production)).toMatchObject({ host: "0.0.0.0", devMode: false, corsOrigins: [] });
});

test("config: all faults there are → told together, in the order of the table", () => {
  const faults = faultsOf({
    PORT: "80x",
    TIDEMARK_TOKEN_SECRET: "short",
    MONGODB_URI: "postgres://user:hunter2@db",
    RECEIPT_DAYS: "0",
    TOMBSTONE_DAYS: "4000",
    TIDEMARK_DEV: "yes",
    CORS_ORIGINS: "https://a.example, b.example",
    LOG_LEVEL: "loud",
  });
  expect(faults.map((fault) => fault.slice(0, fault.indexOf(":")))).toEqual([
    "PORT",
    "TIDEMARK_DEV",
    "TIDEMARK_TOKEN_SECRET",
    "MONGODB_URI",
    "MONGODB_DB",
    "RECEIPT_DAYS",
    "TOMBSTONE_DAYS",
    "CORS_ORIGINS",
    "LOG_LEVEL",
  ]);
  expect(faults.join()).not.toMatch(/hunter2|short/);
});

test.each<[string, Environment, string]>([
  ["no token key outside dev", { TIDEMARK_TOKEN_SECRET: "" }, "TIDEMARK_TOKEN_SECRET"],
  ["a token key of 31 bytes", { TIDEMARK_TOKEN_SECRET: SECRET.slice(1) }, "TIDEMARK_TOKEN_SECRET"],
  ["a database of one's own without its name", { MONGODB_DB: "" }, "MONGODB_DB"],
  ["the log's database = the source", { TIDEMARK_DB: "shop" }, "TIDEMARK_DB"],
  ["a database name MongoDB refuses", { MONGODB_DB: "a.b" }, "MONGODB_DB"],
  ["dev mode in production", { TIDEMARK_DEV: "1", NODE_ENV: "production" }, "TIDEMARK_DEV"],
  ["a port too high", { PORT: "65536" }, "PORT"],
  ["a negative port", { PORT: "-1" }, "PORT"],
  ["a Redis without a scheme", { REDIS_URL: "redis.example:6379" }, "REDIS_URL"],
  ["a Redis without a host", { REDIS_URL: "redis://" }, "REDIS_URL"],
  ["a Redis at no port", { REDIS_URL: "redis://redis.example:66666" }, "REDIS_URL"],
  ["a Redis database that is no number", { REDIS_URL: "redis://redis.example/limits" }, "REDIS_URL"],
  ["a Redis password that can't be decoded", { REDIS_URL: "redis://:%zz@redis.example" }, "REDIS_URL"],
  ["another kind of address for Redis", { REDIS_URL: "https://redis.example" }, "REDIS_URL"],
  ["a limit below none", { LIMIT_REQUESTS_PER_DEVICE: "-1" }, "LIMIT_REQUESTS_PER_DEVICE"],
  ["a limit of a fraction", { LIMIT_MEGABYTES_PER_ADDRESS: "0.5" }, "LIMIT_MEGABYTES_PER_ADDRESS"],
  ["a window of no time", { LIMIT_WINDOW_SECONDS: "0" }, "LIMIT_WINDOW_SECONDS"],
  ["an origin with a path", { CORS_ORIGINS: "https://a.example/x" }, "CORS_ORIGINS"],
])("config: %s → refused", (_, env, setting) => {
  const faults = faultsOf({ ...production, ...env });
  expect(faults).toHaveLength(1);
  expect(faults[0]).toContain(`${setting}: `);
});

test.each([
  "redis://redis.example",
  "rediss://user:p%40ss@redis.example:6380/3",
  "redis://[::1]:6379/0?family=6",
])("config: REDIS_URL=%s → taken, and a secret", (url) => {
  const config = readConfig({ ...production, REDIS_URL: url });
  expect(config.redisUrl).toBe(url);
  expect(describeConfig(config)).toMatchObject({ REDIS_URL: "(set)" });
  expect(faultsOf({ ...production, REDIS_URL: "redis://:hunter2@" }).join()).not.toContain("hunter2");
});

test("config: limits → on in production, off in dev mode unless set", () => {
  expect(readConfig(production)).toMatchObject({
    limitRequestsPerPrincipal: 3_000,
    streamsPerAddressMax: 5_000,
  });
  const dev = readConfig({ TIDEMARK_DEV: "1", LIMIT_MUTATIONS_PER_DEVICE: "7" });
  const limits = Object.entries(dev).filter(([name]) => /^limit.*Per|^streamsPer/.test(name));
  expect(limits).toHaveLength(15);
  for (const [name, value] of limits) {
    expect([name, value]).toEqual([
      name,
      name === "limitMutationsPerDevice" ? 7 : name === "streamsPerNodeMax" ? 20_000 : 0,
    ]);
  }
});

test("config: dev mode with a token key, and origins → as set", () => {
  const env = {
    ...production,
    TIDEMARK_DEV: "1",
    NODE_ENV: "test",
    CORS_ORIGINS: "https://a.example,http://b:3000",
  };
  expect(readConfig(env)).toMatchObject({
    devMode: true,
    tokenSecret: SECRET,
    corsOrigins: ["https://a.example", "http://b:3000"],
  });
});

test("config: printed → secrets only as set", () => {
  const text = JSON.stringify(describeConfig(readConfig(production)));
  expect(text).not.toMatch(/hunter2|0123456789/);
  expect(JSON.parse(text)).toMatchObject({
    TIDEMARK_TOKEN_SECRET: "(set)",
    MONGODB_URI: "(set)",
    PORT: 8080,
  });
  expect(describeConfig(readConfig({ TIDEMARK_DEV: "1" }))).toMatchObject({ MONGODB_URI: undefined });
});

test("config: the table → a row per setting, with default and meaning", () => {
  const rows = settingsTable().trimEnd().split("\n").slice(2);
  const settings = Object.keys(describeConfig(readConfig(production)));
  expect(rows.map((row) => row.split("`")[1])).toEqual(settings);
  for (const row of rows) expect(row).toMatch(/^(\| \S.*? ){4}\|$/);
});

test("config: the package's version → the manifest's", () => {
  expect(packageVersion()).toMatch(/^\d+\.\d+\.\d+/);
});
