// Alarms of many on one sleep.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Alarm, Alarms } from "../../src/pull/alarms.ts";
import { FakeClock } from "./fake-clock.ts";

async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe("pull: alarms", () => {
  it("any set, some cleared → each rings once, at its time, in order", async () => {
    const at = fc.integer({ min: 0, max: 1_000 });
    const alarms = fc.array(fc.record({ at, isCleared: fc.boolean() }), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(alarms, async (wanted) => {
        const clock = new FakeClock();
        const startMs = clock.nowMs();
        const rung: number[] = [];
        const all = new Alarms(clock);
        const set = wanted.map(({ at }): Alarm => all.set({ ring: () => rung.push(at) }, startMs + at));
        for (const [index, { isCleared }] of wanted.entries()) {
          const alarm = set[index];
          if (isCleared && alarm) all.clear(alarm);
        }
        for (let ms = 0; ms <= 1_000; ms += 250) {
          await turns();
          expect(rung.every((at) => at <= clock.nowMs() - startMs)).toBe(true);
          clock.advance(250);
        }
        await turns();
        const due = wanted.filter(({ isCleared }) => !isCleared).map(({ at }) => at);
        expect(rung).toEqual(due.sort((a, b) => a - b));
        expect(all.size).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  it("set while another sleeps, for an earlier time → rings at that", async () => {
    const clock = new FakeClock();
    const rung: string[] = [];
    const alarms = new Alarms(clock);
    alarms.set({ ring: () => rung.push("late") }, clock.nowMs() + 100);
    await turns();
    alarms.set({ ring: () => rung.push("early") }, clock.nowMs() + 10);
    await turns();
    clock.advance(10);
    await turns();
    expect(rung).toEqual(["early"]);
    clock.advance(90);
    await turns();
    expect(rung).toEqual(["early", "late"]);
  });

  it("one that sets itself again as it rings → goes on; closed → nothing rings", async () => {
    const clock = new FakeClock();
    const alarms = new Alarms(clock);
    let rung = 0;
    const again = {
      ring(nowMs: number) {
        rung++;
        alarms.set(again, nowMs + 10);
      },
    };
    alarms.set(again, clock.nowMs());
    for (let step = 0; step < 3; step++) {
      await turns();
      clock.advance(10);
    }
    await turns();
    expect(rung).toBe(4);
    alarms.close();
    clock.advance(100);
    await turns();
    expect(rung).toBe(4);
  });
});
