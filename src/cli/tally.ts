// How many changes of each collection a catch-up brought: what one sees of which collection, in a line.
import type { Change } from "#gen/tidemark/v1/change_pb.js";
import { grouped } from "./progress-bar.ts";

/** By collection. */
export type Tally = Map<string, Count>;

interface Count {
  put: number;
  /** Ids of records removed and not put again. */
  readonly gone: Set<string>;
}

/** False, and not counted: a remove of what is gone already, as of a record that leaves by two scopes at once. */
export function countChange(tally: Tally, { collection, recordId, kind }: Change): boolean {
  const count = tally.get(collection) ?? { put: 0, gone: new Set() };
  tally.set(collection, count);
  if (kind.case === "remove") {
    const isNew = !count.gone.has(recordId);
    count.gone.add(recordId);
    return isNew;
  }
  count.gone.delete(recordId);
  count.put += 1;
  return true;
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
  if (gone.size === 0) return grouped(put);
  return put === 0 ? `${grouped(gone.size)} gone` : `${grouped(put)}, ${grouped(gone.size)} gone`;
}
