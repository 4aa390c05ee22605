// What a client asks of pull, and the cursor it resumes with, as the edge hands them over.
import type { Seq } from "./seq.ts";

/** What a client stores and echoes to resume. Only the subscription is signed: the numbers are the client's word. */
export interface Cursor {
  /** Opaque: which feeds, and what is already covered of each. */
  readonly subscription: string;
  readonly position: Seq;
  readonly checkpoint: Seq;
}

/** What streams and pages have in common. */
export interface Selection {
  /** Names of collections; empty: all that the principal may see. */
  readonly collections: readonly string[];
  /** undefined: from the beginning. */
  readonly cursor: Cursor | undefined;
  readonly recordForm: "PROTO" | "JSON";
  /** No deltas. */
  readonly wholeRecords: boolean;
  /** Batches, or pages, are cut at about this. */
  readonly batchBytesMax: number;
}

export interface PullRequest extends Selection {
  readonly mode: "FOLLOW" | "CATCH_UP";
  /** The stream ends after about this many bytes of changes; 0: never. */
  readonly totalBytesMax: number;
  /** How long the stream may stay silent; undefined: the default. */
  readonly heartbeatIntervalMs: number | undefined;
}

export interface ListRequest extends Selection {
  /** How long to wait for news if there are none. */
  readonly waitMs: number;
}
