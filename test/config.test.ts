// Settings: each is read and bounded, all faults come together, and no secret is ever printed.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ConfigError, describeConfig, type Environment, readConfig, settingsTable } from "../src/config.ts";
import { packageVersion } from "../src/settings/package.ts";

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
    TLS_CERT_FILE: "cert.pem",
    TLS_MIN_VERSION: "1.1",
    TRUSTED_PROXIES: "10.0.0.0/8, proxy",
    OLDEST_CLIENTS: "ios",
    FEATURE_FLAGS: "beta=maybe",
  });
  expect(faults.map((fault) => fault.slice(0, fault.indexOf(":")))).toEqual([
    "PORT",
    "TLS_MIN_VERSION",
    "TRUSTED_PROXIES",
    "TIDEMARK_DEV",
    "TIDEMARK_TOKEN_SECRET",
    "MONGODB_URI",
    "MONGODB_DB",
    "RECEIPT_DAYS",
    "TOMBSTONE_DAYS",
    "CORS_ORIGINS",
    "OLDEST_CLIENTS",
    "FEATURE_FLAGS",
    "LOG_LEVEL",
    "TLS_KEY_FILE",
  ]);
  expect(faults.join()).not.toMatch(/hunter2|short/);
});

test.each<[string, Environment, string]>([
  ["no token key outside dev", { TIDEMARK_TOKEN_SECRET: "" }, "TIDEMARK_TOKEN_SECRET"],
  ["plain http to another machine", { TIDEMARK_JWKS_URL: "http://issuer.example/keys" }, "TIDEMARK_JWKS_URL"],
  [
    "http to a name that begins like this machine's",
    { TIDEMARK_JWKS_URL: "http://localhost.evil.example/" },
    "TIDEMARK_JWKS_URL",
  ],
  [
    "http to 127.0.0.1 as a user's name",
    { TIDEMARK_JWKS_URL: "http://127.0.0.1:80@evil.example/" },
    "TIDEMARK_JWKS_URL",
  ],
  [
    "a password in a URL",
    { TIDEMARK_JWKS_URL: "https://me:hunter2@issuer.example/keys" },
    "TIDEMARK_JWKS_URL",
  ],
  ["a file URL", { TIDEMARK_JWKS_URL: "file:///etc/keys.json" }, "TIDEMARK_JWKS_URL"],
  ["a URL that is none", { TIDEMARK_JWKS_URL: "https://[nowhere" }, "TIDEMARK_JWKS_URL"],
  ["an audience without a name", { TIDEMARK_TOKEN_AUDIENCE: "a,,b" }, "TIDEMARK_TOKEN_AUDIENCE"],
  ["alg none", { TIDEMARK_TOKEN_ALGORITHMS: "HS256, none" }, "TIDEMARK_TOKEN_ALGORITHMS"],
  [
    "an algorithm of 512 bits for the secret",
    { TIDEMARK_TOKEN_ALGORITHMS: "HS512" },
    "TIDEMARK_TOKEN_ALGORITHMS",
  ],
  ["a secret without its algorithm", { TIDEMARK_TOKEN_ALGORITHMS: "RS256" }, "TIDEMARK_TOKEN_ALGORITHMS"],
  [
    "a key set with the secret's algorithm alone",
    { TIDEMARK_JWKS_FILE: "keys.json", TIDEMARK_TOKEN_ALGORITHMS: "HS256" },
    "TIDEMARK_TOKEN_ALGORITHMS",
  ],
  [
    "clocks that differ by an hour",
    { TIDEMARK_TOKEN_TOLERANCE_SECONDS: "3600" },
    "TIDEMARK_TOKEN_TOLERANCE_SECONDS",
  ],
  ["a claim's name with a blank", { TIDEMARK_DEVICE_CLAIM: "the device" }, "TIDEMARK_DEVICE_CLAIM"],
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
  ["a certificate without its key", { TLS_CERT_FILE: "cert.pem" }, "TLS_KEY_FILE"],
  ["a key without its certificate", { TLS_KEY_FILE: "key.pem" }, "TLS_CERT_FILE"],
  ["clients' certificates without TLS", { TLS_CLIENT_CA_FILE: "ca.pem" }, "TLS_CLIENT_CA_FILE"],
  ["a TLS version too old", { TLS_MIN_VERSION: "1.1" }, "TLS_MIN_VERSION"],
  ["proxies by number", { TRUSTED_PROXIES: "1" }, "TRUSTED_PROXIES"],
  ["everybody as proxy", { TRUSTED_PROXIES: "10.0.0.0/8,0.0.0.0/0" }, "TRUSTED_PROXIES"],
  ["a range too narrow to be one", { TRUSTED_PROXIES: "10.0.0.0/33" }, "TRUSTED_PROXIES"],
  ["a platform without a version", { OLDEST_CLIENTS: "ios=2.4.0,web" }, "OLDEST_CLIENTS"],
  ["a version that is none", { OLDEST_CLIENTS: "ios=latest" }, "OLDEST_CLIENTS"],
  ["a version of 65 characters", { OLDEST_CLIENTS: `ios=1.${"0".repeat(63)}` }, "OLDEST_CLIENTS"],
  ["a platform in upper case, as no client has it", { OLDEST_CLIENTS: "iOS=2.4.0" }, "OLDEST_CLIENTS"],
  ["a platform twice", { OLDEST_CLIENTS: "ios=2.4.0,ios=2.5.0" }, "OLDEST_CLIENTS"],
  ["a comma too many", { DEPRECATED_CLIENTS: "ios=2.4.0," }, "DEPRECATED_CLIENTS"],
  ["an upgrade address that is none", { UPGRADE_URLS: "ios=apps.example" }, "UPGRADE_URLS"],
  ["an upgrade address with a line break", { UPGRADE_URLS: "ios=https://a.example/\nx: y" }, "UPGRADE_URLS"],
  ["a flag neither on nor off", { FEATURE_FLAGS: "beta=1" }, "FEATURE_FLAGS"],
  ["a flag without a name", { FEATURE_FLAGS: "=on" }, "FEATURE_FLAGS"],
])("config: %s → refused", (_, env, setting) => {
  const faults = faultsOf({ ...production, ...env });
  expect(faults).toHaveLength(1);
  expect(faults[0]).not.toContain("hunter2");
  expect(faults[0]).toContain(`${setting}: `);
});

test.each<Environment>([
  { TIDEMARK_JWKS_URL: "https://issuer.example/keys" },
  { TIDEMARK_JWKS_URL: "http://localhost:8081/keys" },
  { TIDEMARK_JWKS_URL: "http://127.0.0.1/keys" },
  { TIDEMARK_JWKS_URL: "http://[::1]:8081/keys" },
  { TIDEMARK_JWKS_FILE: "keys.json", TIDEMARK_TOKEN_ALGORITHMS: "RS256, ES256" },
])("config: %j in place of a secret → as set; nothing else is asked of tokens", (env) => {
  const config = readConfig({ ...production, TIDEMARK_TOKEN_SECRET: "", ...env });
  expect(config).toMatchObject({
    tokenSecret: undefined,
    jwksUrl: env["TIDEMARK_JWKS_URL"],
    jwksFile: env["TIDEMARK_JWKS_FILE"],
    jwksStaleSeconds: 86_400,
    tokenIssuer: undefined,
    tokenAudience: [],
    tokenToleranceSeconds: 30,
    tokenAgeSecondsMax: 0,
    deviceClaim: undefined,
  });
  expect(config.tokenAlgorithms).not.toContain("none");
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

test("config: TLS, proxies, versions and flags → as set, and printed as set", () => {
  const config = readConfig({
    ...production,
    TLS_CERT_FILE: "/tls/tls.crt",
    TLS_KEY_FILE: "/tls/tls.key",
    TLS_CLIENT_CA_FILE: "/tls/ca.crt",
    TLS_MIN_VERSION: "1.3",
    TRUSTED_PROXIES: "10.0.0.0/8, 2001:db8::1",
    OLDEST_CLIENTS: "ios=2.4.0, android=2.1.0-beta.1,web=1.0",
    UPGRADE_URLS: "ios=https://apps.example/?id=7",
    DEPRECATED_CLIENTS: "ios=2.6",
    FEATURE_FLAGS: "new-editor=on,beta=off",
  });
  expect(config).toMatchObject({
    tlsCertFile: "/tls/tls.crt",
    tlsKeyFile: "/tls/tls.key",
    tlsClientCaFile: "/tls/ca.crt",
    tlsMinVersion: "1.3",
    trustedProxies: ["10.0.0.0/8", "2001:db8::1"],
    oldestClients: new Map([
      ["ios", "2.4.0"],
      ["android", "2.1.0-beta.1"],
      ["web", "1.0"],
    ]),
    upgradeUrls: new Map([["ios", "https://apps.example/?id=7"]]),
    deprecatedClients: new Map([["ios", "2.6"]]),
    featureFlags: new Map([
      ["new-editor", true],
      ["beta", false],
    ]),
  });
  expect(JSON.parse(JSON.stringify(describeConfig(config)))).toMatchObject({
    TRUSTED_PROXIES: ["10.0.0.0/8", "2001:db8::1"],
    OLDEST_CLIENTS: { ios: "2.4.0" },
    FEATURE_FLAGS: { "new-editor": true, beta: false },
  });
});

test("config: nothing of access set → cleartext, no proxy trusted, every client served", () => {
  expect(readConfig(production)).toMatchObject({
    tlsCertFile: undefined,
    tlsMinVersion: "1.2",
    trustedProxies: [],
    oldestClients: new Map(),
    upgradeUrls: new Map(),
    deprecatedClients: new Map(),
    featureFlags: new Map(),
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
