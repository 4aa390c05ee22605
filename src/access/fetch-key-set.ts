// One request for a key set, bounded in time and bytes. Nothing is followed: a redirect is a fault the operator mends
// by naming the final address.
import type { Clock } from "../model/clock.ts";
import { KEY_SET_BYTES_MAX, type KeySet, KeySetError, readKeySet } from "./key-set.ts";

/** Callers wait for it, so it is shorter than their patience. */
export const FETCH_MS_MAX = 5_000;

/** @throws KeySetError, whatever goes wrong; also when the signal aborts. */
export async function fetchKeySet(url: string, clock: Clock, signal: AbortSignal): Promise<KeySet> {
  const over = new AbortController();
  const late = new AbortController();
  const ending = AbortSignal.any([over.signal, signal]);
  void clock.sleep(FETCH_MS_MAX, ending).then(() => late.abort());
  try {
    return readKeySet(await textAt(url, AbortSignal.any([late.signal, signal])));
  } catch (cause) {
    if (cause instanceof KeySetError) throw cause;
    if (late.signal.aborted && !signal.aborted) {
      throw new KeySetError(`it didn't answer within ${FETCH_MS_MAX} ms`, { cause });
    }
    throw new KeySetError(`it can't be reached: ${deepestMessage(cause)}`, { cause });
  } finally {
    over.abort();
  }
}

async function textAt(url: string, signal: AbortSignal): Promise<string> {
  const answer = await fetch(url, {
    signal,
    redirect: "manual",
    headers: { accept: "application/jwk-set+json, application/json" },
  });
  if (answer.status === 200) return boundedText(answer);
  await answer.body?.cancel();
  const redirect = answer.headers.has("location") ? ", which redirects: name the final address" : "";
  throw new KeySetError(`it answered ${answer.status}${redirect}`);
}

async function boundedText({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > KEY_SET_BYTES_MAX) throw new KeySetError(`it answered more than ${KEY_SET_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Under "fetch failed" lies what the socket said. */
function deepestMessage(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? deepestMessage(error.cause) : error.message;
}
