// Makes access tokens for trying things out: HS256, signed with the server's own secret, short-lived.
// In production an identity provider, or the team's own service with the same secret, makes them.
import { SignJWT } from "jose";

export interface TokenOptions {
  readonly secret: string;
  /** The token's `sub`. */
  readonly principal: string;
  /** Further claims; the registered ones here win over them. */
  readonly claims: Readonly<Record<string, unknown>>;
  readonly ttlSeconds: number;
  readonly nowMs: number;
}

/** A token that authenticate.ts accepts from now until its time is up. */
export function issueToken({ secret, principal, claims, ttlSeconds, nowMs }: TokenOptions): Promise<string> {
  const nowSeconds = Math.floor(nowMs / 1000);
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setSubject(principal)
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + ttlSeconds)
    .sign(new TextEncoder().encode(secret));
}
