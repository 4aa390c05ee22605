// The client: majority writes and reads said explicitly, so that no deployment's default decides.
import { MongoClient } from "mongodb";

export async function connectMongo(uri: string): Promise<MongoClient> {
  const client = new MongoClient(uri, {
    writeConcern: { w: "majority" },
    readConcern: { level: "majority" },
  });
  await client.connect();
  return client;
}
