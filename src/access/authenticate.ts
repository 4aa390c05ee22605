// Who calls: from the `authorization` header to a principal with what its claims grant. Tokens are verified as
// verify-token.ts says; in dev mode there is also `Bearer dev-<principal>`. Callers without a token are let in only if
// the schema grants them something.
import type { JWTPayload } from "jose";
import type { Principal } from "../model/principal.ts";
import { SyncError } from "../model/sync-error.ts";
import { tokenError } from "../model/token-fault.ts";
import type { Schema } from "../schema/schema.ts";
import { grantsOfClaims } from "../schema/scopes.ts";
import { isDevice, readClientHeader } from "./client-header.ts";
import { createTokenVerifier, type TokenRules, type VerifiedToken } from "./verify-token.ts";

export interface AuthenticatorOptions extends TokenRules {
  readonly schema: Schema;
  /** Accept `dev-<principal>` in place of a token. */
  readonly devMode: boolean;
  /** The claim that names the device; absent: the client's own word counts. */
  readonly deviceClaim?: string | undefined;
}

/**
 * The principal of a call, by its headers `authorization` and `tidemark-client`.
 * @throws SyncError TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED, ISSUER_UNAVAILABLE; INVALID_REQUEST for an unreadable
 *   client header.
 */
export type Authenticate = (
  authorization: string | undefined,
  clientHeader: string | undefined,
) => Promise<Principal>;

/** What common proxies take as one header. */
const TOKEN_LENGTH_MAX = 8_192;
const PRINCIPAL_LENGTH_MAX = 256;
const DEV_PREFIX = "dev-";
/** True, and nothing else, makes its principal a service. */
export const SERVICE_CLAIM = "tidemark_service";

export function createAuthenticator(options: AuthenticatorOptions): Authenticate {
  const { schema, devMode, deviceClaim } = options;
  const verify = createTokenVerifier(options);
  const anonymousGrants = grantsOfClaims(schema, undefined);
  return async (authorization, clientHeader) => {
    const named = readClientHeader(clientHeader)?.device ?? "";
    if (authorization === undefined || authorization.trim() === "") {
      if (anonymousGrants.size === 0) throw missing();
      const anonymous = { id: "", isService: false, expiresAtMs: undefined };
      return { ...anonymous, claimGrants: anonymousGrants, device: named };
    }
    const token = bearerToken(authorization);
    const { claims, expiresAtMs }: VerifiedToken =
      devMode && token.startsWith(DEV_PREFIX)
        ? { claims: { sub: token.slice(DEV_PREFIX.length) }, expiresAtMs: undefined }
        : await verify(token);
    const claimed = deviceClaim === undefined ? undefined : deviceIn(claims, deviceClaim);
    return {
      id: subjectOf(claims),
      claimGrants: grantsOfClaims(schema, claims),
      device: claimed ?? named,
      isService: claims[SERVICE_CLAIM] === true,
      expiresAtMs,
    };
  };
}

function subjectOf({ sub }: JWTPayload): string {
  if (typeof sub !== "string" || sub === "" || sub.length > PRINCIPAL_LENGTH_MAX) throw tokenError("subject");
  // Halves of a surrogate pair become one and the same replacement character in the database: two principals, one name.
  if (/\p{Cc}/u.test(sub) || !sub.isWellFormed()) throw tokenError("subject");
  return sub;
}

/** Undefined: the token names none, as of a login that knows no device. */
function deviceIn(claims: JWTPayload, claim: string): string | undefined {
  const device = Object.hasOwn(claims, claim) ? claims[claim] : undefined;
  if (device === undefined || device === null || device === "") return undefined;
  if (typeof device === "string" && isDevice(device)) return device;
  const message = "the token's claim for the device must be a text of 1 to 128 printable ASCII characters";
  throw tokenError("claims", message);
}

function bearerToken(authorization: string): string {
  const token = /^bearer +(\S+) *$/i.exec(authorization.trim())?.[1];
  if (token === undefined || token.length > TOKEN_LENGTH_MAX) throw tokenError("malformed");
  return token;
}

function missing(): SyncError {
  return new SyncError("TOKEN_MISSING", "send the header authorization: Bearer <token>");
}
