// What every stream of a node shares.
import type { Log } from "../log/log.ts";
import type { Clock } from "../model/clock.ts";
import type { Schema } from "../schema/schema.ts";
import type { Alarms } from "./alarms.ts";
import type { Hub } from "./hub.ts";
import type { PackMaker } from "./pack-maker.ts";
import type { PullSettings } from "./settings.ts";
import type { Turns } from "./turns.ts";

export interface PullServices {
  readonly log: Log;
  readonly schema: Schema;
  readonly clock: Clock;
  readonly settings: PullSettings;
  readonly hub: Hub;
  readonly alarms: Alarms;
  readonly turns: Turns;
  readonly packs: PackMaker;
  /** Those open now. */
  readonly flows: Set<{ drain(retryAfterMs: number): void }>;
}
