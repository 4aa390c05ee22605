// The edits of the killed pushes, each with what it means by its fields' rules: every value written is one of its own, so
// that a lost, a doubled or a foreign effect shows. Each update adds a tag of its own: the trace P4 is checked by.
import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import type { MutationSchema } from "#gen/tidemark/v1/mutation_pb.js";
import type { Random } from "../support/random.ts";
import type { CollectionName, Seen } from "./push-schema.ts";

/** What of a record a mutation names; proto JSON names. */
export interface Fields {
  readonly ownerId?: string;
  readonly room?: string;
  readonly score?: number;
  readonly tally?: { readonly likes: number; readonly note?: string };
  readonly tags?: readonly string[];
  readonly label?: string;
  readonly state?: string;
  readonly lock?: string;
  readonly high?: number;
  readonly low?: number;
}

export type EditKind =
  | { readonly case: "create"; readonly content: Fields }
  | { readonly case: "update"; readonly base: Fields; readonly proposed: Fields }
  | { readonly case: "delete"; readonly base: JsonObject | undefined };

export interface Edit {
  readonly mutationId: string;
  readonly collection: CollectionName;
  readonly recordId: string;
  readonly madeAfter: bigint;
  readonly expectedVersion: bigint;
  readonly kind: EditKind;
}

export function keyOfEdit({ collection, recordId }: Pick<Edit, "collection" | "recordId">): string {
  return `${collection}/${recordId}`;
}

/** Nobody's but everybody's: all principals hold the scope. */
export const HALL = "hall";
const LOW_AT_FIRST = 1_000_000;

/** A record whole: of the start, or created. */
export function firstContent(name: string, ownerId: string, room: string): Required<Fields> {
  return {
    ownerId,
    room,
    score: 10,
    tally: { likes: 5, note: `of ${name}` },
    tags: [name],
    label: name,
    state: name,
    lock: name,
    high: 1,
    low: LOW_AT_FIRST,
  };
}

/** @param name unique, and so are the values made from it. */
export function randomUpdate(random: Random, seen: Seen, name: string): EditKind & { case: "update" } {
  const { json } = seen;
  const [score, high, low] = ["score", "high", "low"].map((key) => Number(json[key] ?? 0)) as [
    number,
    number,
    number,
  ];
  const base: JsonObject = { tags: takenAway(random, json) };
  const proposed: JsonObject = { tags: [name] };
  const edit = (key: string, from: JsonObject[string], to: JsonObject[string]) => {
    base[key] = from;
    proposed[key] = to;
  };
  if (random.below(2) === 0) edit("score", score, score + random.of([-3, -1, 1, 2, 5]));
  if (random.below(4) === 0) {
    const likes = likesOf(json);
    edit("tally", { likes }, { likes: likes + random.of([-2, 1, 4]) });
  }
  if (random.below(2) === 0) edit("label", String(json["label"] ?? ""), name);
  if (random.below(3) === 0) edit("state", String(json["state"] ?? ""), name);
  if (random.below(8) === 0) edit("lock", String(json["lock"] ?? ""), name);
  if (random.below(3) === 0) edit("high", high, high + 1 + random.below(9));
  if (random.below(3) === 0) edit("low", low, low - 1 - random.below(9));
  return { case: "update", base: base as Fields, proposed: proposed as Fields };
}

/** Tags the client saw, so that they can be taken away: the more there are the more. */
function takenAway(random: Random, json: JsonObject): string[] {
  const tags = Array.isArray(json["tags"]) ? json["tags"].map(String) : [];
  return tags.length > 4 + random.below(20) ? tags.slice(0, 2) : [];
}

function likesOf({ tally }: JsonObject): number {
  const likes = typeof tally === "object" && tally !== null && "likes" in tally ? tally["likes"] : 0;
  return Number(likes ?? 0);
}

type MutationInit = MessageInitShape<typeof MutationSchema>;

export function mutationOf(edit: Edit): MutationInit {
  const { mutationId, collection, recordId, madeAfter, expectedVersion, kind } = edit;
  const head = { mutationId, collection, recordId, madeAfter, expectedVersion };
  const record = (value: object) => ({ form: { case: "json" as const, value: value as JsonObject } });
  switch (kind.case) {
    case "create":
      return { ...head, kind: { case: "create", value: { record: record(kind.content) } } };
    case "update": {
      const value = { record: record(kind.proposed), base: record(kind.base) };
      return { ...head, kind: { case: "update", value } };
    }
    case "delete":
      return { ...head, kind: { case: "delete", value: kind.base ? { base: record(kind.base) } : {} } };
  }
}
