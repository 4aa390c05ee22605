// Keeps a descriptor's comments at their elements when elements are removed: SourceCodeInfo addresses them by index.
import { clone } from "@bufbuild/protobuf";
import { type SourceCodeInfo_Location, SourceCodeInfo_LocationSchema } from "@bufbuild/protobuf/wkt";

/** Elements removed from one list, by their old indexes. */
export interface Removal {
  /** The list's path, by old indexes: `[4, 0, 2]` is the first message's fields. */
  readonly list: readonly number[];
  readonly removed: ReadonlySet<number>;
}

/** The locations that remain, at their new indexes. Those of options go: their comments may tell of what went. */
export function withoutLocations(
  locations: readonly SourceCodeInfo_Location[],
  removals: readonly Removal[],
): SourceCodeInfo_Location[] {
  const byList = new Map(
    removals.filter(({ removed }) => removed.size > 0).map((each) => [each.list.join(), each]),
  );
  return locations.flatMap((location) => {
    const path = isOfOptions(location.path) ? undefined : renumber(location.path, byList);
    if (path === undefined) return [];
    const moved = clone(SourceCodeInfo_LocationSchema, location);
    moved.path = path;
    return [moved];
  });
}

function renumber(path: readonly number[], byList: ReadonlyMap<string, Removal>): number[] | undefined {
  const moved = [...path];
  for (let length = 1; length < path.length; length++) {
    const index = path[length];
    const removed = byList.get(path.slice(0, length).join())?.removed;
    if (removed === undefined || index === undefined) continue;
    if (removed.has(index)) return undefined;
    moved[length] = index - [...removed].filter((each) => each < index).length;
  }
  return moved;
}

/** Whether the path leads into the options of a file, message or field. */
function isOfOptions(path: readonly number[]): boolean {
  if (path[0] === 8) return true;
  if (path[0] !== 4) return false;
  let at = 2;
  while (path[at] === 3) at += 2;
  if (path[at] === 7) return true;
  return path[at] === 2 && path[at + 2] === 8;
}
