// Ends HTTP/2 sessions whose client has gone without a word: each is PINGed, and one that doesn't answer in time is
// destroyed, with all its streams. (A phone that lost its network never closes its connection.)
import type { ServerHttp2Session } from "node:http2";
import type { Clock } from "../model/clock.ts";
import type { Logger } from "../model/logger.ts";

export interface SilenceOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
}

/** Resolves when the session is closed, by whomever. */
export async function cutWhenSilent(session: ServerHttp2Session, options: SilenceOptions): Promise<void> {
  const { clock, logger, pingIntervalMs, pingTimeoutMs } = options;
  const gone = new AbortController();
  session.once("close", () => gone.abort());
  for (;;) {
    await clock.sleep(pingIntervalMs, gone.signal);
    if (session.destroyed) return;
    // Its callback comes when the session ends, too.
    const answered = new AbortController();
    session.ping(() => answered.abort());
    await clock.sleep(pingTimeoutMs, answered.signal);
    if (answered.signal.aborted) continue;
    logger.debug({}, "an HTTP/2 client stopped answering");
    session.destroy();
  }
}
