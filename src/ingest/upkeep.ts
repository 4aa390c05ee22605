// Upkeep: leavers kept long enough are removed, a page per append, which moves the horizon: a client that has not got
// as far can no longer resume. Feed sets nobody has used for as long go too, and packs that are of no more use.
import { dropFeedSetsBefore } from "../log/feed-sets.ts";
import { readLeaversBefore } from "../log/keys.ts";
import type { Log } from "../log/log.ts";
import { dropUnusablePacks } from "../log/packs.ts";
import type { Clock } from "../model/clock.ts";
import { millisecondsOf } from "./cluster-time.ts";
import type { LogWriter } from "./log-writer.ts";
import type { IngestSettings } from "./settings.ts";

const DAY_MS = 86_400_000;

export interface Upkeep {
  /** Does a page of the work if it is time. */
  step(): Promise<void>;
}

export interface UpkeepOptions {
  readonly log: Log;
  readonly writer: LogWriter;
  readonly clock: Clock;
  readonly settings: IngestSettings;
}

/** Due at once, then every `upkeepEveryMs`. What is old is told by the log's own clock, never by this machine's. */
export function createUpkeep({ log, writer, clock, settings }: UpkeepOptions): Upkeep {
  let dueAtMs = clock.nowMs();
  return {
    async step() {
      if (clock.nowMs() < dueAtMs) return;
      await writer.flush();
      const beforeMs = millisecondsOf(writer.position.time) - settings.tombstoneDays * DAY_MS;
      const leavers = await readLeaversBefore(log, beforeMs, settings.recordsMax);
      if (leavers.length > 0) {
        const horizon = Math.max(writer.state.horizon, ...leavers.map(({ seq }) => seq));
        await writer.begin({ drops: leavers.map(({ key }) => key), state: { horizon } });
      }
      if (leavers.length === settings.recordsMax) return;
      await dropFeedSetsBefore(log, beforeMs);
      await dropUnusablePacks(log, writer.state);
      dueAtMs = clock.nowMs() + settings.upkeepEveryMs;
    },
  };
}
