// The change log's handle: its collections, indexes and first state. Opening is idempotent and safe on several
// nodes at once. Reads of `state` are majority reads.
import { randomBytes, randomUUID } from "node:crypto";
import type { ClientSession, Collection, Db, MongoClient } from "mongodb";
import { invariant } from "../model/invariant.ts";
import type { EntryDocument } from "./entry.ts";
import type { FeedSetDocument } from "./feed-sets.ts";
import type { GrantDocument } from "./grants.ts";
import type { PackBlockDocument, PackDocument } from "./packs.ts";
import type { QuarantineDocument } from "./quarantine.ts";
import { type LogState, NOT_YET_KNOWN, type StateDocument, stateDocument, stateOf } from "./state.ts";

export interface Log {
  readonly client: MongoClient;
  readonly db: Db;
  readonly entries: Collection<EntryDocument>;
  readonly states: Collection<StateDocument>;
  readonly grants: Collection<GrantDocument>;
  readonly feedSets: Collection<FeedSetDocument>;
  readonly quarantine: Collection<QuarantineDocument>;
  readonly packs: Collection<PackDocument>;
  readonly packBlocks: Collection<PackBlockDocument>;
}

/** Makes indexes and the first state where they are missing. */
export async function openLog(client: MongoClient, databaseName: string): Promise<Log> {
  const log = logIn(client, databaseName);
  await Promise.all([
    log.entries.createIndexes([
      { key: { feeds: 1, seq: 1 } },
      { key: { seq: 1 } },
      { key: { at: 1 }, partialFilterExpression: { at: { $exists: true } } },
    ]),
    log.grants.createIndex({ principal: 1 }),
    log.feedSets.createIndex({ used_at: 1 }),
    log.quarantine.createIndex({ at: 1 }),
    // So that they are there before any snapshot that looks into them.
    log.packs.createIndex({ _id: 1 }),
    log.packBlocks.createIndex({ _id: 1 }),
  ]);
  await insertFirstState(log);
  return log;
}

/** The log for reading: nothing is made where something is missing. */
export function logIn(client: MongoClient, databaseName: string): Log {
  const db = client.db(databaseName, { writeConcern: { w: "majority" } });
  return {
    client,
    db,
    entries: db.collection("entries"),
    states: db.collection("state"),
    grants: db.collection("grants"),
    feedSets: db.collection("feedsets"),
    quarantine: db.collection("quarantine"),
    packs: db.collection("packs"),
    packBlocks: db.collection("packblocks"),
  };
}

/** The state as a majority of nodes has it, or as of the session's snapshot. */
export async function readState(log: Log, session?: ClientSession): Promise<LogState> {
  const document = await log.states.findOne({ _id: "log" }, readIn(session));
  invariant(document, "the log is open, so its state exists");
  return stateOf(document);
}

/** Options of a read in the session's snapshot, or else of a majority read. */
export function readIn(session: ClientSession | undefined) {
  // A read concern beside a snapshot session would switch its snapshot off.
  return session ? { session } : ({ readConcern: "majority" } as const);
}

async function insertFirstState(log: Log): Promise<void> {
  const first: LogState = {
    revision: 0,
    term: 0,
    nonce: "",
    epoch: randomUUID(),
    signingKey: randomBytes(32),
    head: 0,
    horizon: 0,
    clock: undefined,
    resumeToken: undefined,
    settledAfter: NOT_YET_KNOWN,
    source: "",
    schemas: [],
    collections: [],
    grantsRevision: 0,
  };
  const { _id, ...fields } = stateDocument(first);
  await log.states.updateOne({ _id }, { $setOnInsert: fields }, { upsert: true });
}
