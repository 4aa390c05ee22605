// A find answered by one reply: what doesn't fit into it (16 MiB) is left, and said to be left, so that memory stays
// bounded whatever the documents' sizes are, and no server-side cursor outlives the call.
import type { BSONSerializeOptions, Db, Document } from "mongodb";

export interface OneReplyQuery {
  readonly collection: string;
  /** The rest of a `find` command, `readConcern` included. */
  readonly find: Document;
  /** More documents than this are left. */
  readonly documentsMax: number;
  readonly decode?: BSONSerializeOptions;
}

export interface OneReply<T> {
  readonly documents: T[];
  /** False: there are more. */
  readonly whole: boolean;
}

/** Decoding that leaves the documents of a cursor's batch as bytes. */
export const rawBatches = { fieldsAsRaw: { firstBatch: true, nextBatch: true } } as const;

export async function findInOneReply<T>(db: Db, query: OneReplyQuery): Promise<OneReply<T>> {
  const { collection, find, documentsMax, decode } = query;
  // One more than wanted, so that a reply with all of them ends the cursor.
  const command = { find: collection, ...find, batchSize: documentsMax + 1, limit: documentsMax + 1 };
  const { cursor } = await db.command(command, { ...decode });
  const documents: T[] = cursor.firstBatch;
  const open = String(cursor.id) !== "0";
  if (open) await db.command({ killCursors: collection, cursors: [cursor.id] });
  const whole = !open && documents.length <= documentsMax;
  return { documents: documents.slice(0, documentsMax), whole };
}
