// The wiring: starts the parts in the order they need each other, hands ingest's appends to pull, and ends them in
// reverse. Real time enters here. Any number of nodes may run on one deployment.
import { hostname } from "node:os";
import type { Db, MongoClient } from "mongodb";
import { readTrustedProxies } from "./access/address.ts";
import { createAuthenticator } from "./access/authenticate.ts";
import { createClientVersions } from "./access/client-versions.ts";
import { openKeySources } from "./access/key-sources.ts";
import { createLimiter, type Limiter } from "./access/limits/limiter.ts";
import { type Config, describeConfig } from "./config.ts";
import type { TlsSettings } from "./edge/certificates.ts";
import { createEdge, type Edge } from "./edge/edge.ts";
import { listenerDefaults } from "./edge/listener.ts";
import { createPrometheusMetrics, type PrometheusMetrics } from "./edge/metrics.ts";
import { openMetricsPage } from "./edge/metrics-page.ts";
import { loadDescriptorSet } from "./generate/load-descriptor-set.ts";
import { startIngest } from "./ingest/ingest.ts";
import type { IngestStatus } from "./ingest/status.ts";
import { expireReceipts, type Ledger, openLedger } from "./ledger/ledger.ts";
import { type Log, openLog } from "./log/log.ts";
import type { Clock } from "./model/clock.ts";
import type { Logger } from "./model/logger.ts";
import { connectMongo } from "./mongo/connect.ts";
import { startEmbedded } from "./mongo/embedded/start-embedded.ts";
import { watchOrphans } from "./mongo/orphans.ts";
import { openSessionPool, type SessionPool } from "./mongo/session-pool.ts";
import { createPull, type Pull } from "./pull/pull.ts";
import { createPastReceipts } from "./push/past-receipts.ts";
import { createPush, PUSH_SESSIONS } from "./push/push.ts";
import { readSchema, type Schema } from "./schema/schema.ts";
import { packageVersion } from "./settings/package.ts";

export interface StartOptions {
  readonly logger: Logger;
  /** Gets one line for humans at a time while parts start. */
  readonly progress?: (line: string) => void;
  /** Breaks off the start, which then rejects; later it has no effect. */
  readonly signal?: AbortSignal;
  /** Default: the real one. */
  readonly clock?: Clock;
  /** Its process is one of several that serve on the port; another one shows their metrics. */
  readonly isWorker?: boolean;
  /** Runs on the source before it is loaded for the first time. */
  readonly prepareSource?: (source: Db) => Promise<void>;
}

export interface Status {
  /** The log equals the source: clients get checkpoints. */
  readonly isSettled: boolean;
  /** The load under way, as far as this node knows. */
  readonly load: { readonly collection: string; readonly done: number; readonly total: number } | undefined;
}

export interface Tidemark {
  /** Where clients on this machine reach it. */
  readonly url: string;
  readonly mongodbUri: string;
  /** Resolves with a sentence if the embedded database ends by itself: nothing works any more then. */
  readonly lost: Promise<string>;
  status(): Status;
  /** About how many entries the change log has. */
  countEntries(): Promise<number>;
  /** Drains and ends everything, within the drain time and a few seconds. Idempotent. */
  close(): Promise<void>;
}

/** For operators: who leads, and whose sessions are whose. */
const NODE_ID = `${hostname()}:${process.pid}`;
const HOUR_MS = 3_600_000;
/** A clean end of the embedded database takes seconds; a driver waits 10 s for a database that is gone. */
const PART_END_MS_MAX = 15_000;
const SCHEMA_POLL_MS = 10;
/** Node fires a longer timer at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export const realClock: Clock = {
  nowMs: Date.now,
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, signal?.aborted ? 0 : Math.min(ms, TIMER_MS_MAX));
      signal?.addEventListener("abort", done);
    }),
};

/**
 * Resolves when clients are served. It listens long before, and answers by `/readyz` what it waits for.
 * @throws CompileError, SchemaError, KeySetError or CertificateError, with all faults, before anything is touched;
 *   EADDRINUSE; what the database says;
 *   the signal's reason. What was started by then is ended.
 */
export async function startTidemark(config: Config, options: StartOptions): Promise<Tidemark> {
  const { logger, clock = realClock, signal } = options;
  logger.info(describeConfig(config), "starting");
  const schema = readSchema(await loadDescriptorSet(config.schema, signal));
  const keys = await openKeySources({ ...config, clock, logger });
  const parts = createParts(logger, clock);
  parts.add("keys of tokens", () => keys.close());
  // Counted even where nobody can look.
  const metrics = createPrometheusMetrics({ ofProcess: config.metricsPort > 0 });
  let waitingFor: readonly string[] = ["the database"];
  const edge = createEdge({
    clock,
    logger,
    version: packageVersion(),
    receiptDays: config.receiptDays,
    tombstoneDays: config.tombstoneDays,
    mutationBytesMax: config.mutationBytesMax,
    corsOrigins: config.corsOrigins,
    limits: { ...listenerDefaults, connectionsMax: config.connectionsMax },
    tls: tlsOf(config),
    trustedProxies: readTrustedProxies(config.trustedProxies),
    clientVersions: createClientVersions({
      oldest: config.oldestClients,
      deprecated: config.deprecatedClients,
      upgradeUrls: config.upgradeUrls,
    }),
    featureFlags: config.featureFlags,
    metrics,
    waitingFor: () => waitingFor,
  });
  let ended: Promise<void> | undefined;
  const end = () => {
    ended ??= edge.close(config.drainSeconds * 1_000).then(() => parts.end());
    return ended;
  };
  try {
    const url = urlOf(config, await edge.listen(config.port, config.host));
    if (options.isWorker) metrics.lend();
    else if (config.metricsPort > 0) await showMetrics({ config, logger, parts, metrics });
    const { client, uri, lost } = await openDatabase(config, options, parts);
    await options.prepareSource?.(client.db(config.mongodbDb));
    signal?.throwIfAborted();
    const limiter = await startLimiter({ config, clock, logger, metrics, parts });
    waitingFor = ["the change log"];
    const { log, ingest, ...served } = await startServices({ config, schema, client, clock, logger, parts });
    // Until then the log may still hold, readable, what this schema hides; or this schema show what the log's hides.
    const isKnown = () => ingest.status().isSchemaKnown && served.pull.isInformed;
    while (!isKnown() && !signal?.aborted) await clock.sleep(SCHEMA_POLL_MS, signal);
    signal?.throwIfAborted();
    const authenticate = createAuthenticator({ ...config, schema, clock, keySources: keys.sources });
    edge.open({ schema, authenticate, limiter, ...served });
    watchServer(metrics, { edge, limiter, pull: served.pull, status: ingest.status });
    waitingFor = [];
    logger.info({ url }, "serving");
    return {
      url,
      mongodbUri: uri,
      lost,
      status: () => statusOf(ingest.status()),
      countEntries: () => log.entries.estimatedDocumentCount(),
      close: end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

type MetricsOptions = Pick<ServicesOptions, "config" | "logger" | "parts"> & {
  readonly metrics: PrometheusMetrics;
};

async function showMetrics({ config, logger, parts, metrics }: MetricsOptions): Promise<void> {
  const { metricsPort: port, metricsHost: host } = config;
  const page = await openMetricsPage({ port, host, metrics, logger });
  parts.add("metrics page", () => page.close());
}

type LimiterOptions = Omit<ServicesOptions, "schema" | "client"> & { readonly metrics: PrometheusMetrics };

async function startLimiter({ config, clock, logger, metrics, parts }: LimiterOptions): Promise<Limiter> {
  const limiter = await createLimiter({
    settings: config,
    redisUrl: config.redisUrl,
    keyPrefix: `tidemark:${config.tidemarkDb}`,
    clock,
    logger,
    metrics,
  });
  parts.add("limiter", () => limiter.close());
  return limiter;
}

interface Watched {
  readonly edge: Edge;
  readonly pull: Pick<Pull, "subscribers">;
  readonly limiter: Limiter;
  readonly status: () => IngestStatus;
}

function watchServer(metrics: PrometheusMetrics, { edge, limiter, pull, status }: Watched): void {
  const flag = (is: boolean) => (is ? 1 : 0);
  metrics.watch("open_streams", "Streams of PullChanges open on this node.", () => limiter.openStreams);
  metrics.watch("subscribers", "Streams and pages that follow the log on this node.", () => pull.subscribers);
  metrics.watch("http2_sessions", "HTTP/2 sessions open on this node.", () => edge.sessions);
  metrics.watch(
    "limits_shared",
    "1 while limits hold across all nodes.",
    () => flag(limiter.isShared),
    "min",
  );
  metrics.watch("ingest_leading", "1 on the node that ingests.", () => flag(status().role === "LEADING"));
  metrics.watch("log_settled", "1 while the log equals the source.", () => flag(status().settled), "max");
  metrics.watch(
    "log_head",
    "The highest seq readers may see, as this node knows.",
    () => status().head,
    "max",
  );
  metrics.watch(
    "log_clock_seconds",
    "The time of the source at which the log stands.",
    () => status().clockSeconds,
    "max",
  );
  metrics.watch("loads", "Collections that are loading or wait to be.", () => status().loads.length, "max");
  metrics.watch(
    "quarantined_documents",
    "Documents that can't be encoded.",
    () => status().quarantined,
    "max",
  );
}

interface ServicesOptions {
  readonly config: Config;
  readonly schema: Schema;
  readonly client: MongoClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly parts: Parts;
}

/** Everything between the database and the edge. */
async function startServices({ config, schema, client, clock, logger, parts }: ServicesOptions) {
  const sourceDb = config.mongodbDb;
  const log = await openLog(client, config.tidemarkDb);
  const ledger = await openLedger(client, config.tidemarkDb, config.receiptDays);
  const { packRecordsMin, streamMinutesMax } = config;
  const pullSettings = { packRecordsMin, streamAgeMaxMs: streamMinutesMax * 60_000 };
  const pull = createPull({ schema, log, clock, logger, settings: pullSettings });
  parts.add("pull", () => pull.close());
  const ingest = startIngest({
    client,
    sourceDb,
    log,
    schema,
    clock,
    logger,
    nodeId: NODE_ID,
    // Saves pull of this node the round trip of reading what was just appended.
    onAppend: (committed) => pull.onAppend(committed),
    settings: { tombstoneDays: config.tombstoneDays, leaseMs: config.leaseSeconds * 1_000 },
  });
  parts.add("ingest", () => ingest.close());
  parts.add("upkeep", startUpkeep({ ledger, clock, logger }));
  const sessions = await startSessions({ client, log, clock, config, parts });
  const { isPresent } = pull;
  const push = createPush({
    client,
    sourceDb,
    log,
    ledger,
    schema,
    clock,
    logger,
    sessions,
    mutationBytesMax: config.mutationBytesMax,
    isPresent,
  });
  parts.add("push", () => push.close());
  const receipts = createPastReceipts({ client, sourceDb, log, ledger, schema, isPresent });
  return { log, ingest, pull, push, receipts };
}

type SessionsOptions = Pick<ServicesOptions, "client" | "clock" | "config" | "parts"> & { readonly log: Log };

/** Those pushes run in; what other nodes leave open when they are killed is ended. */
async function startSessions({ client, log, clock, config, parts }: SessionsOptions): Promise<SessionPool> {
  const shared = { client, db: log.db, clock };
  const sessions = await openSessionPool({ ...shared, nodeId: NODE_ID, size: PUSH_SESSIONS });
  parts.add("sessions", () => sessions.close());
  const watch = watchOrphans({ ...shared, staleMs: config.leaseSeconds * 1_000, ownId: sessions.id });
  parts.add("watch for orphans", () => watch.close());
  return sessions;
}

interface Database {
  readonly client: MongoClient;
  readonly uri: string;
  readonly lost: Promise<string>;
}

/** The deployment of the settings, or else an embedded one. */
async function openDatabase(config: Config, options: StartOptions, parts: Parts): Promise<Database> {
  const { logger, progress = () => {}, signal } = options;
  const connection = signal ? { signal } : {};
  const connect = async (uri: string) => {
    const client = await connectMongo(uri, connection);
    parts.add("database client", () => client.close());
    return client;
  };
  if (config.mongodbUri !== undefined) {
    return { client: await connect(config.mongodbUri), uri: config.mongodbUri, lost: new Promise(() => {}) };
  }
  const embedded = await startEmbedded({
    dataFolder: config.dataFolder,
    mongodPath: config.mongodBinary,
    progress,
    signal,
  });
  parts.add("embedded database", () => embedded.close());
  void embedded.lost.then((sentence) => logger.error({}, sentence));
  return { client: await connect(embedded.uri), uri: embedded.uri, lost: embedded.lost };
}

interface Parts {
  add(name: string, end: () => Promise<void>): void;
  end(): Promise<void>;
}

/** Ends in reverse what was added; a part that fails to, or takes too long, doesn't keep the others. */
function createParts(logger: Logger, clock: Clock): Parts {
  const parts: { name: string; end: () => Promise<void> }[] = [];
  return {
    add: (name, end) => void parts.push({ name, end }),
    async end() {
      for (const { name, end } of parts.splice(0).reverse()) {
        const ended = new AbortController();
        const ending = end()
          .catch((error: unknown) => logger.warn({ err: error, part: name }, "did not end well"))
          .finally(() => ended.abort());
        await Promise.race([ending, clock.sleep(PART_END_MS_MAX, ended.signal)]);
        if (!ended.signal.aborted) logger.warn({ part: name }, "did not end in time");
      }
    },
  };
}

/** Forgets old receipts, hourly; nodes that do it at once do no harm. Returns what ends it. */
function startUpkeep(options: { ledger: Ledger; clock: Clock; logger: Logger }): () => Promise<void> {
  const { ledger, clock, logger } = options;
  const ending = new AbortController();
  const running = (async () => {
    while (!ending.signal.aborted) {
      await expireReceipts(ledger, clock.nowMs()).catch((error: unknown) =>
        logger.warn({ err: error }, "old receipts stay for another hour"),
      );
      await clock.sleep(HOUR_MS, ending.signal);
    }
  })();
  return () => {
    ending.abort();
    return running;
  };
}

function statusOf({ settled, loads }: IngestStatus): Status {
  const [load] = loads;
  return {
    isSettled: settled,
    load: load && { collection: load.collection, done: load.done, total: load.total ?? load.done },
  };
}

/** An address that stands for all of them, or for this machine, is best reached by name. */
function urlOf({ host, tlsCertFile }: Config, port: number): string {
  const isLocal = ["0.0.0.0", "::", "127.0.0.1", "::1"].includes(host);
  const name = host.includes(":") ? `[${host}]` : host;
  return `${tlsCertFile === undefined ? "http" : "https"}://${isLocal ? "localhost" : name}:${port}`;
}

function tlsOf(config: Config): TlsSettings | undefined {
  const { tlsCertFile: certFile, tlsKeyFile: keyFile, tlsClientCaFile: clientCaFile } = config;
  if (certFile === undefined || keyFile === undefined) return undefined;
  return { certFile, keyFile, clientCaFile, minVersion: config.tlsMinVersion };
}
