// The table of settings: name, kind, default, bounds, one sentence each.
import { join } from "node:path";
import { readTrustedProxies } from "../access/address.ts";
import { TOKEN_ALGORITHMS } from "../access/algorithms.ts";
import { readVersion } from "../access/client-versions.ts";
import { MUTATION_BYTES_MAX } from "../model/mutation.ts";
import { fail, flag, integer, limit, list, oneOf, pairs, text } from "./kinds.ts";
import { packageFolder } from "./package.ts";

const DATABASE_NAME = {
  pattern: /^[^/\\. "$*<>:|?]{1,38}$/,
  says: "a database name of at most 38 characters",
};
const MONGODB_URI = { pattern: /^mongodb(\+srv)?:\/\/\S+$/, says: "mongodb://… or mongodb+srv://…" };
const SECRET = { pattern: /^.{32,4096}$/s, says: "at least 32 bytes" };
const JWKS_URL = {
  pattern:
    /^(https:\/\/([\w.-]+|\[[\da-f:]+\])|http:\/\/(localhost|127(\.\d{1,3}){3}|\[::1\]))(:\d{1,5})?([/?][^\s#]*)?$/i,
  says: "https://…, or http://… on this machine; no password in it",
};
const AUDIENCE = { pattern: /^[^\p{Cc}]{1,1024}$/u, says: "names, separated by commas" };
const ALGORITHM = {
  pattern: new RegExp(`^(${TOKEN_ALGORITHMS.join("|")})$`),
  says: `some of ${TOKEN_ALGORITHMS.join(", ")}`,
};
const CLAIM = { pattern: /^[^\s\p{Cc}]{1,256}$/u, says: "a claim's name" };
const REDIS_URL = { pattern: { test: isRedisUrl }, says: "redis://… or rediss://…" };
const ORIGIN = { pattern: /^(\*|https?:\/\/[^/?#\s]+)$/, says: "origins like https://app.example, or *" };

const PLATFORM = /^[a-z0-9._-]{1,32}$/;
const VERSION = {
  key: PLATFORM,
  value: (text: string) => (text.length <= 64 && readVersion(text) ? text : undefined),
  says: "platforms with versions, like ios=2.4.0,web=1.0",
};
const URL_TEXT = /^https?:\/\/[!-~]{1,512}$/;

export const settings = {
  port: integer("PORT", {
    meaning: "The one port for every protocol; 0: any that is free.",
    fallback: 8080,
    min: 0,
    max: 65_535,
  }),
  host: text("HOST", {
    meaning: "The address to listen on.",
    fallback: ({ devMode }) => (devMode ? "127.0.0.1" : "0.0.0.0"),
    told: "`127.0.0.1` in dev mode, else `0.0.0.0`",
  }),
  tlsCertFile: text("TLS_CERT_FILE", {
    meaning: "The server's certificate and those between it and a root, in PEM; read again when it changes.",
    says: "a file's path",
    fallback: () => undefined,
    told: "none: cleartext",
  }),
  tlsKeyFile: text("TLS_KEY_FILE", {
    meaning: "The certificate's key, in PEM, without a passphrase.",
    says: "a file's path",
    fallback: () => undefined,
    told: "none: cleartext",
  }),
  tlsClientCaFile: text("TLS_CLIENT_CA_FILE", {
    meaning: "Who signs the certificates that clients must then present (mTLS), in PEM; tokens stay needed.",
    says: "a file's path",
    fallback: () => undefined,
    told: "none: clients need no certificate",
  }),
  tlsMinVersion: oneOf("TLS_MIN_VERSION", {
    meaning: "The oldest version of TLS spoken.",
    choices: ["1.2", "1.3"],
    fallback: "1.2",
  }),
  trustedProxies: list("TRUSTED_PROXIES", {
    meaning: "Proxies whose `x-forwarded-for` is believed, separated by commas.",
    check: (range) => readTrustedProxies([range]),
    says: "addresses or ranges like 10.0.0.0/8",
    fallback: () => [],
    told: "none",
  }),
  devMode: flag("TIDEMARK_DEV", {
    meaning: "Accept `authorization: Bearer dev-<principal>`; refused with `NODE_ENV=production`.",
  }),
  tokenSecret: text("TIDEMARK_TOKEN_SECRET", {
    meaning: "The key of access tokens (HS256), at least 32 bytes.",
    ...SECRET,
    fallback: ({ devMode, hasIssuer }) =>
      devMode || hasIssuer
        ? undefined
        : fail("set it, TIDEMARK_JWKS_URL or TIDEMARK_JWKS_FILE; or try things with TIDEMARK_DEV=1"),
    told: "required outside dev mode, unless there is a JWKS",
    isSecret: true,
  }),
  jwksUrl: text("TIDEMARK_JWKS_URL", {
    meaning: "Where the issuer of access tokens publishes its public keys.",
    ...JWKS_URL,
    fallback: () => undefined,
    told: "none",
  }),
  jwksFile: text("TIDEMARK_JWKS_FILE", {
    meaning: "A file with public keys of access tokens; read again when it changes.",
    fallback: () => undefined,
    told: "none",
  }),
  jwksStaleSeconds: integer("TIDEMARK_JWKS_STALE_SECONDS", {
    meaning:
      "How long keys of `TIDEMARK_JWKS_URL` stay good beyond their 10 minutes while it doesn't answer.",
    fallback: 86_400,
    min: 0,
    max: 2_592_000,
  }),
  tokenIssuer: text("TIDEMARK_TOKEN_ISSUER", {
    meaning: "The `iss` every token must have.",
    fallback: () => undefined,
    told: "any",
  }),
  tokenAudience: list("TIDEMARK_TOKEN_AUDIENCE", {
    meaning: "Every token's `aud` must name one of these.",
    ...AUDIENCE,
    fallback: () => [],
    told: "any",
  }),
  tokenAlgorithms: list("TIDEMARK_TOKEN_ALGORITHMS", {
    meaning: "What tokens may be signed by: HS256 is the secret's alone, the others are those of a JWKS.",
    ...ALGORITHM,
    fallback: () => TOKEN_ALGORITHMS,
    told: "all of them",
  }),
  tokenToleranceSeconds: integer("TIDEMARK_TOKEN_TOLERANCE_SECONDS", {
    meaning: "How far the clocks of issuer and server may differ.",
    fallback: 30,
    min: 0,
    max: 300,
  }),
  tokenAgeSecondsMax: integer("TIDEMARK_TOKEN_AGE_SECONDS_MAX", {
    meaning: "How old a token may get, by its `iat`, whatever its `exp`; 0: as old as that allows.",
    fallback: 0,
    min: 0,
    max: 31_536_000,
  }),
  deviceClaim: text("TIDEMARK_DEVICE_CLAIM", {
    meaning: "The claim that names the device; where a token has it, the client's own word doesn't count.",
    ...CLAIM,
    fallback: () => undefined,
    told: "none",
  }),
  mongodbUri: text("MONGODB_URI", {
    meaning: "The replica set to keep clients in step with.",
    ...MONGODB_URI,
    fallback: () => undefined,
    told: "an embedded one",
    isSecret: true,
  }),
  mongodbDb: text("MONGODB_DB", {
    meaning: "The database whose collections clients keep in step with.",
    ...DATABASE_NAME,
    fallback: ({ embedded }) => (embedded ? "demo" : fail("name the database to keep clients in step with")),
    told: "`demo` if embedded, else required",
  }),
  schema: text("TIDEMARK_SCHEMA", {
    meaning: "A folder of .proto files, or a file holding a FileDescriptorSet.",
    fallback: () => join(packageFolder(), "proto/demo"),
    told: "the demo's",
  }),
  tidemarkDb: text("TIDEMARK_DB", {
    meaning: "Tidemark's own database, on the same deployment; never that of `MONGODB_DB`.",
    ...DATABASE_NAME,
    fallback: () => "tidemark",
    told: "`tidemark`",
  }),
  dataFolder: text("TIDEMARK_DATA", {
    meaning: "Where the embedded database lives.",
    fallback: () => ".tidemark",
    told: "`.tidemark`",
  }),
  mongodBinary: text("TIDEMARK_MONGOD", {
    meaning: "The mongod to embed.",
    fallback: () => undefined,
    told: "found, else downloaded",
  }),
  receiptDays: integer("RECEIPT_DAYS", {
    meaning: "How long receipts are kept, and with them exactly-once for mutations without `made_after`.",
    fallback: 90,
    min: 1,
    max: 3_650,
  }),
  mutationBytesMax: integer("MUTATION_BYTES_MAX", {
    meaning: "Bytes the records of one mutation may have; a larger one is REJECTED.",
    fallback: MUTATION_BYTES_MAX,
    min: 1_024,
    max: 4 * 2 ** 20,
  }),
  tombstoneDays: integer("TOMBSTONE_DAYS", {
    meaning: "How long removes are kept: a client away for longer starts over.",
    fallback: 30,
    min: 1,
    max: 3_650,
  }),
  packRecordsMin: integer("PACK_RECORDS_MIN", {
    meaning:
      "A scope's records of one collection, if there are as many, are kept once more in a packed form, for quick first syncs; 0: never.",
    fallback: 10_000,
    min: 0,
    max: 1_000_000_000,
  }),
  streamMinutesMax: integer("STREAM_MINUTES_MAX", {
    meaning:
      "About how old a stream gets before it is asked to reconnect, so that new nodes get their share.",
    fallback: 60,
    min: 1,
    max: 10_080,
  }),
  leaseSeconds: integer("LEASE_SECONDS", {
    meaning: "How long the node that ingests must be silent before another takes over.",
    fallback: 5,
    min: 1,
    max: 60,
  }),
  connectionsMax: integer("CONNECTIONS_MAX", {
    meaning: "Connections open at once; further ones are dropped.",
    fallback: 20_000,
    min: 1,
    max: 1_000_000,
  }),
  drainSeconds: integer("DRAIN_SECONDS", {
    meaning: "How long calls in progress may take to end when the server stops.",
    fallback: 10,
    min: 1,
    max: 600,
  }),
  redisUrl: text("REDIS_URL", {
    meaning: "The Redis that makes limits hold across all nodes; without it each node has its own.",
    ...REDIS_URL,
    fallback: () => undefined,
    told: "none",
    isSecret: true,
  }),
  limitWindowSeconds: integer("LIMIT_WINDOW_SECONDS", {
    meaning: "The time over which the limits below count; it begins with a caller's first call.",
    fallback: 60,
    min: 1,
    max: 3_600,
  }),
  limitRequestsPerPrincipal: limit("LIMIT_REQUESTS_PER_PRINCIPAL", "Calls of one principal", 3_000),
  limitRequestsPerDevice: limit("LIMIT_REQUESTS_PER_DEVICE", "Calls of one device of a principal", 1_200),
  limitRequestsPerAddress: limit(
    "LIMIT_REQUESTS_PER_ADDRESS",
    "Calls from one address, with any token or none",
    60_000,
  ),
  limitMutationsPerPrincipal: limit("LIMIT_MUTATIONS_PER_PRINCIPAL", "Mutations of one principal", 30_000),
  limitMutationsPerDevice: limit("LIMIT_MUTATIONS_PER_DEVICE", "Mutations of one device", 20_000),
  limitMutationsPerAddress: limit("LIMIT_MUTATIONS_PER_ADDRESS", "Mutations from one address", 300_000),
  limitOpenedStreamsPerPrincipal: limit(
    "LIMIT_OPENED_STREAMS_PER_PRINCIPAL",
    "Streams one principal opens",
    300,
  ),
  limitOpenedStreamsPerDevice: limit("LIMIT_OPENED_STREAMS_PER_DEVICE", "Streams one device opens", 60),
  limitOpenedStreamsPerAddress: limit(
    "LIMIT_OPENED_STREAMS_PER_ADDRESS",
    "Streams opened from one address",
    6_000,
  ),
  limitMegabytesPerPrincipal: limit(
    "LIMIT_MEGABYTES_PER_PRINCIPAL",
    "Megabytes to and from one principal",
    600,
  ),
  limitMegabytesPerDevice: limit("LIMIT_MEGABYTES_PER_DEVICE", "Megabytes to and from one device", 300),
  limitMegabytesPerAddress: limit("LIMIT_MEGABYTES_PER_ADDRESS", "Megabytes to and from one address", 12_000),
  streamsPerPrincipalMax: limit("STREAMS_PER_PRINCIPAL_MAX", "Streams of one principal open at once", 100),
  streamsPerAddressMax: limit("STREAMS_PER_ADDRESS_MAX", "Streams from one address open at once", 5_000),
  streamsPerNodeMax: integer("STREAMS_PER_NODE_MAX", {
    meaning: "Streams open at once on this node; 0: no limit.",
    fallback: 20_000,
    min: 0,
    max: 1_000_000,
  }),
  workers: integer("WORKERS", {
    meaning:
      "Processes that serve on the one port, each a node of its own: as many as there are cores for them. Limits hold for each of them unless `REDIS_URL` is set.",
    fallback: 1,
    min: 1,
    max: 256,
  }),
  metricsPort: integer("METRICS_PORT", {
    meaning: "The port of `/metrics`, for Prometheus; 0: none.",
    fallback: 0,
    min: 0,
    max: 65_535,
  }),
  metricsHost: text("METRICS_HOST", {
    meaning: "The address `/metrics` listens on; its page names no principal, but it is not for everybody.",
    fallback: () => "127.0.0.1",
    told: "`127.0.0.1`",
  }),
  corsOrigins: list("CORS_ORIGINS", {
    meaning: "Origins whose pages may call, separated by commas; `*`: all.",
    ...ORIGIN,
    fallback: ({ devMode }) => (devMode ? ["*"] : []),
    told: "`*` in dev mode, else none",
  }),
  oldestClients: pairs("OLDEST_CLIENTS", {
    meaning: "The oldest version served of each platform; older ones are refused with CLIENT_TOO_OLD.",
    ...VERSION,
  }),
  upgradeUrls: pairs("UPGRADE_URLS", {
    meaning: "Where the users of a platform find newer versions.",
    key: PLATFORM,
    value: (url) => (URL_TEXT.test(url) && URL.canParse(url) ? url : undefined),
    says: "platforms with addresses, like ios=https://apps.example",
  }),
  deprecatedClients: pairs("DEPRECATED_CLIENTS", {
    meaning: "Older versions than these get the header `tidemark-deprecation` with every answer.",
    ...VERSION,
  }),
  featureFlags: pairs("FEATURE_FLAGS", {
    meaning: "Flags for clients, told by GetServerInfo.",
    key: /^\w[\w.-]{0,63}$/,
    value: (state) => (state === "on" ? true : state === "off" ? false : undefined),
    says: "names with on or off, like new-editor=on,beta=off",
  }),
  logLevel: oneOf("LOG_LEVEL", {
    meaning: "The lowest level of log lines written.",
    choices: ["debug", "info", "warn", "error", "silent"],
    fallback: "info",
  }),
};

/** What the client of Redis can take apart. */
function isRedisUrl(value: string): boolean {
  if (!/^rediss?:\/\/[^\s/]+(\/\d{0,4})?(\?\S*)?$/.test(value) || !URL.canParse(value)) return false;
  const { hostname, username, password } = new URL(value);
  try {
    return hostname !== "" && decodeURIComponent(username + password) !== undefined;
  } catch {
    return false;
  }
}
