// The witness: tells the truth of each write to the source in the database's own order, by a change stream that brings
// the document as each write left it.
import type { ChangeStream, ChangeStreamDocument, Db } from "mongodb";
import { commitClockOf } from "../../src/model/commit-clock.ts";
import { waitFor } from "../support/wait-for.ts";
import { Truth } from "./truth.ts";

const MARKS = "marks";
const COLLECTIONS = ["notes", "papers", "members", "boards", MARKS] as const;

export class Witness {
  readonly truth = new Truth();
  readonly #source: Db;
  readonly #changes: ChangeStream;
  readonly #reading: Promise<void>;
  readonly #seen = new Set<string>();
  #failure: unknown;
  #marks = 0;

  private constructor(source: Db, changes: ChangeStream) {
    this.#source = source;
    this.#changes = changes;
    this.#reading = this.#read().catch((error: unknown) => {
      this.#failure = error;
    });
  }

  /** Makes the collections and watches from now on. */
  static async of(source: Db): Promise<Witness> {
    for (const name of COLLECTIONS) {
      await source.createCollection(name, { changeStreamPreAndPostImages: { enabled: true } });
    }
    const { operationTime: startAtOperationTime } = await source.command({ ping: 1 });
    const options = { fullDocument: "required", maxAwaitTimeMS: 50, startAtOperationTime } as const;
    return new Witness(source, source.watch([], options));
  }

  /** Resolves when all written by now is told. */
  async reachNow(): Promise<void> {
    const name = `mark-${this.#marks++}`;
    await this.#source.collection<{ _id: string }>(MARKS).insertOne({ _id: name });
    const isSeen = () => {
      if (this.#failure !== undefined)
        throw new Error("the source can't be followed", { cause: this.#failure });
      return this.#seen.has(name);
    };
    await waitFor(isSeen, { what: "the truth" });
    this.#seen.delete(name);
  }

  async close(): Promise<void> {
    await this.#changes.close();
    await this.#reading;
  }

  async #read(): Promise<void> {
    for (;;) {
      const change = await this.#changes.next().catch((error: unknown) => {
        if (this.#changes.closed) return undefined;
        throw error;
      });
      if (change === undefined) return;
      this.#take(change);
    }
  }

  #take(change: ChangeStreamDocument): void {
    if (!("documentKey" in change) || !("ns" in change) || !("coll" in change.ns)) return;
    const id = String(change.documentKey._id);
    if (change.ns.coll === MARKS) {
      this.#seen.add(id);
      return;
    }
    const document = "fullDocument" in change ? change.fullDocument : undefined;
    if (change.clusterTime === undefined) throw new Error("a change has a time");
    this.truth.note(change.ns.coll, id, { document, clock: commitClockOf(change.clusterTime) });
  }
}
