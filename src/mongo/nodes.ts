// Which nodes there are, as far as transactions go: one document for each session pool, with the ids of its sessions
// and a beat that moves while it runs transactions. What a killed node left open is found, and ended, by these ids.
import type { Collection, Db, MongoClient, ServerSessionId } from "mongodb";
import { classOf } from "./error-class.ts";

export interface NodeDocument {
  /** The node's name, and what tells its pools apart. */
  _id: string;
  sessions: ServerSessionId[];
  beat: number;
  /** Of the last beat, by the database's time. */
  at: Date;
}

/** @param db tidemark's own. */
export function nodesOf(db: Db): Collection<NodeDocument> {
  return db.collection("nodes", { writeConcern: { w: "majority" } });
}

/**
 * Ends whatever runs, and rolls back what is open, in these sessions; they may be used again.
 * Where that isn't allowed, the server's own limit (a minute) does it.
 * @throws what says that the database could not be asked.
 */
export async function endInSessions(
  client: MongoClient,
  sessions: readonly ServerSessionId[],
): Promise<void> {
  if (sessions.length === 0) return;
  try {
    await client.db("admin").command({ killSessions: sessions });
  } catch (error) {
    if (classOf(error) === "unavailable") throw error;
  }
}
