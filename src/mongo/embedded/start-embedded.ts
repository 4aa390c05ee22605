// The embedded database: a real replica set of one member, kept in a folder, living exactly as long as its server.
// It survives restarts and crashes of either process: what a crash left behind is ended or waited for, data and port are
// kept. We run mongod ourselves rather than by mongodb-memory-server (which finds the binary, see ../binary.ts): that one
// is made for data that may vanish; it neither keeps a folder's port, nor moves a set, nor ends orphans it didn't start.
import type { Mongod } from "../binary.ts";
import { findMongod } from "../binary.ts";
import {
  type DataFolder,
  dbPathArgs,
  openDataFolder,
  readRemembered,
  reclaimDataFolder,
  writeRemembered,
} from "./data-folder.ts";
import { mongodFailure, PORT_TAKEN_EXIT_CODE } from "./mongod-failure.ts";
import { choosePort } from "./port.ts";
import { becomePrimary, MongodEndedError, REPLICA_SET } from "./replica-set.ts";
import { type SupervisedMongod, superviseMongod } from "./supervise.ts";

export interface EmbeddedOptions {
  /** Made if it isn't there. */
  readonly dataFolder: string;
  /** Gets one line for humans at a time. */
  readonly progress: (line: string) => void;
  /** The operator's choice of binary; default: see ../binary.ts. */
  readonly mongodPath?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface EmbeddedMongo {
  readonly uri: string;
  readonly pid: number;
  /** Resolves with a sentence if the database ends without `close()`: it crashed or was killed. */
  readonly lost: Promise<string>;
  /** Ends the database by a clean shutdown; resolves when its process is gone. */
  close(): Promise<void>;
}

const STARTS_MAX = 3;
/** Enough for development; MongoDB's default is half of the machine's memory. */
const CACHE_GB = 1;
/** A day of heavy development; MongoDB's default is a twentieth of the disk. */
const OPLOG_MB = 1024;

/**
 * Resolves when the database takes writes, on 127.0.0.1 only.
 * @throws Error with a sentence saying what to do: no mongod to be found, the folder in use, or mongod's own complaint.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedMongo> {
  const { progress, signal } = options;
  const folder = await openDataFolder(options.dataFolder);
  await reclaimDataFolder(folder, progress, signal);
  const mongod = await findMongod({ configuredPath: options.mongodPath, progress, signal });
  const { port, running } = await startOnFreePort({ folder, mongod, progress, signal });
  await writeRemembered(folder, { port, version: mongod.version });
  return embeddedMongo(running, port, folder);
}

interface Start {
  readonly folder: DataFolder;
  readonly mongod: Mongod;
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal | undefined;
}

/** A port found free may be taken before mongod has it: then another one. */
async function startOnFreePort(start: Start): Promise<{ port: number; running: SupervisedMongod }> {
  const { folder, mongod } = start;
  const remembered = await readRemembered(folder);
  for (let attempt = 1; ; attempt++) {
    start.signal?.throwIfAborted();
    const port = await choosePort(attempt === 1 ? remembered.port : undefined);
    if (remembered.port !== undefined && port !== remembered.port) {
      start.progress(
        `Port ${remembered.port} is taken: the embedded database moves to ${port}, which can take half a minute`,
      );
    }
    const running = await superviseMongod({
      mongod: mongod.path,
      args: mongodArgs(folder, port),
      logFile: folder.logFile,
    });
    try {
      await becomePrimary(running, port, start.signal);
      return { port, running };
    } catch (error) {
      await running.close();
      if (!(error instanceof MongodEndedError)) throw error;
      if (error.end.code === PORT_TAKEN_EXIT_CODE && attempt < STARTS_MAX) continue;
      throw await mongodFailure({ folder, end: error.end, version: mongod.version, remembered });
    }
  }
}

function mongodArgs(folder: DataFolder, port: number): string[] {
  const replica = ["--replSet", REPLICA_SET, "--oplogSize", String(OPLOG_MB)];
  const net = ["--bind_ip", "127.0.0.1", "--port", String(port)];
  return [...dbPathArgs(folder), ...net, ...replica, "--wiredTigerCacheSizeGB", String(CACHE_GB), "--quiet"];
}

function embeddedMongo(running: SupervisedMongod, port: number, folder: DataFolder): EmbeddedMongo {
  let closing = false;
  const lost = new Promise<string>((resolve) => {
    void running.ended.then((end) => {
      const how = end.signal ?? (end.code === undefined ? "its supervisor was killed" : `code ${end.code}`);
      if (!closing) resolve(`The embedded database ended unexpectedly (${how}); see ${folder.logFile}`);
    });
  });
  const close = () => {
    closing = true;
    return running.close();
  };
  return { uri: `mongodb://127.0.0.1:${port}/?replicaSet=${REPLICA_SET}`, pid: running.pid, lost, close };
}
