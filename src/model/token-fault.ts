// What can be wrong with an access token: a closed list, told as `fault` in the metadata of TOKEN_INVALID and
// TOKEN_EXPIRED. The sentences say what to do; none repeats the token or what it claims.
import { SyncError } from "./sync-error.ts";

export type TokenFault =
  | "malformed"
  | "algorithm"
  | "signature"
  | "unknown_key"
  | "issuer"
  | "audience"
  | "not_yet_valid"
  | "subject"
  | "expired"
  | "claims";

const sentences: Readonly<Record<TokenFault, string>> = {
  malformed: "the header authorization must read: Bearer <token>, with a signed JWT for a token",
  algorithm: "the token is signed by an algorithm this server doesn't take: have its issuer use another",
  signature: "the token's signature is wrong: fetch a new token from this server's issuer",
  unknown_key: "the token is signed with a key this server doesn't know: fetch a new token from its issuer",
  issuer: "the token is another issuer's: fetch one from this server's issuer",
  audience: "the token is meant for another audience: ask the issuer for one that names this server",
  not_yet_valid: "the token isn't valid yet: wait, or set the clocks of its issuer and this server right",
  subject:
    "the token's sub must name the principal, in 1 to 256 characters, none of them a control character",
  expired: "the token has expired: fetch a new one and resume",
  claims: "a claim of the token has a value this server can't use: have its issuer mend it",
};

/**
 * TOKEN_EXPIRED for an expired token, else TOKEN_INVALID. Without a cause: a library's error carries the token's claims,
 * and whoever logs causes would log those.
 * @param message in place of the fault's own sentence.
 */
export function tokenError(fault: TokenFault, message: string = sentences[fault]): SyncError {
  const reason = fault === "expired" ? "TOKEN_EXPIRED" : "TOKEN_INVALID";
  return new SyncError(reason, message, { metadata: { fault } });
}
