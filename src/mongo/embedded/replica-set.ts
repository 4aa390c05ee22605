// Makes a mongod that has just been started the primary of a replica set of one: initiates it the first time, moves it
// by force when it comes back on another port (its stored configuration then names a member that isn't there).
import { setTimeout as delay } from "node:timers/promises";
import { type Db, type Document, MongoClient, MongoServerError } from "mongodb";
import { classOf } from "../error-class.ts";
import type { MongodEnd, SupervisedMongod } from "./supervise.ts";

export const REPLICA_SET = "tidemark";

const POLL_MS = 25;
const READY_MS_MAX = 90_000;
const NOT_YET_INITIALIZED = 94;
const ALREADY_INITIALIZED = 23;

/** A mongod that ended while it was being waited for. */
export class MongodEndedError extends Error {
  override readonly name = "MongodEndedError";
  readonly end: MongodEnd;

  constructor(end: MongodEnd) {
    super(`mongod ended (${end.signal ?? `code ${end.code}`})`);
    this.end = end;
  }
}

/**
 * Resolves when the mongod takes writes as primary.
 * @throws MongodEndedError when it ends before; Error when it isn't ready in 90 s; the signal's reason when aborted.
 */
export async function becomePrimary(
  mongod: SupervisedMongod,
  port: number,
  signal?: AbortSignal,
): Promise<void> {
  const host = `127.0.0.1:${port}`;
  const timeout = AbortSignal.timeout(READY_MS_MAX);
  const waiting = AbortSignal.any(signal ? [timeout, signal] : [timeout]);
  const over = new AbortController();
  const failed = Promise.race([
    mongod.ended.then((end) => Promise.reject(new MongodEndedError(end))),
    rejectOn(waiting),
  ]);
  try {
    const steps = lead(host, mongod.pid, AbortSignal.any([waiting, over.signal]));
    await Promise.race([steps, failed]);
  } catch (error) {
    signal?.throwIfAborted();
    if (timeout.aborted)
      throw new Error(`mongod was not ready within ${READY_MS_MAX / 1000} s`, { cause: error });
    throw error;
  } finally {
    over.abort();
  }
}

function rejectOn(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/**
 * Starts over when a connection breaks: mongod closes them all when it finds itself not to be the member its stored
 * configuration names. It asks that member first, for up to 30 s when a stranger sits there and keeps silent.
 */
async function lead(host: string, pid: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    const client = await connect(host, signal);
    try {
      const admin = client.db("admin");
      if (await isOurs(admin, pid)) return await leadOver(admin, host, signal);
      await delay(POLL_MS, undefined, { signal });
    } catch (error) {
      if (classOf(error) !== "unavailable") throw error;
    } finally {
      await client.close();
    }
  }
}

/** Somebody else's mongod on the port means that ours is about to end for it. */
async function isOurs(admin: Db, pid: number): Promise<boolean> {
  const status = await admin.command({ serverStatus: 1 }).catch(() => undefined);
  return Number(status?.pid) === pid;
}

async function leadOver(admin: Db, host: string, signal: AbortSignal): Promise<void> {
  while (!(await admin.command({ hello: 1 })).isWritablePrimary) {
    await configure(admin, host);
    await delay(POLL_MS, undefined, { signal });
  }
}

/** Connects as soon as it listens: one short try after the other, since a client that tried too early waits half a second. */
async function connect(host: string, signal: AbortSignal): Promise<MongoClient> {
  for (;;) {
    signal.throwIfAborted();
    const client = new MongoClient(`mongodb://${host}/?directConnection=true`, {
      serverSelectionTimeoutMS: 100,
    });
    try {
      return await client.connect();
    } catch (error) {
      await client.close();
      if (classOf(error) !== "unavailable") throw error;
    }
  }
}

async function configure(admin: Db, host: string): Promise<void> {
  const config = await storedConfig(admin);
  if (config === undefined) {
    await initiate(admin, { _id: REPLICA_SET, members: [{ _id: 0, host }] });
  } else if (config.members.length !== 1 || config.members[0].host !== host) {
    const members = [{ _id: 0, host }];
    const moved = { ...config, version: config.version + 1, members };
    await admin.command({ replSetReconfig: moved, force: true });
  }
}

async function storedConfig(admin: Db): Promise<Document | undefined> {
  try {
    return (await admin.command({ replSetGetConfig: 1 })).config;
  } catch (error) {
    if (error instanceof MongoServerError && error.code === NOT_YET_INITIALIZED) return undefined;
    throw error;
  }
}

/** While a mongod reads its stored configuration it says it has none, yet refuses a new one: then it is asked again. */
async function initiate(admin: Db, config: Document): Promise<void> {
  try {
    await admin.command({ replSetInitiate: config });
  } catch (error) {
    if (!(error instanceof MongoServerError && error.code === ALREADY_INITIALIZED)) throw error;
  }
}
