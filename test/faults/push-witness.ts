// The database's own change stream as the witness of what was committed, and when: commit by commit, the receipts it
// holds and what it made of each record.
import type { ChangeStream, ChangeStreamDocument, Document } from "mongodb";
import { type CommitClock, commitClockOf } from "../../src/model/commit-clock.ts";
import type { TestDatabase } from "../support/mongo.ts";

export interface Write {
  readonly kind: "insert" | "update" | "replace" | "delete";
  /** `<collection>/<record id>`. */
  readonly key: string;
  /** What it made of `score`; undefined: left it, or deleted the record. */
  readonly score: number | undefined;
}

/** One transaction, or one direct write. */
export interface Commit {
  readonly clock: CommitClock;
  /** Ids of mutations whose receipts it holds. */
  readonly receipts: string[];
  readonly writes: Write[];
}

export class Witness {
  readonly #database: TestDatabase;
  readonly #stream: ChangeStream;
  readonly #watching: Promise<Commit[]>;

  private constructor(database: TestDatabase, stream: ChangeStream) {
    this.#database = database;
    this.#stream = stream;
    this.#watching = this.#watch();
    // Told by end().
    this.#watching.catch(() => {});
  }

  /** Sees all that is committed from now on. */
  static async start(database: TestDatabase): Promise<Witness> {
    const databases = { $in: [database.sourceDb, database.tidemarkDb] };
    const collections = { $nin: ["entries", "state", "lease", "nodes", "graves", "feedsets"] };
    const stream = database.client.watch([{ $match: { "ns.db": databases, "ns.coll": collections } }]);
    await stream.tryNext();
    return new Witness(database, stream);
  }

  /** All commits up to now, in order. */
  async end(): Promise<Commit[]> {
    await this.#database.source.collection<{ _id: string }>("end").insertOne({ _id: "end" });
    return await this.#watching;
  }

  async close(): Promise<void> {
    await this.#stream.close();
  }

  async #watch(): Promise<Commit[]> {
    const commits = new Map<CommitClock, Commit>();
    for (;;) {
      const event = await this.#stream.next();
      if (!("documentKey" in event) || event.clusterTime === undefined) continue;
      const { coll } = event.ns;
      if (coll === "end") break;
      const clock = commitClockOf(event.clusterTime);
      const commit = commits.get(clock) ?? { clock, receipts: [], writes: [] };
      commits.set(clock, commit);
      const id = String(event.documentKey._id);
      if (coll === "ledger") commit.receipts.push(id);
      else commit.writes.push(writeOf(event, `${coll}/${id}`));
    }
    return [...commits.values()];
  }
}

function writeOf(event: ChangeStreamDocument, key: string): Write {
  switch (event.operationType) {
    case "insert":
    case "replace":
      return { kind: event.operationType, key, score: scoreIn(event.fullDocument) };
    case "update":
      return { kind: "update", key, score: scoreIn(event.updateDescription.updatedFields) };
    default:
      return { kind: "delete", key, score: undefined };
  }
}

function scoreIn(fields: Document | undefined): number | undefined {
  return typeof fields?.["score"] === "number" ? fields["score"] : undefined;
}
