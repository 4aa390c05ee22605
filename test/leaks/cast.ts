// The cast of one history: its people, teams and records, all named anew, so that many histories play on one server
// without meeting, but for what is public.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Cursor } from "#gen/tidemark/v1/cursor_pb.js";
import type { MutationSchema } from "#gen/tidemark/v1/mutation_pb.js";
import { type Random, randomOf } from "../support/random.ts";
import type { Connection } from "./book.ts";
import { makeCanary } from "./canaries.ts";

export type Mutation = MessageInitShape<typeof MutationSchema>;
export type Place = "notes" | "papers";

export interface Cast {
  readonly name: string;
  readonly seed: string;
  readonly users: readonly string[];
  readonly teams: readonly string[];
  /** By collection: ids of records that come and go. */
  readonly ids: Readonly<Record<Place, readonly string[]>>;
  readonly rows: readonly string[];
  readonly board: string;
  /** Cursors handed out to anybody, for others to try. */
  readonly cursors: { readonly principal: string; readonly cursor: Cursor }[];
  /** Mutations pushed by anybody. */
  readonly pushed: Mutation[];
  /** All that its devices made. */
  readonly connections: Connection[];
}

export function castOf(seed: string): Cast {
  const random = randomOf(seed, "cast");
  const name = `h${random.uuid().slice(0, 8)}`;
  const ids = (count: number) => Array.from({ length: count }, () => makeCanary(random));
  return {
    name,
    seed,
    users: ["ana", "ben", "cleo"].map((user) => `${name}${user}`),
    teams: ["red", "sea"].map((team) => `${name}${team}`),
    ids: { notes: ids(4), papers: ids(2) },
    rows: ids(4),
    board: makeCanary(random),
    cursors: [],
    pushed: [],
    connections: [],
  };
}

export function randomOfPart({ seed }: Cast, part: string): Random {
  return randomOf(seed, part);
}
