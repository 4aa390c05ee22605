// A token: from its text to claims that can be relied on. Which key it is checked with follows from its `alg` and `kid`
// alone, and only this server's own keys come into question: a header that brings a key along, or says where to fetch
// one (jwk, jku, x5c, x5u), is not followed, and one that must be understood (crit) isn't.
import { decodeJwt, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";
import type { Clock } from "../model/clock.ts";
import { SyncError } from "../model/sync-error.ts";
import { type TokenFault, tokenError } from "../model/token-fault.ts";
import { KEY_SET_ALGORITHMS, SECRET_ALGORITHM, TOKEN_ALGORITHMS } from "./algorithms.ts";
import { ambiguous } from "./key-set.ts";
import type { KeyQuery, KeySource } from "./key-source.ts";

export interface TokenRules {
  /** Absent: no token of a secret is accepted. */
  readonly tokenSecret?: string | undefined;
  /** None: no token of an issuer's keys is accepted. */
  readonly keySources?: readonly KeySource[];
  /** The `iss` tokens must have; absent: any. */
  readonly tokenIssuer?: string | undefined;
  /** One of these must be in `aud`; empty: any will do. */
  readonly tokenAudience?: readonly string[];
  /** Tokens are accepted this long after they expire and before they begin: clocks differ. */
  readonly tokenToleranceSeconds?: number;
  readonly tokenAlgorithms?: readonly string[];
  /** Since its `iat`; 0: as old as its `exp` allows. */
  readonly tokenAgeSecondsMax?: number;
  readonly clock: Clock;
}

export interface VerifiedToken {
  readonly claims: JWTPayload;
  /** The instant from which it isn't accepted any more; undefined: never. */
  readonly expiresAtMs: number | undefined;
}

/** @throws SyncError TOKEN_INVALID, TOKEN_EXPIRED, ISSUER_UNAVAILABLE. */
export type VerifyToken = (token: string) => Promise<VerifiedToken>;

const TOLERANCE_SECONDS = 30;

export function createTokenVerifier(rules: TokenRules): VerifyToken {
  const { tokenIssuer, tokenAudience = [], tokenToleranceSeconds = TOLERANCE_SECONDS, clock } = rules;
  const { tokenAgeSecondsMax = 0 } = rules;
  const options = {
    algorithms: algorithmsOf(rules),
    clockTolerance: tokenToleranceSeconds,
    ...(tokenIssuer === undefined ? {} : { issuer: tokenIssuer }),
    ...(tokenAudience.length === 0 ? {} : { audience: [...tokenAudience] }),
    ...(tokenAgeSecondsMax === 0 ? {} : { maxTokenAge: tokenAgeSecondsMax }),
  };
  const keyOf = keyFinder(rules);
  const known = new KnownTokens();
  return async (token) => {
    if (options.algorithms.length === 0) throw tokenError("unknown_key", NO_KEYS);
    const verified = known.find(token, clock.nowMs());
    if (verified) return verified;
    const checks = { ...options, currentDate: new Date(clock.nowMs()) };
    try {
      const { payload: claims, protectedHeader } = await jwtVerify(token, keyOf(token), checks);
      const verified = { claims, expiresAtMs: endOf(claims, tokenToleranceSeconds, tokenAgeSecondsMax) };
      if (protectedHeader.alg === SECRET_ALGORITHM) known.add(token, verified, checks.currentDate.getTime());
      return verified;
    } catch (error) {
      throw refusalOf(error);
    }
  };
}

/**
 * Tokens of the secret that were found good: a device sends the same one with every call, and checking it takes longer than
 * the rest of a small call. The secret never changes while the server runs; those of key sources are checked each time,
 * for a key may be withdrawn.
 */
class KnownTokens {
  readonly #tokens = new Map<string, { readonly verified: VerifiedToken; readonly sinceMs: number }>();

  /** What time can change is asked each time, also of a clock that was set back. */
  find(token: string, nowMs: number): VerifiedToken | undefined {
    const known = this.#tokens.get(token);
    if (!known || nowMs < known.sinceMs) return undefined;
    const { verified } = known;
    if (nowMs < (verified.expiresAtMs ?? Number.POSITIVE_INFINITY)) return verified;
    this.#tokens.delete(token);
    return undefined;
  }

  add(token: string, verified: VerifiedToken, nowMs: number): void {
    if (this.#tokens.size >= KNOWN_MAX) this.#tokens.clear();
    this.#tokens.set(token, { verified, sinceMs: nowMs });
  }
}

const KNOWN_MAX = 10_000;

const NO_KEYS = "this server takes no tokens; in dev mode send: Bearer dev-<principal>";

/** Those allowed that there are keys for. */
function algorithmsOf({ tokenSecret, keySources = [], tokenAlgorithms = TOKEN_ALGORITHMS }: TokenRules) {
  return tokenAlgorithms.filter((algorithm) =>
    algorithm === SECRET_ALGORITHM
      ? tokenSecret !== undefined
      : keySources.length > 0 && KEY_SET_ALGORITHMS.includes(algorithm),
  );
}

function keyFinder({ tokenSecret, keySources = [] }: TokenRules): (token: string) => JWTVerifyGetKey {
  const secret = tokenSecret === undefined ? undefined : new TextEncoder().encode(tokenSecret);
  return (token) => async (header) => {
    if (header.alg === SECRET_ALGORITHM && secret) return secret;
    const query = { header, issuedAtMs: issuedAtMsOf(token) };
    const key = await publicKey(keySources, query);
    if (key === undefined) throw tokenError("unknown_key");
    return key;
  };
}

/** Of the first source that has it; a token that names no `kid` must fit one key of all sources. */
async function publicKey(sources: readonly KeySource[], query: KeyQuery) {
  let found: Awaited<ReturnType<KeySource["find"]>>;
  for (const source of sources) {
    const key = await source.find(query);
    if (key && query.header.kid !== undefined) return key;
    if (key && found) throw ambiguous();
    found ??= key;
  }
  return found;
}

/** To the end of its second: `iat` is whole seconds. */
function issuedAtMsOf(token: string): number | undefined {
  const { iat } = decodeJwt(token);
  return typeof iat === "number" ? Math.floor(iat) * 1_000 + 999 : undefined;
}

/**
 * A stream ends only when its token would no longer be accepted: else its client would come back with the same token, be
 * let in and be sent away again. jose counts in whole seconds.
 */
function endOf(
  { exp, iat }: JWTPayload,
  toleranceSeconds: number,
  ageSecondsMax: number,
): number | undefined {
  const ends: number[] = [];
  if (exp !== undefined) ends.push(Math.ceil(exp + toleranceSeconds));
  if (ageSecondsMax > 0 && iat !== undefined)
    ends.push(Math.floor(iat + toleranceSeconds + ageSecondsMax) + 1);
  return ends.length > 0 ? Math.min(...ends) * 1_000 : undefined;
}

/** Whatever jose and the key sources say, as the caller is to hear it. What neither foresaw stays what it is: a bug. */
function refusalOf(error: unknown): unknown {
  if (error instanceof SyncError || !(error instanceof errors.JOSEError)) return error;
  const fault = faultOf(error);
  if (fault !== "claims" || !(error instanceof errors.JWTClaimValidationFailed)) return tokenError(fault);
  return tokenError(fault, `the token's ${error.claim} is missing or no number: have its issuer mend it`);
}

const faultOfClaim: Readonly<Record<string, TokenFault>> = {
  iss: "issuer",
  aud: "audience",
};

function faultOf(error: errors.JOSEError): TokenFault {
  if (error instanceof errors.JWTExpired) return "expired";
  if (error instanceof errors.JWSSignatureVerificationFailed) return "signature";
  if (error instanceof errors.JOSEAlgNotAllowed) return "algorithm";
  if (!(error instanceof errors.JWTClaimValidationFailed)) return "malformed";
  const isEarly = ["nbf", "iat"].includes(error.claim) && error.reason === "check_failed";
  return isEarly ? "not_yet_valid" : (faultOfClaim[error.claim] ?? "claims");
}
