// Events of the source's change stream, as little of them as ingest needs: which record, gone or not, and when.
// What it became is read from the database at that time, never from the event.
import type { Document, Timestamp } from "mongodb";

interface At {
  readonly time: Timestamp;
  /** Resumes after this event. */
  readonly token: unknown;
}

/** A record was written or deleted. */
export interface RecordEvent extends At {
  readonly kind: "record";
  readonly collection: string;
  readonly key: unknown;
  readonly gone: boolean;
}

/** Collections were dropped, renamed, or written over by a rename: nothing is known of their records any more. */
export interface ReplacedEvent extends At {
  readonly kind: "replaced";
  readonly collections: readonly string[];
}

/** Receipts were written: a client waits for the clock to reach it (P4). */
export interface PushEvent extends At {
  readonly kind: "push";
}

export type StreamEvent = RecordEvent | ReplacedEvent | PushEvent;

/** What of the deployment is watched. */
export interface Watched {
  readonly sourceDb: string;
  readonly collections: readonly string[];
  readonly logDb: string;
}

const LEDGER = "ledger";

/**
 * Stages after `$changeStream` on the deployment. The first match names collections alone, which the server turns into
 * a filter on the oplog; whole `ns` and `documentKey` are kept because paths into them cost half the drain rate.
 */
export function watchPipeline({ sourceDb, collections, logDb }: Watched): Document[] {
  return [
    {
      $match: {
        $or: [
          { "ns.coll": { $in: [...collections, LEDGER] } },
          { "to.coll": { $in: collections } },
          { operationType: { $in: ["dropDatabase", "invalidate"] } },
        ],
      },
    },
    {
      $match: {
        $or: [
          { "ns.db": sourceDb },
          { "to.db": sourceDb },
          // One receipt of a transaction tells of all: see ledger/stored-receipt.ts.
          { "ns.db": logDb, "ns.coll": LEDGER, operationType: "insert", "fullDocument.first": true },
        ],
      },
    },
    { $project: { operationType: 1, clusterTime: 1, ns: 1, to: 1, documentKey: 1 } },
  ];
}

/** Reads what `watchPipeline` lets through; undefined where it concerns none of the collections. */
export function streamEventOf(event: Document, { sourceDb, collections }: Watched): StreamEvent | undefined {
  const { _id: token, operationType, clusterTime: time, ns, to, documentKey } = event;
  if (ns?.db !== sourceDb && to?.db !== sourceDb) return { kind: "push", time, token };
  switch (operationType) {
    case "insert":
    case "update":
    case "replace":
    case "delete":
      if (!collections.includes(ns.coll)) return undefined;
      return {
        kind: "record",
        collection: ns.coll,
        key: documentKey._id,
        gone: operationType === "delete",
        time,
        token,
      };
    case "dropDatabase":
    case "invalidate":
      return { kind: "replaced", collections, time, token };
    default: {
      // Drop and rename; whatever a newer server may tell of a collection is taken as seriously.
      const named = [ns, to].filter((place) => place?.db === sourceDb).map((place) => String(place.coll));
      const replaced = collections.filter((name) => named.includes(name));
      return replaced.length > 0 ? { kind: "replaced", collections: replaced, time, token } : undefined;
    }
  }
}
