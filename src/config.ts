// The settings: one table (name, type, default, bounds, one sentence), read once from the environment, all faults
// reported together. Nothing else reads the environment. Secrets are never printed, in a fault or anywhere.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { readTrustedProxies } from "./access/address.ts";
import { algorithmsFault, TOKEN_ALGORITHMS } from "./access/algorithms.ts";
import { readVersion } from "./access/client-versions.ts";
import { invariant } from "./model/invariant.ts";
import { MUTATION_BYTES_MAX } from "./model/mutation.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

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
const ORIGIN = { pattern: /^(\*|https?:\/\/[^/?#\s]+)$/, says: "origins like https://app.example, or *" };

const PLATFORM = /^[a-z0-9._-]{1,32}$/;
const VERSION = {
  key: PLATFORM,
  value: (text: string) => (text.length <= 64 && readVersion(text) ? text : undefined),
  says: "platforms with versions, like ios=2.4.0,web=1.0",
};
const URL_TEXT = /^https?:\/\/[!-~]{1,512}$/;

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
  const deployment = {
    devMode: isOn(env["TIDEMARK_DEV"]),
    hasIssuer: Boolean(env["TIDEMARK_JWKS_URL"] || env["TIDEMARK_JWKS_FILE"]),
    embedded: !env["MONGODB_URI"],
  };
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
  if ((config.tlsCertFile === undefined) !== (config.tlsKeyFile === undefined)) {
    faults.push(`${config.tlsCertFile ? "TLS_KEY_FILE" : "TLS_CERT_FILE"}: set both, or none for cleartext`);
  }
  if (config.tlsClientCaFile !== undefined && config.tlsCertFile === undefined) {
    faults.push("TLS_CLIENT_CA_FILE: clients show certificates within TLS only: set TLS_CERT_FILE as well");
  }
  if (config.tidemarkDb !== undefined && config.tidemarkDb === config.mongodbDb) {
    faults.push("TIDEMARK_DB: not the database of MONGODB_DB, or the log would log itself");
  }
  const algorithms = config.tokenAlgorithms && algorithmsFault(config);
  if (algorithms !== undefined) faults.push(`TIDEMARK_TOKEN_ALGORITHMS: ${algorithms}`);
  if (faults.length > 0) throw new ConfigError(faults);
  return config;
}

/** The settings by their names in the environment, for a log line: of secrets only whether they are set. */
export function describeConfig(config: Config): Record<string, unknown> {
  const shown = Object.entries<Setting<unknown>>(settings).map(([name, { env, isSecret }]) => {
    const value = config[name as keyof Config];
    const printable = value instanceof Map ? Object.fromEntries(value) : value;
    return [env, isSecret && value !== undefined ? "(set)" : printable];
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
  /** Keys of tokens come from a JWKS. */
  readonly hasIssuer: boolean;
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
  readonly pattern?: RegExp;
  /** What the pattern asks, in words. */
  readonly says?: string;
  /** Throws what the pattern can't tell. */
  readonly check?: (value: string) => unknown;
  readonly isSecret?: boolean;
}

function text<T extends string | undefined>(env: string, spec: TextSpec<T>): Setting<string | T> {
  const { meaning, fallback, told, pattern = /^.{1,4096}$/s, says = "text", isSecret = false } = spec;
  const read = (value: string | undefined, deployment: Deployment) => {
    if (value === undefined) return fallback(deployment);
    if (!pattern.test(value)) {
      // A password in a URL is no less secret for the URL being wrong.
      const shown = value.replace(/\/\/[^/]*@/, "//…@");
      fail(isSecret ? `takes ${says}` : `takes ${says}, not "${shown}"`);
    }
    spec.check?.(value);
    return value;
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

interface PairsSpec<T> {
  readonly meaning: string;
  readonly key: RegExp;
  /** Undefined: not a value. */
  readonly value: (text: string) => T | undefined;
  readonly says: string;
}

/** `key=value`, separated by commas. */
function pairs<T>(env: string, { meaning, key, value, says }: PairsSpec<T>): Setting<ReadonlyMap<string, T>> {
  const read = (text: string | undefined) => {
    const found = new Map<string, T>();
    for (const part of text?.split(",") ?? []) {
      const [, name = "", given = ""] = /^([^=]*)=(.*)$/s.exec(part.trim()) ?? [];
      const read = value(given);
      if (!key.test(name) || read === undefined) return fail(`takes ${says}, not "${part.trim()}"`);
      if (found.has(name)) fail(`names ${name} twice`);
      found.set(name, read);
    }
    return found;
  };
  return { env, type: says, told: "none", meaning, isSecret: false, read };
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

function isOn(value: string | undefined): boolean {
  return value === "1";
}

function fail(fault: string): never {
  throw new Error(fault);
}
