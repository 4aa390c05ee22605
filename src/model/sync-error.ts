// SyncError: every failure a caller can cause or must react to, with a closed reason.
// The edge maps each reason to a code once; anything that isn't a SyncError leaves as a bare INTERNAL.

/** As tidemark.v1.ErrorReason, without prefix and UNSPECIFIED; test/edge guards that they stay equal. */
export type ErrorReason =
  | "TOKEN_MISSING"
  | "TOKEN_INVALID"
  | "TOKEN_EXPIRED"
  | "FORBIDDEN"
  | "INVALID_REQUEST"
  | "CLIENT_TOO_OLD"
  | "RATE_LIMITED"
  | "REQUEST_TOO_LARGE"
  | "SHUTTING_DOWN"
  | "DATABASE_UNAVAILABLE"
  | "CONTENTION"
  | "DEADLINE_EXCEEDED"
  | "UNSUPPORTED"
  | "INTERNAL"
  | "OVERLOADED"
  | "NOT_FOUND"
  | "ISSUER_UNAVAILABLE";

/** One broken rule of a request or record. */
export interface Violation {
  /** The field, as a path of proto names: `place.lat`, `tags[3]`. */
  readonly path: string;
  readonly ruleId: string;
  readonly message: string;
}

export interface SyncErrorDetails {
  /** ErrorInfo metadata: facts a program may use. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly Violation[];
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

export class SyncError extends Error {
  override readonly name = "SyncError";
  readonly reason: ErrorReason;
  readonly details: SyncErrorDetails;

  /** @param message what happened and what to do, for the caller's developer; never a secret, path or stack. */
  constructor(reason: ErrorReason, message: string, details: SyncErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.reason = reason;
    this.details = details;
  }
}
