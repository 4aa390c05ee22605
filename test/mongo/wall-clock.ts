// Real time for nodes under test, without the wiring that owns it in the server.
import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "../../src/model/clock.ts";

export const wallClock: Clock = {
  nowMs: Date.now,
  sleep: (ms, signal) => delay(ms, undefined, signal ? { signal } : {}).catch(() => {}),
};
