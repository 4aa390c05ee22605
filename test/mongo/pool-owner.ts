// A node for orphans.test.ts to kill: leaves a transaction open that has written the document "held".

import { connectMongo } from "../../src/mongo/connect.ts";
import { openSessionPool } from "../../src/mongo/session-pool.ts";
import { runTransaction } from "../../src/mongo/transaction.ts";
import { wallClock } from "./wall-clock.ts";

const [, , uri = "", sourceDb = "", tidemarkDb = ""] = process.argv;
const client = await connectMongo(uri);
const db = client.db(tidemarkDb);
const sessions = await openSessionPool({ client, db, clock: wallClock, nodeId: "killed", size: 2 });
const documents = client.db(sourceDb).collection<{ _id: string; n: number }>("documents");
await runTransaction(
  client,
  async (session) => {
    await documents.updateOne({ _id: "held" }, { $set: { n: -1 } }, { session });
    process.stdout.write("holding\n");
    await new Promise(() => {});
  },
  { sessions },
);
