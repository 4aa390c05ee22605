// How deep messages may lie in each other: what every protobuf runtime reads by default.
import { UnfitDocument } from "./unfit-document.ts";

/** Map entries and the levels of google.protobuf.Value count. The record is the first level. */
const DEPTH_MAX = 100;

/** The depth one level further in. @throws UnfitDocument where clients could not follow. */
export function deeper(depth: number): number {
  if (depth >= DEPTH_MAX)
    throw new UnfitDocument(`nested deeper than the ${DEPTH_MAX} levels clients can read`);
  return depth + 1;
}
