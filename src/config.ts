// The settings in force: read once from the environment, all faults reported together. Nothing else reads the
// environment. Secrets are never printed, in a fault or anywhere.
import { algorithmsFault } from "./access/algorithms.ts";
import { isOn, type Setting } from "./settings/kinds.ts";
import { settings } from "./settings/table.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

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
  if (config.workers > 1 && config.mongodbUri === undefined) {
    faults.push("WORKERS: more than one need a MongoDB of their own, not the embedded one: set MONGODB_URI");
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
