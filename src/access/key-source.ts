// The port of whatever knows the public keys of an issuer: a URL (jwks-url.ts) or a file (jwks-file.ts).
import type { CryptoKey, JWTHeaderParameters } from "jose";

export interface KeyQuery {
  /** Not yet verified: nothing in it is followed anywhere. */
  readonly header: JWTHeaderParameters;
  /** The token's `iat` in ms, as it claims. */
  readonly issuedAtMs: number | undefined;
}

export interface KeySource {
  /**
   * The key a token is signed with; undefined: the source surely has none that fits.
   * @throws SyncError TOKEN_INVALID if several fit; ISSUER_UNAVAILABLE if it can't be said.
   */
  find(query: KeyQuery): Promise<CryptoKey | undefined>;
}
