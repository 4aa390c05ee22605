// How entries of a collection are written at present: by the schema, and by the log's state of the collection.
import type { Timestamp } from "mongodb";
import { collectionState, type LogState } from "../log/state.ts";
import type { Schema } from "../schema/schema.ts";
import { millisecondsOf } from "./cluster-time.ts";
import type { Writing } from "./record-change.ts";

/** @param options.loading it is the collection's load that writes. */
export function writingOf(
  state: LogState,
  name: string,
  { schema, time, loading = false }: { schema: Schema; time: Timestamp; loading?: boolean },
): Writing {
  const { generation = 1, oldestReadable = 1, load } = collectionState(state, name) ?? {};
  const collection = schema.collections.get(name);
  return { collection, generation, oldestReadable, load: load?.number, loading, atMs: millisecondsOf(time) };
}
