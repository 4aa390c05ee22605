// What happened in a random run, as the database's own change stream tells it: each commit with the receipts it holds,
// in the order they were decided in, the documents it left, and the log's entries it made.
import { type Binary, BSON, type ChangeStreamDocument, type Document, type MongoClient } from "mongodb";
import { type CommitClock, commitClockOf } from "../../src/model/commit-clock.ts";
import { recordToJson } from "../../src/schema/record-json.ts";
import type { Schema } from "../../src/schema/schema.ts";
import { COLLECTIONS, fieldNumbered, undeclaredIn, type Values, valuesIn } from "./reference-fields.ts";
import type { RefDocument } from "./reference-outcome.ts";

export interface KeptReceipt {
  readonly mutationId: string;
  readonly outcome: string;
  readonly reason: string | undefined;
  readonly absent: boolean;
  /** Names of fields, oneofs as one. */
  readonly conflicts: readonly string[];
  readonly atMs: number;
}

export interface KeptEntry {
  readonly seq: number;
  readonly values: Values;
}

/** What happened in one transaction, or by one write of another program. */
export interface Commit {
  readonly clock: CommitClock;
  readonly receipts: readonly KeptReceipt[];
  /** By collection and id, as `loose/r1`; undefined: deleted. */
  readonly documents: ReadonlyMap<string, RefDocument | undefined>;
  readonly entries: ReadonlyMap<string, KeptEntry | undefined>;
}

export interface Databases {
  readonly client: MongoClient;
  readonly sourceDb: string;
  readonly tidemarkDb: string;
  readonly schema: Schema;
}

/** Watches from now on; the function it gives ends that, and tells all commits, in order. */
export async function startWitness(databases: Databases): Promise<() => Promise<Commit[]>> {
  const { client, sourceDb, tidemarkDb } = databases;
  const match = { "ns.db": { $in: [sourceDb, tidemarkDb] } };
  const stream = client.watch([{ $match: match }], { useBigInt64: true, promoteBuffers: false });
  await stream.tryNext();
  return async () => {
    const { insertedId } = await client
      .db(sourceDb)
      .collection<{ _id: string }>("end")
      .insertOne({ _id: "end" });
    const history = new History(databases);
    for (;;) {
      const event = await stream.next();
      if (!("documentKey" in event) || event.clusterTime === undefined) continue;
      if (event.ns.coll === "end" && String(event.documentKey._id) === insertedId) break;
      history.add(commitClockOf(event.clusterTime), event);
    }
    await stream.close();
    return history.commits();
  };
}

interface Growing {
  readonly clock: CommitClock;
  readonly receipts: KeptReceipt[];
  readonly documents: Map<string, RefDocument | undefined>;
  readonly entries: Map<string, KeptEntry | undefined>;
}

type Changed = Extract<ChangeStreamDocument, { documentKey: unknown }>;

class History {
  readonly #databases: Databases;
  readonly #commits = new Map<CommitClock, Growing>();
  readonly #now = new Map<string, Document>();

  constructor(databases: Databases) {
    this.#databases = databases;
  }

  commits(): Commit[] {
    return [...this.#commits.values()];
  }

  add(clock: CommitClock, event: Changed): void {
    const commit: Growing = this.#commits.get(clock) ?? {
      clock,
      receipts: [],
      documents: new Map(),
      entries: new Map(),
    };
    const { db, coll } = event.ns;
    if (db === this.#databases.sourceDb && COLLECTIONS.some(({ name }) => name === coll)) {
      const ref = `${coll}/${String(event.documentKey._id)}`;
      const document = documentAfter(this.#now.get(ref), event);
      if (document) this.#now.set(ref, document);
      else this.#now.delete(ref);
      commit.documents.set(ref, document && refDocumentOf(document));
    } else if (db === this.#databases.tidemarkDb && coll === "ledger") {
      if (event.operationType === "insert") commit.receipts.push(receiptOf(event.fullDocument));
    } else if (db === this.#databases.tidemarkDb && coll === "entries") {
      this.#addEntry(commit, event);
    } else return;
    this.#commits.set(clock, commit);
  }

  #addEntry(commit: Growing, event: Changed): void {
    const key = event.documentKey._id as unknown as { c: string; k: unknown; f?: string };
    if (key.f !== undefined) return;
    const document = event.operationType === "insert" ? event.fullDocument : undefined;
    const collection = this.#databases.schema.collections.get(key.c);
    if (collection === undefined) return;
    const entry = document && {
      seq: Number(document["seq"]),
      values: valuesIn(recordToJson(collection, bytesOf(document["record"])), "JSON"),
    };
    commit.entries.set(`${key.c}/${String(key.k)}`, entry);
  }
}

function bytesOf(binary: Binary): Uint8Array {
  return binary.value();
}

function receiptOf(document: Document): KeptReceipt {
  const conflicts = ((document["conflicts"] ?? []) as { field: number }[]).map(({ field }) => field);
  return {
    mutationId: String(document["_id"]),
    outcome: document["outcome"],
    reason: document["rejection"]?.reason,
    absent: document["absent"] ?? false,
    conflicts: conflictNames(conflicts),
    atMs: document["at"].getTime(),
  };
}

/** Sorted, oneofs as one. */
export function conflictNames(numbers: readonly number[]): string[] {
  return [...new Set(numbers.map((number) => fieldNumbered(number).name))].sort();
}

export function refDocumentOf(document: Document): RefDocument {
  return { values: valuesIn(document, "BSON"), undeclared: undeclaredIn(document) };
}

function documentAfter(before: Document | undefined, event: Changed): Document | undefined {
  switch (event.operationType) {
    case "insert":
    case "replace":
      return event.fullDocument;
    case "update":
      return updated(before ?? {}, event.updateDescription);
    default:
      return undefined;
  }
}

interface UpdateDescription {
  readonly updatedFields?: Document;
  readonly removedFields?: string[];
  readonly truncatedArrays?: readonly unknown[];
}

function updated(
  before: Document,
  { updatedFields = {}, removedFields = [], truncatedArrays = [] }: UpdateDescription,
) {
  if (truncatedArrays.length > 0) throw new Error("nobody here truncates arrays");
  const after = BSON.deserialize(BSON.serialize(before), { useBigInt64: true, promoteBuffers: false });
  for (const [path, value] of Object.entries(updatedFields)) put(after, path.split("."), value);
  for (const path of removedFields) put(after, path.split("."), undefined);
  return after;
}

function put(document: Document, [key = "", ...rest]: readonly string[], value: unknown): void {
  if (rest.length > 0) {
    document[key] ??= {};
    put(document[key], rest, value);
  } else if (value === undefined) delete document[key];
  else document[key] = value;
}
