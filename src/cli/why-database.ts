// The database a command reads: that of the settings, or else the embedded one: as it is run by a server on this
// machine, or started for the time of the command.
import type { MongoClient } from "mongodb";
import type { Config } from "../config.ts";
import { connectMongo } from "../mongo/connect.ts";
import { findEmbedded } from "../mongo/embedded/find-embedded.ts";
import { startEmbedded } from "../mongo/embedded/start-embedded.ts";

/** Lends the database to `work` and takes it back whatever happens. */
export async function withDatabase<T>(
  config: Config,
  signal: AbortSignal,
  work: (client: MongoClient) => Promise<T>,
): Promise<T> {
  const { uri, close } = await databaseOf(config, signal);
  try {
    const client = await connectMongo(uri, { signal });
    try {
      return await work(client);
    } finally {
      await client.close();
    }
  } finally {
    await close();
  }
}

interface Lent {
  readonly uri: string;
  close(): Promise<void>;
}

async function databaseOf(config: Config, signal: AbortSignal): Promise<Lent> {
  const { mongodbUri, dataFolder, mongodBinary: mongodPath } = config;
  const close = () => Promise.resolve();
  if (mongodbUri !== undefined) return { uri: mongodbUri, close };
  const found = await findEmbedded(dataFolder);
  switch (found.kind) {
    case "none":
      throw new Error(
        `there is no database in ${dataFolder}: set MONGODB_URI, or TIDEMARK_DATA to the folder of an embedded one`,
      );
    case "running":
      return { uri: found.uri, close };
    case "idle":
      return await startEmbedded({ dataFolder, mongodPath, progress: () => {}, signal });
  }
}
