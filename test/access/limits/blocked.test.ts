// What is remembered of callers over their limits: as long as they are, no longer, and not if the clock is set back.
import { expect, test } from "vitest";
import { createBlocked } from "../../../src/access/limits/blocked.ts";
import type { Charge } from "../../../src/access/limits/counters.ts";

const WINDOW_MS = 60_000;
const refusal = { limit: "requests", per: "principal", value: 5, retryAfterMs: 10_000 };

function charge(key: string, holder: "Principal" | "Device" = "Principal"): Charge {
  return { limit: { counted: "Requests", holder, points: 5 }, key, points: 1 };
}

function blockedAt(startMs: number) {
  const time = { nowMs: startMs };
  const blocked = createBlocked({ nowMs: () => time.nowMs, sleep: () => Promise.resolve() }, WINDOW_MS);
  return { time, blocked };
}

test("limits: a refused caller → refused again from memory with what is left, until its time is up", () => {
  const { time, blocked } = blockedAt(1_000);
  blocked.add([charge("ana", "Device"), charge("ana")], refusal);
  expect(blocked.find([charge("ana")])).toEqual(refusal);
  expect(blocked.find([charge("ben")])).toBeUndefined();
  expect(blocked.find([charge("ana", "Device")])).toBeUndefined();
  time.nowMs += 9_999;
  expect(blocked.find([charge("ben"), charge("ana")])).toEqual({ ...refusal, retryAfterMs: 1 });
  time.nowMs += 1;
  expect(blocked.find([charge("ana")])).toBeUndefined();
});

test("limits: a generation turns → who is still refused stays so", () => {
  const { time, blocked } = blockedAt(0);
  time.nowMs = WINDOW_MS - 1;
  blocked.add([charge("ana")], { ...refusal, retryAfterMs: WINDOW_MS });
  time.nowMs = WINDOW_MS + 5;
  expect(blocked.find([charge("ana")])?.retryAfterMs).toBe(WINDOW_MS - 6);
  time.nowMs = 3 * WINDOW_MS;
  expect(blocked.find([charge("ana")])).toBeUndefined();
});

test("limits: the clock is set back by a day → nobody stays refused for a day", () => {
  const day = 86_400_000;
  const { time, blocked } = blockedAt(day);
  blocked.add([charge("ana")], refusal);
  time.nowMs = 0;
  expect(blocked.find([charge("ana")])).toBeUndefined();
});
