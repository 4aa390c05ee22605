// A mongod of a test's own, for tests that change a server's parameters or kill it.
import { findMongod } from "../../src/mongo/binary.ts";
import { choosePort } from "../../src/mongo/embedded/port.ts";
import { becomePrimary } from "../../src/mongo/embedded/replica-set.ts";
import { superviseMongod } from "../../src/mongo/embedded/supervise.ts";

export interface OwnMongod {
  readonly uri: string;
  readonly port: number;
  readonly pid: number;
  close(): Promise<void>;
}

/**
 * With test commands allowed (failpoints), as a replica set of one or, if asked, standalone. The test closes it.
 * @param options.port of one that ran on this folder before and is to come back.
 */
export async function startOwnMongod(
  folder: string,
  options: { standalone?: boolean; port?: number } = {},
): Promise<OwnMongod> {
  const mongod = await findMongod({
    configuredPath: process.env.TIDEMARK_MONGOD,
    progress: (line) => process.stdout.write(`${line}\n`),
  });
  const port = await choosePort(options.port);
  const running = await superviseMongod({
    mongod: mongod.path,
    args: ["--dbpath", folder, "--port", String(port), "--bind_ip", "127.0.0.1", "--nounixsocket", "--quiet"]
      .concat([
        "--setParameter",
        "enableTestCommands=1",
        "--wiredTigerCacheSizeGB",
        "0.25",
        "--oplogSize",
        "128",
      ])
      .concat(options.standalone ? [] : ["--replSet", "tidemark"]),
    logFile: `${folder}/mongod.log`,
  });
  if (!options.standalone) await becomePrimary(running, port);
  const uri = `mongodb://127.0.0.1:${port}/${options.standalone ? "" : "?replicaSet=tidemark"}`;
  return { uri, port, pid: running.pid, close: () => running.close() };
}
