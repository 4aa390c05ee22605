// The settings: one table (name, type, default, bounds, one sentence), read once from the environment, all faults
// reported together. Nothing else reads the environment. Secrets are never printed, in a fault or anywhere.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { invariant } from "./model/invariant.ts";
import { MUTATION_BYTES_MAX } from "./model/mutation.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

const DATABASE_NAME = {
  pattern: /^[^/\\. "$*<>:|?]{1,38}$/,
  says: "a database name of at most 38 characters",
};
const MONGODB_URI = { pattern: /^mongodb(\+srv)?:\/\/\S+$/, says: "mongodb://… or mongodb+srv://…" };
const SECRET = { pattern: /^.{32,4096}$/s, says: "at least 32 bytes" };
const REDIS_URL = { pattern: { test: isRedisUrl }, says: "redis://… or rediss://…" };
const ORIGIN = { pattern: /^(\*|https?:\/\/[^/?#\s]+)$/, says: "origins like https://app.example, or *" };

const settings = {
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
  devMode: flag("TIDEMARK_DEV", {
    meaning: "Accept `authorization: Bearer dev-<principal>`; refused with `NODE_ENV=production`.",
  }),
  tokenSecret: text("TIDEMARK_TOKEN_SECRET", {
    meaning: "The key of access tokens (HS256), at least 32 bytes.",
    ...SECRET,
    fallback: ({ devMode }) => (devMode ? undefined : fail("set it, or try things with TIDEMARK_DEV=1")),
    told: "required outside dev mode",
    isSecret: true,
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
  logLevel: oneOf("LOG_LEVEL", {
    meaning: "The lowest level of log lines written.",
    choices: ["debug", "info", "warn", "error", "silent"],
    fallback: "info",
  }),
};

type Settings = typeof settings;

/** The settings in force. */
export type Config = { readonly [Name in keyof Settings]: ReturnType<Settings[Name]["read"]> };

/** Settings are wrong: one line per fault, none with the value of a secret. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join("\n"));
    this.faults = faults;
  }
}

/** The process's environment: what the CLI hands to its commands. */
export function processEnvironment(): Environment {
  return process.env;
}

/** @throws ConfigError with every fault there is. */
export function readConfig(env: Environment): Config {
  const faults: string[] = [];
  const deployment = { devMode: isOn(env["TIDEMARK_DEV"]), embedded: !env["MONGODB_URI"] };
  const read = Object.entries<Setting<unknown>>(settings).map(([name, setting]) => {
    try {
      return [name, setting.read(env[setting.env] || undefined, deployment)];
    } catch (error) {
      faults.push(`${setting.env}: ${error instanceof Error ? error.message : String(error)}`);
      return [name, undefined];
    }
  });
  const config: Config = Object.fromEntries(read);
  if (config.devMode && env["NODE_ENV"] === "production") {
    faults.push("TIDEMARK_DEV: dev mode lets anyone be anyone; not with NODE_ENV=production");
  }
  if (config.tidemarkDb !== undefined && config.tidemarkDb === config.mongodbDb) {
    faults.push("TIDEMARK_DB: not the database of MONGODB_DB, or the log would log itself");
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return config;
}

/** The settings by their names in the environment, for a log line: of secrets only whether they are set. */
export function describeConfig(config: Config): Record<string, unknown> {
  const shown = Object.entries<Setting<unknown>>(settings).map(([name, { env, isSecret }]) => {
    const value = config[name as keyof Config];
    return [env, isSecret && value !== undefined ? "(set)" : value];
  });
  return Object.fromEntries(shown);
}

/** The table of settings in Markdown, as the README has it. */
export function settingsTable(): string {
  const rows = Object.values<Setting<unknown>>(settings).map(
    ({ env, type, told, meaning }) => `| \`${env}\` | ${type} | ${told} | ${meaning} |`,
  );
  return ["| setting | value | default | meaning |", "|---|---|---|---|", ...rows, ""].join("\n");
}

/** The version the package's manifest gives. */
export function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(packageFolder(), "package.json"), "utf8"));
  invariant(typeof manifest === "object" && manifest !== null && "version" in manifest, "a version is given");
  return String(manifest.version);
}

/** Source and compiled code lie at different depths below the manifest. */
function packageFolder(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, "package.json"))) {
    invariant(dirname(folder) !== folder, "the code lies below the package's manifest");
    folder = dirname(folder);
  }
  return folder;
}

/** What some defaults depend on. */
interface Deployment {
  readonly devMode: boolean;
  readonly embedded: boolean;
}

interface Setting<T> {
  readonly env: string;
  /** What values are, bounds included. */
  readonly type: string;
  /** The default, in words. */
  readonly told: string;
  readonly meaning: string;
  readonly isSecret: boolean;
  /** Throws the fault; an empty variable counts as absent. */
  read(value: string | undefined, deployment: Deployment): T;
}

interface TextSpec<T> {
  readonly meaning: string;
  readonly fallback: (deployment: Deployment) => T;
  readonly told: string;
  readonly pattern?: Pick<RegExp, "test">;
  /** What the pattern asks, in words. */
  readonly says?: string;
  readonly isSecret?: boolean;
}

function text<T extends string | undefined>(env: string, spec: TextSpec<T>): Setting<string | T> {
  const { meaning, fallback, told, pattern = /^.{1,4096}$/s, says = "text", isSecret = false } = spec;
  const read = (value: string | undefined, deployment: Deployment) => {
    if (value === undefined) return fallback(deployment);
    return pattern.test(value) ? value : fail(isSecret ? `takes ${says}` : `takes ${says}, not "${value}"`);
  };
  return { env, type: says, told, meaning, isSecret, read };
}

function list(env: string, spec: TextSpec<readonly string[]>): Setting<readonly string[]> {
  const { meaning, fallback, told, says } = spec;
  const one = text(env, { ...spec, fallback: () => undefined });
  const read = (value: string | undefined, deployment: Deployment) => {
    if (value === undefined) return fallback(deployment);
    return value.split(",").map((part) => one.read(part.trim(), deployment) ?? "");
  };
  return { env, type: says ?? "a list", told, meaning, isSecret: false, read };
}

function integer(
  env: string,
  { meaning, fallback, min, max }: { meaning: string; fallback: number; min: number; max: number },
): Setting<number> {
  const type = `${min} … ${max.toLocaleString("en")}`;
  const read = (value: string | undefined) => {
    if (value === undefined) return fallback;
    const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
    return number >= min && number <= max ? number : fail(`takes a whole number ${type}, not "${value}"`);
  };
  return { env, type, told: String(fallback), meaning, isSecret: false, read };
}

/** 0: no limit. In dev mode none holds: there anyone may be anyone, and all call from one address. */
function limit(env: string, what: string, fallback: number): Setting<number> {
  const spec = { meaning: `${what}; 0: no limit.`, fallback, min: 0, max: 999_999_999 };
  const { read, told, ...setting } = integer(env, spec);
  return {
    ...setting,
    told: `${told}; 0 in dev mode`,
    read: (value, deployment) => read(value ?? (deployment.devMode ? "0" : undefined), deployment),
  };
}

function flag(env: string, { meaning }: { meaning: string }): Setting<boolean> {
  const read = (value: string | undefined) => {
    if (value !== undefined && !/^[01]$/.test(value)) fail(`takes 1 or 0, not "${value}"`);
    return isOn(value);
  };
  return { env, type: "1 or 0", told: "0", meaning, isSecret: false, read };
}

function oneOf<const T extends string>(
  env: string,
  { meaning, choices, fallback }: { meaning: string; choices: readonly T[]; fallback: NoInfer<T> },
): Setting<T> {
  const type = choices.join(", ");
  const read = (value: string | undefined) => {
    if (value === undefined) return fallback;
    return choices.find((choice) => choice === value) ?? fail(`takes one of ${type}, not "${value}"`);
  };
  return { env, type, told: `\`${fallback}\``, meaning, isSecret: false, read };
}

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

function isOn(value: string | undefined): boolean {
  return value === "1";
}

function fail(fault: string): never {
  throw new Error(fault);
}
