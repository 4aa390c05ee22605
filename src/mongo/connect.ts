// The client for a deployment, checked before anything relies on it: a replica set of MongoDB 6.0 or newer.
// Writes are majority writes to the primary whatever the connection string says. The client has no read concern on
// purpose: the driver gives an inherited one precedence over a snapshot session, whose reads would then silently
// not be snapshot reads. Every read names its own: `readConcern: "majority"`, or a session of snapshot.ts.
import { type Document, MongoClient, MongoError, MongoServerError, MongoServerSelectionError } from "mongodb";
import { invariant } from "../model/invariant.ts";
import { SyncError } from "../model/sync-error.ts";

export interface ConnectOptions {
  /** How long the primary may take to answer, here and whenever it is lost later. Default 10 s. */
  readonly serverSelectionTimeoutMs?: number;
  /** Connections in the pool, at most. Default 100. */
  readonly poolSizeMax?: number;
  readonly signal?: AbortSignal;
}

const SERVER_SELECTION_TIMEOUT_MS = 10_000;
const POOL_SIZE_MAX = 100;
const CONNECT_TIMEOUT_MS = 10_000;
/** An operation waits this long for a free connection before it fails as unavailable. */
const POOL_WAIT_MS = 10_000;
const IDLE_CONNECTION_MS = 300_000;
const OLDEST_MAJOR_VERSION = 6;
const AUTHENTICATION_FAILED = 18;

/**
 * Connects and verifies. The caller closes the client.
 * @throws SyncError DATABASE_UNAVAILABLE when nothing answers in time.
 * @throws Error, saying what to do, when the connection string, the credentials or the deployment don't fit.
 */
export async function connectMongo(uri: string, options: ConnectOptions = {}): Promise<MongoClient> {
  options.signal?.throwIfAborted();
  const client = createClient(uri, options);
  const { signal } = options;
  const onAbort = () => void client.close().catch(() => {});
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    await client.connect();
    const admin = client.db("admin");
    assertSupported(await admin.command({ hello: 1 }), await admin.command({ buildInfo: 1 }));
    return client;
  } catch (error) {
    await client.close().catch(() => {});
    throw signal?.aborted ? signal.reason : explain(error);
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

function createClient(uri: string, options: ConnectOptions): MongoClient {
  try {
    const client = new MongoClient(withoutReadConcern(uri), {
      appName: "tidemark",
      writeConcern: { w: "majority" },
      readPreference: "primary",
      retryReads: true,
      retryWrites: true,
      serverSelectionTimeoutMS: options.serverSelectionTimeoutMs ?? SERVER_SELECTION_TIMEOUT_MS,
      connectTimeoutMS: CONNECT_TIMEOUT_MS,
      waitQueueTimeoutMS: POOL_WAIT_MS,
      maxIdleTimeMS: IDLE_CONNECTION_MS,
      maxPoolSize: options.poolSizeMax ?? POOL_SIZE_MAX,
    });
    invariant(client.readConcern === undefined, "a client carries no read concern");
    return client;
  } catch (error) {
    if (!(error instanceof MongoError)) throw error;
    throw new Error(`MONGODB_URI is not a usable connection string: ${error.message}`, { cause: error });
  }
}

/** In a connection string it wins over every option, hence cut out. */
function withoutReadConcern(uri: string): string {
  return uri.replace(/([?&])readConcernLevel=[^&]*&?/gi, "$1");
}

function assertSupported(hello: Document, buildInfo: Document): void {
  if (hello.msg === "isdbgrid") {
    throw new Error(
      "MONGODB_URI leads to a sharded cluster (mongos), which is not supported: use a replica set",
    );
  }
  if (typeof hello.setName !== "string") {
    throw new Error(
      "MONGODB_URI leads to a standalone MongoDB server, which has no change streams: start it with --replSet " +
        "and run rs.initiate() once (a set of one member is enough)",
    );
  }
  const version = String(buildInfo.version);
  if (Number.parseInt(version, 10) < OLDEST_MAJOR_VERSION) {
    throw new Error(`MONGODB_URI leads to MongoDB ${version}; ${OLDEST_MAJOR_VERSION}.0 or newer is needed`);
  }
}

function explain(error: unknown): unknown {
  if (error instanceof MongoServerSelectionError) {
    const message = `MongoDB does not answer (${error.message}): check that it runs and that MONGODB_URI names it`;
    return new SyncError("DATABASE_UNAVAILABLE", message, { cause: error });
  }
  if (error instanceof MongoServerError && error.code === AUTHENTICATION_FAILED) {
    return new Error("MongoDB refused the user or password in MONGODB_URI", { cause: error });
  }
  if (isDnsError(error)) {
    const message = `the host in MONGODB_URI is unknown to DNS (${error.message})`;
    return new SyncError("DATABASE_UNAVAILABLE", message, { cause: error });
  }
  return error;
}

function isDnsError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error && /^query|getaddrinfo/.test(String(error.syscall));
}
