// Canaries: words that stand for a secret and occur nowhere else, so that one found among the bytes sent says what was
// told. Found in plain text, inside compressed messages and inside base64 of either alphabet, also one in another.
import { constants, gunzipSync } from "node:zlib";
import type { Random } from "../support/random.ts";

const MARK = "cnry";
const LETTERS = "abcdefghijklmnopqrstuvwxyz";
const LETTERS_AFTER = 14;
export const CANARY_LENGTH = MARK.length + LETTERS_AFTER;
const WHOLE = /^[a-z]{14}$/;
/** Shorter runs can't hold a canary. */
const BASE64 = /[A-Za-z0-9+/_-]{24,}/g;
/** JSON in a header in a page would be three. */
const DEPTH_MAX = 3;

export function makeCanary(random: Random): string {
  let word = MARK;
  for (let n = 0; n < LETTERS_AFTER; n++) word += LETTERS[random.below(LETTERS.length)];
  return word;
}

/** Each once. */
export function canariesIn(bytes: Uint8Array, depth = 0): Set<string> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  const found = new Set<string>();
  for (let at = text.indexOf(MARK); at >= 0; at = text.indexOf(MARK, at + 1)) {
    const letters = text.slice(at + MARK.length, at + MARK.length + LETTERS_AFTER);
    if (WHOLE.test(letters)) found.add(MARK + letters);
  }
  if (depth === DEPTH_MAX) return found;
  for (const [run] of text.matchAll(BASE64)) {
    for (const canary of canariesIn(Buffer.from(run, "base64"), depth + 1)) found.add(canary);
  }
  return found;
}

/** The bytes as their receiver reads them, as far as they were sent; unchanged if they aren't compressed. */
export function inflated(bytes: Uint8Array): Uint8Array {
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return isGzip ? gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }) : bytes;
}
