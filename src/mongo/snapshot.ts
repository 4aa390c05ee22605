// Reads at one cluster time: every find and aggregate in such a session, with all its getMores, sees the same
// instant. Without a time given, the first read fixes it. The server keeps instants for a bounded window (5 minutes by
// default); beyond it, reads fail with the class "snapshot-lost".
import type { AbstractCursor, ClientSession, MongoClient, Timestamp } from "mongodb";
import { invariant } from "../model/invariant.ts";

/** The driver's own property, which its types leave out: the `atClusterTime` sent with each read. */
interface SnapshotTimed {
  snapshotTime?: Timestamp;
}

/**
 * A session whose reads all happen at one cluster time: `at`, or the time of its first read. The caller ends it.
 * An explicit read concern on the client, database, collection or operation would override it, so there must be none
 * (or `snapshot`). A find in a collection that doesn't exist doesn't fix the time (an aggregate does).
 * `snapshotTimeOf` finds both out. Only find, aggregate and distinct may use the session.
 */
export function snapshotSession(client: MongoClient, at?: Timestamp): ClientSession {
  const session: ClientSession & SnapshotTimed = client.startSession({ snapshot: true });
  if (at !== undefined) session.snapshotTime = at;
  return session;
}

/**
 * The cluster time the session reads at: the one given, or that of its first read.
 * Where no read has fixed the time yet (see `snapshotSession`), the invariant tells.
 */
export function snapshotTimeOf(session: ClientSession): Timestamp {
  const { snapshotTime } = session as ClientSession & SnapshotTimed;
  invariant(
    session.snapshotEnabled && snapshotTime !== undefined,
    "a read of this session has fixed its snapshot",
  );
  return snapshotTime;
}

/**
 * Closes a cursor of such a session, also one that wasn't read to its end. The driver's own close sends the session's read
 * concern along, which the server refuses and the driver keeps to itself: the server would keep the cursor for ten
 * minutes. Never throws: one that can't be told now, the server forgets by itself.
 */
export async function closeSnapshotCursor(client: MongoClient, cursor: AbstractCursor): Promise<void> {
  const { id, namespace } = cursor;
  const isUnread = id !== undefined && !id.isZero();
  const { db, collection } = namespace;
  const killed = isUnread && client.db(db).command({ killCursors: collection, cursors: [id] });
  // The driver forgets it only so.
  await Promise.allSettled([killed, cursor.close()]);
}
