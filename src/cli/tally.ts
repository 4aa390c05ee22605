// How many changes of each collection a catch-up brought: what one sees of which collection, in a line.
import type { Change } from "#gen/tidemark/v1/change_pb.js";
import { grouped } from "./progress-bar.ts";

/** By collection. */
export type Tally = Map<string, Count>;

interface Count {
  readonly put: number;
  readonly gone: number;
}

export function countChange(tally: Tally, { collection, kind }: Change): void {
  const { put, gone } = tally.get(collection) ?? { put: 0, gone: 0 };
  tally.set(collection, kind.case === "remove" ? { put, gone: gone + 1 } : { put: put + 1, gone });
}

/** `cities 171,075 · lists 2, 1 gone`, collections in the order of their names. */
export function tallyText(tally: Tally): string {
  if (tally.size === 0) return "nothing new";
  return [...tally]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([collection, count]) => `${collection} ${countText(count)}`)
    .join(" · ");
}

function countText({ put, gone }: Count): string {
  if (gone === 0) return grouped(put);
  return put === 0 ? `${grouped(gone)} gone` : `${grouped(put)}, ${grouped(gone)} gone`;
}
