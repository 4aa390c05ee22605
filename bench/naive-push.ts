// The road most teams take first: a transaction for each mutation, by the driver's withTransaction, that inserts a
// receipt and updates the document. It reads nothing, checks nothing and merges nothing.
import { randomUUID } from "node:crypto";
import type { ClientSession, Collection, MongoClient } from "mongodb";
import type { Device, Edit } from "./device.ts";

interface NaiveReceipt {
  _id: string;
  principal: string;
  device: string;
  at: Date;
  collection: string;
  record: string;
  kind: string;
  fields: number[];
  outcome: string;
}

export interface NaiveRoad {
  /** Each edit in a transaction of its own, one after the other. */
  push(device: Device, edits: readonly Edit[]): Promise<void>;
}

export function naiveRoad(client: MongoClient, sourceDb: string): NaiveRoad {
  const receipts: Collection<NaiveReceipt> = client.db(sourceDb).collection("receipts");
  const todos = client.db(sourceDb).collection<{ _id: string }>("todos");
  async function pushOne({ name }: Device, { recordId, after }: Edit, session: ClientSession): Promise<void> {
    const receipt = { principal: name, device: name, collection: "todos", record: recordId, kind: "update" };
    await receipts.insertOne(
      { _id: randomUUID(), ...receipt, at: new Date(), fields: [2, 4], outcome: "APPLIED" },
      { session },
    );
    const { matchedCount } = await todos.updateOne({ _id: recordId }, { $set: after }, { session });
    if (matchedCount !== 1) throw new Error(`${recordId} isn't there`);
  }
  return {
    async push(device, edits) {
      for (const edit of edits) {
        await client.withSession((session) =>
          session.withTransaction(() => pushOne(device, edit, session), {
            readConcern: { level: "snapshot" },
            writeConcern: { w: "majority" },
          }),
        );
      }
    },
  };
}
