// The audit: one line for every attempt that was denied for who made it, or how often. Never a token, a record's
// value, or a name the caller may not know. A flood is counted whole and written in part: a few lines per reason and
// address, then how many were left out.
import { addressGroup } from "../access/address.ts";
import type { Clock } from "../model/clock.ts";
import type { Logger } from "../model/logger.ts";
import type { Metrics } from "../model/metrics.ts";
import type { ErrorReason, SyncError } from "../model/sync-error.ts";
import type { Call } from "./call.ts";

export interface Denial {
  readonly reason: ErrorReason;
  /** What exactly was wrong, as a word of ours. */
  readonly fault?: string | undefined;
  readonly collection?: string;
  readonly recordId?: string;
}

export interface Audit {
  /** Never throws. */
  denied(call: Call, denial: Denial): void;
  /** Of a TLS client whose certificate isn't taken; `fault` is OpenSSL's word for it. */
  refusedCertificate(address: string, fault: string): void;
  /** Writes how many lines were left out so far. */
  close(): void;
}

export interface AuditOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const REASONS: ReadonlySet<ErrorReason> = new Set<ErrorReason>([
  "TOKEN_MISSING",
  "TOKEN_INVALID",
  "TOKEN_EXPIRED",
  "FORBIDDEN",
  "CLIENT_TOO_OLD",
  "RATE_LIMITED",
]);

/** The denial an error is; undefined: it is none. */
export function denialOf({ reason, details }: SyncError, call: Call): Denial | undefined {
  // A stream whose token runs out was let in rightly, and ends as it was to.
  const hasEnded = reason === "TOKEN_EXPIRED" && call.principal !== undefined;
  return REASONS.has(reason) && !hasEnded ? { reason, fault: details.metadata?.["fault"] } : undefined;
}

/** Lines per reason and address in one window: enough to see what is going on. */
const LINES_MAX = 10;
const WINDOW_MS = 60_000;
/** Reasons and addresses told apart in one window; the rest share one count per reason. */
const SOURCES_MAX = 1_000;

type Reason = ErrorReason | "CLIENT_CERTIFICATE";

interface Source {
  readonly reason: Reason;
  /** Undefined: all that are not told apart. */
  readonly address: string | undefined;
  denials: number;
}

export function createAudit({ clock, logger, metrics }: AuditOptions): Audit {
  const sources = new Map<string, Source>();
  const closed = new AbortController();
  return {
    denied(call, denial) {
      const { reason, fault, ...about } = denial;
      if (!countOne(reason, call.address)) return;
      const { principal, client, address, procedure } = call;
      const who = { principal: principal?.id ?? "", device: principal?.device ?? client?.device ?? "" };
      const line = { audit: "denied", reason, ...(fault !== undefined && { fault }), ...who };
      call.logger.warn({ ...line, address, procedure, ...about }, "denied");
    },
    refusedCertificate(address, fault) {
      const reason = "CLIENT_CERTIFICATE";
      if (countOne(reason, address)) logger.warn({ audit: "denied", reason, fault, address }, "denied");
    },
    close: () => closed.abort(),
  };

  /** @returns whether it still gets a line of its own. */
  function countOne(reason: Reason, address: string): boolean {
    metrics.count("denied_total", { reason });
    return ++sourceOf(reason, addressGroup(address)).denials <= LINES_MAX;
  }

  function sourceOf(reason: Reason, address: string): Source {
    if (sources.size === 0) void endWindow();
    const isKnown = sources.has(`${reason} ${address}`) || sources.size < SOURCES_MAX;
    const key = isKnown ? `${reason} ${address}` : reason;
    const source = sources.get(key) ?? { reason, address: isKnown ? address : undefined, denials: 0 };
    sources.set(key, source);
    return source;
  }

  /** Begins with the first denial; the next one after it begins another. */
  async function endWindow(): Promise<void> {
    await clock.sleep(WINDOW_MS, closed.signal);
    for (const { reason, address, denials } of sources.values()) {
      const leftOut = denials - LINES_MAX;
      if (leftOut > 0) logger.warn({ audit: "denied", reason, address, leftOut }, "denials left out");
    }
    sources.clear();
  }
}
