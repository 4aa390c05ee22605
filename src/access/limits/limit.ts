// Which limits there are: what is counted, for whom, how much of it a window holds, and how a refusal tells it.
import type { Principal } from "../../model/principal.ts";
import { SyncError } from "../../model/sync-error.ts";
import { addressGroup } from "../address.ts";

/** What is counted over a window of time. */
export type Counted = "Requests" | "Mutations" | "OpenedStreams" | "Megabytes";

/** From the narrowest to the widest: in this order they are asked. */
export const HOLDERS = ["Device", "Principal", "Address"] as const;
export type Holder = (typeof HOLDERS)[number];

/** As the settings of the same names; 0: no limit. */
export type LimitSettings = Readonly<
  Record<`limit${Counted}Per${Holder}`, number> & {
    limitWindowSeconds: number;
    streamsPerPrincipalMax: number;
    streamsPerAddressMax: number;
    streamsPerNodeMax: number;
  }
>;

/** Whom a call counts for. */
export interface Caller {
  /** Undefined: not known, or not known yet. */
  readonly principal: Principal | undefined;
  /** The IP address; empty: unknown, and then no address is counted. */
  readonly address: string;
}

/** A limit that is over, and for how long. */
export interface Refusal {
  /** In words a program can use: `requests`, `open_streams`. */
  readonly limit: string;
  readonly per: string;
  readonly value: number;
  readonly retryAfterMs: number;
}

/**
 * The name under which a holder is counted; undefined: it isn't. Services are trusted parts of the team's backend and
 * only counted while they are unknown, anonymous callers only by their address, devices only if they name themselves.
 */
export function keyOf(holder: Holder, { principal, address }: Caller): string | undefined {
  if (principal?.isService) return undefined;
  if (holder === "Address") return address === "" ? undefined : addressGroup(address);
  if (principal === undefined || principal.id === "") return undefined;
  if (holder === "Principal") return principal.id;
  return principal.device === "" ? undefined : JSON.stringify([principal.id, principal.device]);
}

/** What the caller is told: which limit, and when to come back. */
export function refusedFor({ limit, per, value, retryAfterMs }: Refusal): SyncError {
  const what = limit.replaceAll("_", " ");
  const when = `${Math.ceil(retryAfterMs / 1000)} s`;
  return new SyncError(
    "RATE_LIMITED",
    `this ${per} is over its limit of ${value} ${what}: try again in ${when}`,
    {
      retryAfterMs,
      metadata: { limit, per, value: String(value) },
    },
  );
}

/** `OpenedStreams` → `opened_streams`, as errors, metrics and keys write it. */
export function nameOf(counted: Counted): string {
  return counted.replace(/(?<=.)[A-Z]/g, "_$&").toLowerCase();
}
