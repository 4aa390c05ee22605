// Quarantine: documents the codec can't encode, with the reason. They count as absent until a good write heals them.
import type { RecordKey } from "./entry.ts";

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
