// Who calls: from the `authorization` header to a principal with what its claims grant. HS256 tokens only, whatever
// the token itself says; in dev mode also `Bearer dev-<principal>`. Callers without a token are let in only if the
// schema grants them something.
import { errors, type JWTPayload, jwtVerify } from "jose";
import type { Clock } from "../model/clock.ts";
import type { Principal } from "../model/principal.ts";
import { SyncError } from "../model/sync-error.ts";
import type { Schema } from "../schema/schema.ts";
import { grantsOfClaims } from "../schema/scopes.ts";
import { readClientHeader } from "./client-header.ts";

export interface AuthenticatorOptions {
  readonly schema: Schema;
  /** Accept `dev-<principal>` in place of a token. */
  readonly devMode: boolean;
  /** HS256; absent: no token is accepted. */
  readonly tokenSecret?: string | undefined;
  readonly clock: Clock;
}

/**
 * The principal of a call, by its headers `authorization` and `tidemark-client`.
 * @throws SyncError TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED; INVALID_REQUEST for an unreadable client header.
 */
export type Authenticate = (
  authorization: string | undefined,
  clientHeader: string | undefined,
) => Promise<Principal>;

/** Tokens are accepted this long after they expire and before they begin: clocks differ. */
const CLOCK_TOLERANCE_SECONDS = 30;
const TOKEN_LENGTH_MAX = 16_384;
const PRINCIPAL_LENGTH_MAX = 256;
const DEV_PREFIX = "dev-";
/** True, and nothing else, makes its principal a service. */
export const SERVICE_CLAIM = "tidemark_service";

export function createAuthenticator(options: AuthenticatorOptions): Authenticate {
  const { schema } = options;
  const key = options.tokenSecret ? new TextEncoder().encode(options.tokenSecret) : undefined;
  const anonymousGrants = grantsOfClaims(schema, undefined);
  return async (authorization, clientHeader) => {
    const device = readClientHeader(clientHeader)?.device ?? "";
    if (authorization === undefined || authorization.trim() === "") {
      if (anonymousGrants.size === 0) throw missing();
      return { id: "", claimGrants: anonymousGrants, device, isService: false, expiresAtMs: undefined };
    }
    const token = bearerToken(authorization);
    const claims =
      options.devMode && token.startsWith(DEV_PREFIX)
        ? { sub: token.slice(DEV_PREFIX.length) }
        : await verifiedClaims(token, key, options.clock.nowMs());
    return principalOf(schema, claims, device);
  };
}

function principalOf(schema: Schema, claims: JWTPayload, device: string): Principal {
  const { sub: id, exp } = claims;
  if (typeof id !== "string" || id === "" || id.length > PRINCIPAL_LENGTH_MAX) {
    throw invalid(`the token's sub must name the principal, in 1 to ${PRINCIPAL_LENGTH_MAX} characters`);
  }
  // A stream ends only when its token would no longer be accepted: else its client would come back with the same
  // token, be let in and be sent away again.
  const expiresAtMs = exp === undefined ? undefined : (exp + CLOCK_TOLERANCE_SECONDS) * 1000;
  const isService = claims[SERVICE_CLAIM] === true;
  return { id, claimGrants: grantsOfClaims(schema, claims), device, isService, expiresAtMs };
}

function bearerToken(authorization: string): string {
  const token = /^bearer +(\S+) *$/i.exec(authorization.trim())?.[1];
  if (token === undefined || token.length > TOKEN_LENGTH_MAX) {
    throw invalid("the header authorization must read: Bearer <token>");
  }
  return token;
}

async function verifiedClaims(
  token: string,
  key: Uint8Array | undefined,
  nowMs: number,
): Promise<JWTPayload> {
  if (key === undefined)
    throw invalid("this server takes no tokens; in dev mode send: Bearer dev-<principal>");
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: ["HS256"],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate: new Date(nowMs),
    });
    return payload;
  } catch (error) {
    throw refusedToken(error);
  }
}

function refusedToken(cause: unknown): SyncError {
  return cause instanceof errors.JWTExpired
    ? new SyncError("TOKEN_EXPIRED", "the token has expired: fetch a new one and resume", { cause })
    : new SyncError("TOKEN_INVALID", "the token can't be read or isn't signed with this server's key", {
        cause,
      });
}

function missing(): SyncError {
  return new SyncError("TOKEN_MISSING", "send the header authorization: Bearer <token>");
}

function invalid(message: string): SyncError {
  return new SyncError("TOKEN_INVALID", message);
}
