// Counts the bytes of calls, for their log lines and their callers' limits. Long streams are charged as they go, in
// portions, so that a stream that never ends isn't free; the rest is charged when the call is over.
import type { Limiter } from "../access/limits/limiter.ts";
import type { Call } from "./call.ts";

const PORTION_BYTES = 256 * 1024;

/** A request's body, counted as it is read. */
export async function* meterReceived(
  body: AsyncIterable<Uint8Array>,
  call: Call,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    call.owedBytes += chunk.byteLength;
    yield chunk;
  }
}

/** Frames of a pull that go out now. */
export function meterSent(
  call: Call,
  { frames, bytes }: { frames: number; bytes: number },
  limiter: Limiter,
): void {
  call.frames += frames;
  call.bytes += bytes;
  call.owedBytes += bytes;
  if (call.owedBytes >= PORTION_BYTES) settleBytes(call, limiter);
}

/** Charges what is owed. */
export function settleBytes(call: Call, limiter: Limiter): void {
  limiter.countBytes(call, call.owedBytes);
  call.owedBytes = 0;
}
