// A JSON Web Key Set (RFC 7517): from its text to the public key a token's header asks for. Keys for encryption, private
// and symmetric ones, and those too weak to trust are left out, so that whatever is found can be verified with.
import { createPublicKey, type JsonWebKey } from "node:crypto";
import { type CryptoKey, createLocalJWKSet, errors, type JWK, type JWTHeaderParameters } from "jose";
import type { SyncError } from "../model/sync-error.ts";
import { tokenError } from "../model/token-fault.ts";

export interface KeySet {
  /**
   * The one key that fits a token's `alg` and `kid`; undefined: none does.
   * @throws SyncError TOKEN_INVALID if the token names no `kid` and several fit.
   */
  find(header: JWTHeaderParameters): Promise<CryptoKey | undefined>;
  /** How many keys it has. */
  readonly size: number;
  /** How many were left out that nobody should have put there: private, symmetric, weak or broken ones. */
  readonly unfit: number;
}

/** A key set can't be had; the message says what is wrong with it, for the operator. */
export class KeySetError extends Error {
  override readonly name = "KeySetError";
}

/** Providers publish a handful of keys, with certificates some 3 KiB each. */
export const KEY_SET_BYTES_MAX = 512 * 1024;

const KEY_TYPES: ReadonlySet<unknown> = new Set(["RSA", "EC", "OKP"]);
const RSA_BITS_MIN = 2_048;

/** @throws KeySetError if the text is no key set, or none of its keys can be used. */
export function readKeySet(text: string): KeySet {
  const candidates = jwksIn(text).filter(isForSignatures);
  const keys = candidates.map(publicKeyOf).filter((key) => key !== undefined);
  if (keys.length === 0) throw new KeySetError("it holds no public key to verify tokens with");
  const find = createLocalJWKSet({ keys });
  return {
    find: (header) => find(header).catch(noneOrSeveral),
    size: keys.length,
    unfit: candidates.length - keys.length,
  };
}

function jwksIn(text: string): JWK[] {
  const parsed = parse(text);
  const keys: unknown = typeof parsed === "object" && parsed !== null && "keys" in parsed && parsed.keys;
  if (!Array.isArray(keys)) throw new KeySetError('it is no JSON Web Key Set: {"keys": […]}');
  return keys.filter((key: unknown) => typeof key === "object" && key !== null);
}

function isForSignatures({ use, key_ops: uses }: JWK): boolean {
  return (use === undefined || use === "sig") && (!Array.isArray(uses) || uses.includes("verify"));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KeySetError("it is no JSON", { cause });
  }
}

/** The key without what else its issuer wrote beside it, on which reading it would stumble later; undefined: unfit. */
function publicKeyOf(jwk: JWK): JWK | undefined {
  const { kty, kid, alg, d } = jwk;
  if (d !== undefined || !KEY_TYPES.has(kty)) return undefined;
  try {
    const key = createPublicKey({ key: jwk as JsonWebKey, format: "jwk" });
    if ((key.asymmetricKeyDetails?.modulusLength ?? RSA_BITS_MIN) < RSA_BITS_MIN) return undefined;
    const names = {
      ...(typeof kid === "string" ? { kid } : {}),
      ...(typeof alg === "string" ? { alg } : {}),
    };
    return { ...(key.export({ format: "jwk" }) as JWK), ...names };
  } catch {
    return undefined;
  }
}

function noneOrSeveral(cause: unknown): undefined {
  if (cause instanceof errors.JWKSNoMatchingKey) return undefined;
  if (cause instanceof errors.JWKSMultipleMatchingKeys) throw ambiguous();
  throw cause;
}

/** Of a token that could be signed with any of several keys: which one is not for the server to guess. */
export function ambiguous(): SyncError {
  const message =
    "the token doesn't say which of several keys it is signed with: have its issuer name it (kid)";
  return tokenError("unknown_key", message);
}
