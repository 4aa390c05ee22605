// Waiting on a condition, bounded: the only way tests wait.
import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 10;
const TIMEOUT_MS = 20_000;

/**
 * Resolves with the first truthy value of `condition`, asked at once and then every 10 ms.
 * @throws Error when `timeoutMs` (default 20 s) have passed; whatever `condition` throws, at once.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  options: { timeoutMs?: number; what?: string } = {},
): Promise<NonNullable<T>> {
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  const until = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > until)
      throw new Error(`${options.what ?? "the condition"} did not hold within ${timeoutMs} ms`);
    await delay(POLL_MS);
  }
}
