// The truth, by what the witness saw: which words each record held, which scopes it was in and what memberships gave, from
// which commit clock to which. It renders the schema's scopes in its own words, so that a fault of the product's
// rendering isn't repeated here. Pure.
import type { Document } from "mongodb";
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

const HIDDEN = new Set(["secret", "place.code", "steps.token"]);

export class Truth {
  readonly #known = new Map<string, Known>();
  readonly #stretches = new Map<string, Stretch[]>();
  readonly #memberships = new Map<string, Membership[]>();
  readonly #rows = new Map<string, Membership>();
  /** The words each record holds now. */
  readonly #held = new Map<string, Map<string, Span>>();

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
