// Quarantine: documents the codec can't encode, with the reason. They count as absent until a good write heals them.
import type { RecordKey } from "./entry.ts";
import type { Log } from "./log.ts";

export interface Quarantined {
  readonly key: RecordKey;
  /** Why, for the operator; names fields and types, never values. */
  readonly reason: string;
  /** When, in ms since 1970 by the commit clock. */
  readonly atMs: number;
}

export interface QuarantineDocument {
  _id: RecordKey;
  reason: string;
  at: Date;
}

export function quarantineDocument({ key, reason, atMs }: Quarantined): QuarantineDocument {
  return { _id: key, reason, at: new Date(atMs) };
}

/** Which of these records are in quarantine. */
export async function readQuarantined(log: Log, keys: readonly RecordKey[]): Promise<RecordKey[]> {
  const rows = await log.quarantine
    .find(
      { _id: { $in: [...keys] } },
      { readConcern: "majority", projection: { _id: 1 }, batchSize: keys.length + 1 },
    )
    .toArray();
  return rows.map(({ _id }) => _id);
}
