// The truth, from the database itself: which values each record held, which scopes it was in and what memberships gave,
// from which cluster time to which, as the change stream tells with the document as each write left it. It renders the
// schema's scopes in its own words, so that a fault of the product's rendering isn't repeated here.
import type { ChangeStream, ChangeStreamDocument, Db, Document } from "mongodb";
import { commitClockOf } from "../../src/model/commit-clock.ts";
import { waitFor } from "../support/wait-for.ts";
import { canariesIn } from "./canaries.ts";

export const FOREVER = 2n ** 62n;

/** From its first moment to before its last. */
export interface Span {
  readonly from: bigint;
  until: bigint;
}

interface Stretch extends Span {
  readonly scopes: readonly string[];
}

interface Membership extends Span {
  readonly principal: string;
  readonly scope: string;
}

/** A word of a record, and when the record held it. */
export interface Known {
  /** `<collection>/<id>`. */
  readonly record: string;
  readonly field: string;
  readonly kind: "id" | "hidden" | "shown";
  readonly spans: Span[];
}

const MARKS = "marks";
const COLLECTIONS = ["notes", "papers", "members", "boards"] as const;
const HIDDEN = new Set(["secret", "place.code", "steps.token"]);

export class Truth {
  readonly #known = new Map<string, Known>();
  readonly #stretches = new Map<string, Stretch[]>();
  readonly #memberships = new Map<string, Membership[]>();
  readonly #rows = new Map<string, Membership>();
  /** The words each record holds now. */
  readonly #held = new Map<string, Map<string, Span>>();
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

  /** Makes the collections and reads from now on. */
  static async of(source: Db): Promise<Truth> {
    for (const name of COLLECTIONS) {
      await source.createCollection(name, { changeStreamPreAndPostImages: { enabled: true } });
    }
    await source.createCollection(MARKS, { changeStreamPreAndPostImages: { enabled: true } });
    const { operationTime: startAtOperationTime } = await source.command({ ping: 1 });
    const options = { fullDocument: "required", maxAwaitTimeMS: 50, startAtOperationTime } as const;
    return new Truth(source, source.watch([], options));
  }

  /** Resolves when all written by now is known. */
  async reachNow(): Promise<void> {
    const name = `mark-${this.#marks++}`;
    const marks = this.#source.collection<{ _id: string }>(MARKS);
    const isRead = () => {
      if (this.#failure !== undefined)
        throw new Error("the source can't be followed", { cause: this.#failure });
      return this.#seen.has(name);
    };
    await marks.insertOne({ _id: name });
    await waitFor(isRead, { what: "the truth" });
    this.#seen.delete(name);
  }

  async close(): Promise<void> {
    await this.#changes.close();
    await this.#reading;
  }

  known(canary: string): Known | undefined {
    return this.#known.get(canary);
  }

  /** The stretches of time in which a record was in the same scopes. */
  stretches(record: string): readonly Stretch[] {
    return this.#stretches.get(record) ?? [];
  }

  /** When memberships gave a principal a scope. */
  memberships(principal: string, scope: string): readonly Span[] {
    return (this.#memberships.get(principal) ?? []).filter((given) => given.scope === scope);
  }

  /** One write, in the order of the database. */
  note(collection: string, id: string, write: { document: Document | undefined; clock: bigint }): void {
    const record = `${collection}/${id}`;
    this.#noteScopes(record, write.document ? scopesOf(collection, write.document) : [], write.clock);
    this.#noteWords(record, write.document, write.clock);
    if (collection === "members") this.#noteMembership(record, write.document, write.clock);
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
    this.note(change.ns.coll, id, { document, clock: commitClockOf(change.clusterTime) });
  }

  #noteScopes(record: string, scopes: readonly string[], clock: bigint): void {
    const stretches = this.#stretches.get(record) ?? [];
    this.#stretches.set(record, stretches);
    const last = stretches.at(-1);
    if (last) last.until = clock;
    stretches.push({ from: clock, until: FOREVER, scopes });
  }

  #noteWords(record: string, document: Document | undefined, clock: bigint): void {
    const words = new Map(document ? wordsOf(document, "") : []);
    const held = this.#heldOf(record);
    for (const [canary, span] of held) {
      if (words.has(canary)) continue;
      span.until = clock;
      held.delete(canary);
    }
    for (const [canary, field] of words) {
      if (held.has(canary)) continue;
      const kind = field === "_id" ? "id" : HIDDEN.has(field) ? "hidden" : "shown";
      const known = this.#known.get(canary) ?? { record, field, kind, spans: [] };
      this.#known.set(canary, known);
      const span = { from: clock, until: FOREVER };
      known.spans.push(span);
      held.set(canary, span);
    }
  }

  #heldOf(record: string): Map<string, Span> {
    const held = this.#held.get(record) ?? new Map<string, Span>();
    this.#held.set(record, held);
    return held;
  }

  #noteMembership(row: string, document: Document | undefined, clock: bigint): void {
    const before = this.#rows.get(row);
    if (before) before.until = clock;
    this.#rows.delete(row);
    const { userId, teamId, right } = document ?? {};
    if (!userId || !teamId || !["READ", "READ_WRITE"].includes(right)) return;
    const given = { principal: userId, scope: `team:${teamId}`, from: clock, until: FOREVER };
    this.#rows.set(row, given);
    this.#memberships.set(userId, [...(this.#memberships.get(userId) ?? []), given]);
  }
}

function scopesOf(collection: string, document: Document): string[] {
  const { ownerId, teamId, watcherIds, opening, userId } = document;
  switch (collection) {
    case "notes": {
      const watchers: string[] = watcherIds ?? [];
      return [
        ...(ownerId ? [`user:${ownerId}`] : []),
        ...(teamId ? [`team:${teamId}`] : []),
        ...watchers.map((id) => `user:${id}`),
        ...(opening ? [`open:${opening}`] : []),
      ];
    }
    case "papers":
      return [...(ownerId ? [`user:${ownerId}`] : []), ...(teamId ? [`team:${teamId}`] : [])];
    case "members":
      return userId ? [`user:${userId}`] : [];
    default:
      return ["public"];
  }
}

/** The canaries of a document with the path of each, lists passed over. */
function* wordsOf(value: unknown, path: string): Generator<[string, string]> {
  if (typeof value === "string") for (const canary of canariesIn(Buffer.from(value))) yield [canary, path];
  else if (Array.isArray(value)) for (const element of value) yield* wordsOf(element, path);
  else if (typeof value === "object" && value !== null) {
    for (const [key, inner] of Object.entries(value))
      yield* wordsOf(inner, path === "" ? key : `${path}.${key}`);
  }
}
