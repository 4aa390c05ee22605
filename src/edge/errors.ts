// Errors as callers see them: each reason has one code, told as google.rpc.ErrorInfo, RetryInfo and BadRequest, and
// once more as the metadata `tidemark-reason` and `retry-after` for clients that can't read details.
// What isn't a SyncError is logged with its cause and leaves as a bare INTERNAL.
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { type ErrorReason, SyncError, type SyncErrorDetails } from "../model/sync-error.ts";
import { withoutStack } from "../model/without-stack.ts";
import { classOf } from "../mongo/error-class.ts";
import { denialOf } from "./audit.ts";
import type { Call } from "./call.ts";
import { durationOfMs } from "./durations.ts";

export const REASON_METADATA = "tidemark-reason";
export const RETRY_METADATA = "retry-after";
/** On every answer to a client that is about to go. */
export const DEPRECATION_HEADER = "tidemark-deprecation";

const DOMAIN = "tidemark.dev";
/** How long a client does well to wait for a database that is choosing a new primary. */
const DATABASE_RETRY_MS = 2_000;
const CONTENTION_RETRY_MS = 200;

const codeOfReason: Readonly<Record<ErrorReason, Code>> = {
  TOKEN_MISSING: Code.Unauthenticated,
  TOKEN_INVALID: Code.Unauthenticated,
  TOKEN_EXPIRED: Code.Unauthenticated,
  FORBIDDEN: Code.PermissionDenied,
  INVALID_REQUEST: Code.InvalidArgument,
  CLIENT_TOO_OLD: Code.FailedPrecondition,
  RATE_LIMITED: Code.ResourceExhausted,
  REQUEST_TOO_LARGE: Code.ResourceExhausted,
  SHUTTING_DOWN: Code.Unavailable,
  DATABASE_UNAVAILABLE: Code.Unavailable,
  CONTENTION: Code.Aborted,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  UNSUPPORTED: Code.Unimplemented,
  INTERNAL: Code.Internal,
  OVERLOADED: Code.ResourceExhausted,
  NOT_FOUND: Code.NotFound,
  ISSUER_UNAVAILABLE: Code.Unavailable,
};

/** Of errors Connect itself raises: messages it can't read, deadlines, unknown methods. */
const reasonOfCode: { readonly [C in Code]?: ErrorReason } = {
  [Code.InvalidArgument]: "INVALID_REQUEST",
  [Code.ResourceExhausted]: "REQUEST_TOO_LARGE",
  [Code.DeadlineExceeded]: "DEADLINE_EXCEEDED",
  [Code.Unimplemented]: "UNSUPPORTED",
  [Code.Internal]: "INTERNAL",
  [Code.Unknown]: "INTERNAL",
};

/** The error to send for whatever was thrown; logs what a caller can't have caused, and who was denied what. */
export function toConnectError(error: unknown, call: Call): ConnectError {
  if (error instanceof ConnectError) return withReason(error);
  const known = error instanceof SyncError ? error : databaseError(error);
  if (known && known.reason !== "INTERNAL") {
    if (known.reason === "DATABASE_UNAVAILABLE")
      call.logger.warn({ err: known.cause }, "database unavailable");
    const denial = denialOf(known, call);
    if (denial) call.audit.denied(call, denial);
    return connectErrorOf(known);
  }
  call.logger.error({ err: error }, "call failed");
  return connectErrorOf(
    new SyncError("INTERNAL", `internal error; report request id ${call.requestId}`, {
      metadata: { request_id: call.requestId },
    }),
  );
}

export function connectErrorOf(error: SyncError): ConnectError {
  const told = withoutStack(() => new ConnectError(error.message, codeOfReason[error.reason]));
  return decorate(told, error.reason, error.details);
}

/** How Connect refuses a request by its size. */
const TOO_LARGE = /larger than configured readMaxBytes (\d+)/;

/**
 * Adds the reason to an error of Connect's own, in place, so that it can be done to one already on its way out.
 * Codes Connect doesn't use for faults stay as they are: a cancelled call has nobody to read a reason.
 */
export function withReason(error: ConnectError): ConnectError {
  const reason = reasonOfCode[error.code];
  if (reason === undefined || error.metadata.has(REASON_METADATA)) return error;
  const [, bytesMax] = TOO_LARGE.exec(error.rawMessage) ?? [];
  if (bytesMax !== undefined) {
    const rawMessage = `the request is larger than the ${bytesMax} bytes this server takes: split it`;
    Object.assign(error, { rawMessage, message: `[${Code[error.code]}] ${rawMessage}` });
  }
  return decorate(error, reason, {});
}

function decorate(error: ConnectError, reason: ErrorReason, details: SyncErrorDetails): ConnectError {
  const { metadata = {}, violations = [], retryAfterMs } = details;
  error.metadata.set(REASON_METADATA, reason);
  error.details.push({ desc: ErrorInfoSchema, value: { reason, domain: DOMAIN, metadata } });
  if (retryAfterMs !== undefined) {
    error.metadata.set(RETRY_METADATA, String(Math.ceil(retryAfterMs / 1000)));
    error.details.push({ desc: RetryInfoSchema, value: { retryDelay: durationOfMs(retryAfterMs) } });
  }
  if (violations.length > 0) {
    const fieldViolations = violations.map(({ path, ruleId, message }) => ({
      field: path,
      description: message,
      reason: ruleId,
    }));
    error.details.push({ desc: BadRequestSchema, value: { fieldViolations } });
  }
  return error;
}

function databaseError(error: unknown): SyncError | undefined {
  switch (classOf(error)) {
    case "unavailable":
      return new SyncError("DATABASE_UNAVAILABLE", "the database can't be reached; try again", {
        retryAfterMs: DATABASE_RETRY_MS,
        cause: error,
      });
    case "transient":
      return new SyncError("CONTENTION", "lost a race in the database too often; try again", {
        retryAfterMs: CONTENTION_RETRY_MS,
        cause: error,
      });
    default:
      return undefined;
  }
}
