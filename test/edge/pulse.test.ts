// When clients are PINGed and cut, whatever they send and whenever: by a clock that the test moves.
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Client, Pulse } from "../../src/edge/pulse.ts";
import { FakeClock } from "../pull/fake-clock.ts";

const INTERVAL_MS = 200;
const TICK_MS = 5;
const INTERVAL = INTERVAL_MS / TICK_MS;
/** Between two looks of a pulse: what its times may be off by. */
const STEP = INTERVAL / 20;
const AWHILE = 10 * INTERVAL;
/** What a pulse could look at in no time, if it made up for time lost, comes to its end within. */
const TURNS = 200;

/** In ticks. */
interface Life {
  readonly from: number;
  readonly signs: readonly number[];
}

class World {
  readonly #clock = new FakeClock();
  readonly pulse = new Pulse(this.#clock, INTERVAL_MS);
  tick = 0;

  async pass(ticks: number): Promise<void> {
    this.#clock.advance(ticks * TICK_MS);
    this.tick += ticks;
    for (let turn = 0; turn < TURNS; turn++) await Promise.resolve();
  }
}

class FakeClient implements Client {
  readonly #world: World;
  bytesRead = 0;
  lastSign = 0;
  lastPing: number | undefined;
  cutAt: number | undefined;
  forget = () => {};

  constructor(world: World) {
    this.#world = world;
    this.lastSign = world.tick;
  }

  say(): void {
    this.bytesRead++;
    this.lastSign = this.#world.tick;
  }

  ping(): void {
    this.lastPing = this.#world.tick;
  }

  cut(): void {
    this.cutAt = this.#world.tick;
    this.forget();
  }
}

test("pulse: whatever clients send, and when → cut within two intervals of their last sign, a PING unanswered for one", async () => {
  const tick = fc.integer({ min: 0, max: AWHILE });
  const life = fc.record({ from: tick, signs: fc.array(tick, { maxLength: 12 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(life, { minLength: 1, maxLength: 30 }), async (lives: readonly Life[]) => {
      const world = new World();
      const clients = new Map<Life, FakeClient>();
      for (let now = 0; now <= AWHILE + 3 * INTERVAL; now++) {
        for (const life of lives) {
          if (life.from === now) {
            const client = new FakeClient(world);
            client.forget = world.pulse.watch(client);
            clients.set(life, client);
          }
          const client = clients.get(life);
          if (client?.cutAt === undefined && life.signs.includes(now)) client?.say();
        }
        await world.pass(1);
      }
      for (const { cutAt = Number.POSITIVE_INFINITY, lastSign, lastPing } of clients.values()) {
        expect(cutAt - lastSign).toBeLessThanOrEqual(2 * INTERVAL + STEP);
        expect(lastPing).toBeGreaterThanOrEqual(lastSign);
        expect(cutAt - (lastPing ?? 0)).toBe(INTERVAL);
      }
    }),
    { numRuns: 100 },
  );
});

test("pulse: a process that stood still for long → clients that answer are not taken for gone", async () => {
  const world = new World();
  const clients = Array.from({ length: 40 }, () => new FakeClient(world));
  for (const client of clients) client.forget = world.pulse.watch(client);
  const answer = () => {
    for (const client of clients)
      if (client.lastPing !== undefined && client.lastPing > client.lastSign) client.say();
  };
  for (let turn = 0; turn < 200; turn++) {
    await world.pass(turn % 50 === 49 ? 7 * INTERVAL : 1);
    answer();
  }
  expect(clients.filter(({ cutAt }) => cutAt !== undefined)).toEqual([]);
  expect(clients.filter(({ lastPing }) => lastPing === undefined)).toEqual([]);
});

test("pulse: a client taken off → neither PINGed nor cut; the others are", async () => {
  const world = new World();
  const [gone, left] = [new FakeClient(world), new FakeClient(world)];
  const forget = world.pulse.watch(gone);
  left.forget = world.pulse.watch(left);
  forget();
  forget();
  for (let now = 0; now <= 3 * INTERVAL; now++) await world.pass(1);
  expect([gone.lastPing, gone.cutAt]).toEqual([undefined, undefined]);
  expect(left.cutAt).toBeDefined();
});
