// The subscription token: signed, bound to epoch and principal, at most 1 KiB. It carries the feeds themselves, or the
// hash of a stored feed set. Nobody can claim a feed the server never gave them (P6).
import { createHash, createHmac, createSecretKey, type KeyObject, timingSafeEqual } from "node:crypto";

/** Whose tokens, of which log. */
export interface Seal {
  readonly key: Uint8Array;
  readonly epoch: string;
  readonly principal: string;
}

export type TokenContent =
  | { readonly kind: "feeds"; readonly bytes: Uint8Array }
  /** By hash, base64url. */
  | { readonly kind: "stored"; readonly hash: string };

export type OpenedToken =
  | TokenContent
  | { readonly kind: "foreign-epoch" }
  | { readonly kind: "unacceptable" };

/** The contract's limit. */
const TOKEN_LENGTH_MAX = 1024;

/** Undefined: too long for a token, so the content must be stored. */
export function sealToken(content: TokenContent, seal: Seal): string | undefined {
  const isStored = content.kind === "stored";
  const body = isStored ? Buffer.from(content.hash, "base64url") : content.bytes;
  const head = Buffer.concat([Uint8Array.of(VERSION, isStored ? STORED : FEEDS), epochMark(seal.epoch)]);
  const token = Buffer.concat([head, macOf(seal, head, body), body]).toString("base64url");
  return token.length <= TOKEN_LENGTH_MAX ? token : undefined;
}

/** Never throws: a token is whatever a client sends. */
export function openToken(token: string, seal: Seal): OpenedToken {
  if (token.length > TOKEN_LENGTH_MAX) return UNACCEPTABLE;
  const bytes = Buffer.from(token, "base64url");
  // Spelled in one way only, or a garbled token might still open.
  if (bytes.length < BODY_AT || bytes.toString("base64url") !== token || bytes[0] !== VERSION)
    return UNACCEPTABLE;
  const head = bytes.subarray(0, MAC_AT);
  if (!epochMark(seal.epoch).equals(head.subarray(EPOCH_AT))) return { kind: "foreign-epoch" };
  const body = bytes.subarray(BODY_AT);
  if (!timingSafeEqual(bytes.subarray(MAC_AT, BODY_AT), macOf(seal, head, body))) return UNACCEPTABLE;
  return bytes[1] === STORED
    ? { kind: "stored", hash: body.toString("base64url") }
    : { kind: "feeds", bytes: new Uint8Array(body) };
}

const UNACCEPTABLE: OpenedToken = { kind: "unacceptable" };

// Layout: version, kind, epoch mark, HMAC of all the rest and of the principal, body.
const VERSION = 1;
const FEEDS = 1;
const STORED = 2;
const EPOCH_AT = 2;
const EPOCH_BYTES = 8;
const MAC_AT = EPOCH_AT + EPOCH_BYTES;
const BODY_AT = MAC_AT + 32;

/** Only tells a rebuilt log from a forgery; the signature covers the whole epoch. */
function epochMark(epoch: string): Buffer {
  return createHash("sha256").update(epoch).digest().subarray(0, EPOCH_BYTES);
}

function macOf({ key, epoch, principal }: Seal, head: Uint8Array, body: Uint8Array): Buffer {
  const mac = createHmac("sha256", keyObjectOf(key)).update("tidemark cursor\0");
  // With their lengths, so that no two triples read alike.
  for (const part of [Buffer.from(epoch), Buffer.from(principal), head]) {
    mac.update(`${part.length}\0`).update(part);
  }
  return mac.update(body).digest();
}

/** A log has one key: made ready once, it signs in half the time. */
let ready: { readonly key: Uint8Array; readonly object: KeyObject } | undefined;

function keyObjectOf(key: Uint8Array): KeyObject {
  if (ready === undefined || Buffer.compare(ready.key, key) !== 0)
    ready = { key, object: createSecretKey(key) };
  return ready.object;
}
