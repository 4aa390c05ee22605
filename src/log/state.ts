// The log's one `state` document: who leads, up to where readers may see, what time of the source that is.
// Every write to it raises `revision` and is conditional on the one read (see append.ts).
import { Binary, Long, Timestamp } from "mongodb";
import type { Seq } from "../model/seq.ts";

/** A load of a collection; it survives a crash in whatever phase it is. */
export interface LoadProgress {
  /** Stamped on every entry the load meets. Higher than that of any load before. */
  readonly number: number;
  /**
   * `walk`: reading the collection in `_id` order. Then what the walk has not met is looked up again: `entries`,
   * `grants`, `quarantine`.
   */
  readonly phase: "walk" | "entries" | "grants" | "quarantine";
  /** The last `_id` done in this phase; undefined: none yet. */
  readonly last: { readonly key: unknown } | undefined;
  /** Records walked so far, for progress. */
  readonly done: number;
  readonly reason: LoadReason;
}

/**
 * - `first`: the collection is new to the log;
 * - `schema`: its fingerprint changed, every record is encoded anew;
 * - `lost`: the change stream's history is gone;
 * - `replaced`: dropped, renamed or written by `$out`;
 * - `repair`: asked for by an operator;
 * - `removed`: the schema no longer has it: everything leaves, then its state goes.
 */
export type LoadReason = "first" | "schema" | "lost" | "replaced" | "repair" | "removed";

export interface CollectionState {
  readonly name: string;
  /** Raised when the collection's fingerprint changes; entries of older generations are re-encoded by a load. */
  readonly generation: number;
  readonly fingerprint: string;
  /** Entries of a generation below this are withheld: a field was hidden or a scope narrowed since. */
  readonly oldestReadable: number;
  readonly load: LoadProgress | undefined;
}

export interface LogState {
  readonly revision: number;
  readonly term: number;
  /** Of the last write: tells a leader whose commit failed whether it took place. */
  readonly nonce: string;
  readonly epoch: string;
  readonly signingKey: Uint8Array;
  readonly head: Seq;
  readonly horizon: Seq;
  /** Cluster time of the source the log stands at; undefined: nothing ingested yet. */
  readonly clock: Timestamp | undefined;
  /** Resume token of the source's change stream; undefined: start at `clock`. */
  readonly resumeToken: unknown;
  /**
   * Something was read at this time already: no checkpoint before the clock reaches it, and nothing may be read at an
   * earlier one. Undefined: nothing was read beyond `clock`. Loads unsettle the log as well: ask `isSettled`.
   */
  readonly settledAfter: Timestamp | undefined;
  /** The name of the database it is the log of; empty: of none yet. */
  readonly source: string;
  /** Fingerprints of the schemas that have led, the present one last: a node with one of the others is outdated. */
  readonly schemas: readonly string[];
  readonly collections: readonly CollectionState[];
  /** The revision that last changed a grant: a reader at or past it needn't read grants again. */
  readonly grantsRevision: number;
}

/** As `settledAfter`: unsettled, and not known until when; the first ingest replaces it. */
export const NOT_YET_KNOWN = new Timestamp({ t: 0xffff_ffff, i: 0xffff_ffff });

/** The log equals the source at its clock: only then are there checkpoints (P2, P3). */
export function isSettled(state: LogState): boolean {
  return (
    state.clock !== undefined &&
    (state.settledAfter === undefined || state.clock.greaterThanOrEqual(state.settledAfter)) &&
    state.collections.every(({ load }) => load === undefined)
  );
}

export function collectionState(state: LogState, name: string): CollectionState | undefined {
  return state.collections.find((collection) => collection.name === name);
}

export interface StateDocument {
  _id: "log";
  revision: Long | number;
  term: Long | number;
  nonce: string;
  epoch: string;
  key: Binary;
  head: Long | number;
  horizon: Long | number;
  clock: Timestamp | null;
  token: unknown;
  settled_after: Timestamp | null;
  source: string;
  schemas: string[];
  collections: CollectionDocument[];
  grants_revision: Long | number;
}

interface CollectionDocument {
  name: string;
  generation: number;
  fingerprint: string;
  oldest_readable: number;
  load: LoadDocument | null;
}

interface LoadDocument {
  number: number;
  phase: LoadProgress["phase"];
  last: { key: unknown } | null;
  done: number;
  reason: LoadProgress["reason"];
}

export function stateDocument(state: LogState): StateDocument {
  return {
    _id: "log",
    revision: Long.fromNumber(state.revision),
    term: Long.fromNumber(state.term),
    nonce: state.nonce,
    epoch: state.epoch,
    key: new Binary(state.signingKey),
    head: Long.fromNumber(state.head),
    horizon: Long.fromNumber(state.horizon),
    clock: state.clock ?? null,
    token: state.resumeToken ?? null,
    settled_after: state.settledAfter ?? null,
    source: state.source,
    schemas: [...state.schemas],
    collections: state.collections.map(({ oldestReadable, load, ...rest }) => ({
      ...rest,
      oldest_readable: oldestReadable,
      load: load ? { ...load, last: load.last ?? null } : null,
    })),
    grants_revision: Long.fromNumber(state.grantsRevision),
  };
}

export function stateOf(document: StateDocument): LogState {
  return {
    revision: Number(document.revision),
    term: Number(document.term),
    nonce: document.nonce,
    epoch: document.epoch,
    signingKey: new Uint8Array(document.key.buffer),
    head: Number(document.head),
    horizon: Number(document.horizon),
    clock: document.clock ?? undefined,
    resumeToken: document.token ?? undefined,
    settledAfter: document.settled_after ?? undefined,
    source: document.source,
    schemas: document.schemas,
    collections: document.collections.map(({ oldest_readable, load, ...rest }) => ({
      ...rest,
      oldestReadable: oldest_readable,
      load: load ? { ...load, last: load.last ?? undefined } : undefined,
    })),
    grantsRevision: Number(document.grants_revision),
  };
}
