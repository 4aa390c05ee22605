// What ingest tells of itself, for readiness, progress bars and `doctor`.
import { isSettled, type LoadProgress, type LoadReason, type LogState } from "../log/state.ts";
import type { Clock } from "../model/clock.ts";

export interface LoadStatus {
  readonly collection: string;
  readonly reason: LoadReason;
  readonly phase: LoadProgress["phase"];
  /** Records walked so far. */
  readonly done: number;
  /** About how many there are; undefined: not known on this node. */
  readonly total: number | undefined;
}

export interface IngestStatus {
  readonly role: "LEADING" | "FOLLOWING" | "CLOSED";
  /** The log equalled the source at its clock when last looked at: readers get checkpoints. */
  readonly settled: boolean;
  /** The log has been led by this schema: from then on what it hides, and an older one showed, is withheld. */
  readonly isSchemaKnown: boolean;
  /** Loads under way or waiting. */
  readonly loads: readonly LoadStatus[];
  /** Of the log when last looked at; undefined: not yet. */
  readonly head: number | undefined;
  /** The time of the source at which the log stood then, in seconds since 1970. */
  readonly clockSeconds: number | undefined;
  /** Documents that can't be encoded, about. */
  readonly quarantined: number;
  /** The last failure, until something has succeeded since. */
  readonly lastError: { readonly message: string; readonly atMs: number } | undefined;
}

export interface StatusKeeper {
  present(): IngestStatus;
  become(role: IngestStatus["role"]): void;
  /** A state of the log as read or written. */
  observe(state: LogState): void;
  count(quarantined: number): void;
  estimate(collection: string, total: number): void;
  /** Whether the size of a loading collection was told. */
  isEstimated(collection: string): boolean;
  failed(error: unknown): void;
}

export function createStatusKeeper(clock: Clock, fingerprint: string): StatusKeeper {
  let role: IngestStatus["role"] = "FOLLOWING";
  let state: LogState | undefined;
  let quarantined = 0;
  let lastError: IngestStatus["lastError"];
  const totals = new Map<string, number>();
  return {
    present: () => ({
      role,
      settled: state !== undefined && isSettled(state),
      isSchemaKnown: state?.schemas.includes(fingerprint) ?? false,
      loads: loadsOf(state, totals),
      head: state?.head,
      clockSeconds: state?.clock?.getHighBitsUnsigned(),
      quarantined,
      lastError,
    }),
    become(next) {
      role = next;
    },
    observe(seen) {
      state = seen;
      lastError = undefined;
    },
    count(documents) {
      quarantined = documents;
    },
    estimate(collection, total) {
      totals.set(collection, total);
    },
    isEstimated: (collection) => totals.has(collection),
    failed(error) {
      lastError = { message: error instanceof Error ? error.message : String(error), atMs: clock.nowMs() };
    },
  };
}

function loadsOf(state: LogState | undefined, totals: ReadonlyMap<string, number>): LoadStatus[] {
  return (state?.collections ?? []).flatMap(({ name, load }) => {
    if (!load) return [];
    const { reason, phase, done } = load;
    return { collection: name, reason, phase, done, total: totals.get(name) };
  });
}
