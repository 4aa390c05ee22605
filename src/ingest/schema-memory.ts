// What earlier schemas showed, remembered in the log's database by fingerprint, so that a later leader can tell whether
// its own schema hides anything. Written before the state that names the fingerprint, and never changed.
import type { Log } from "../log/log.ts";
import type { Schema } from "../schema/schema.ts";
import { type Shown, shownBy } from "./schema-plan.ts";

interface ShownDocument {
  _id: string;
  fields: string[];
  scopes: string[];
  /** Absent where an earlier version of Tidemark remembered. */
  grant?: string | undefined;
}

export async function rememberShown(log: Log, schema: Schema): Promise<void> {
  const operations = [...schema.collections.values()].map((collection) => {
    const { fields, scopes, grant } = shownBy(collection);
    const update = { $setOnInsert: { fields: [...fields], scopes: [...scopes], grant } };
    return { updateOne: { filter: { _id: collection.fingerprint }, update, upsert: true } };
  });
  if (operations.length > 0) await memory(log).bulkWrite(operations, { ordered: false });
}

export async function recallShown(log: Log, fingerprints: readonly string[]): Promise<Map<string, Shown>> {
  const found = await memory(log)
    .find({ _id: { $in: [...fingerprints] } }, { readConcern: "majority" })
    .toArray();
  return new Map(found.map(({ _id, fields, scopes, grant }) => [_id, { fields, scopes, grant }]));
}

function memory(log: Log) {
  return log.db.collection<ShownDocument>("schemas");
}
