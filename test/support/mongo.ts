// Databases for tests: fresh names on the run's one replica set, so that files and tests run side by side.
import { randomUUID } from "node:crypto";
import type { Db, MongoClient } from "mongodb";
import { inject } from "vitest";
import { connectMongo } from "../../src/mongo/connect.ts";

export interface TestDatabase {
  readonly uri: string;
  readonly client: MongoClient;
  readonly source: Db;
  readonly sourceDb: string;
  /** The name for the log's database; nothing is in it yet. */
  readonly tidemarkDb: string;
  /** Drops both databases and closes the client. */
  drop(): Promise<void>;
}

/** A connected client and two unused database names; whoever asks must `drop()` it. */
export async function testDatabase(): Promise<TestDatabase> {
  const uri = inject("mongodbUri");
  const client = await connectMongo(uri);
  const name = randomUUID().slice(0, 13);
  const sourceDb = `source-${name}`;
  const tidemarkDb = `tidemark-${name}`;
  const drop = async () => {
    await client.db(sourceDb).dropDatabase();
    await client.db(tidemarkDb).dropDatabase();
    await client.close();
  };
  return { uri, client, source: client.db(sourceDb), sourceDb, tidemarkDb, drop };
}
