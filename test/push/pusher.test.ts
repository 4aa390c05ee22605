// The pusher by itself, with work that a test ends: groups gather while others are on their way, what is set aside goes
// alone, what is too much is refused, and closing waits for all that was taken.
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { ALONE_MAX, GROUPS_MAX, Pusher, QUEUE_LIMITS } from "../../src/push/pusher.ts";
import type { QueueLimits, Unit } from "../../src/push/queue.ts";

interface TestUnit extends Unit {
  readonly name: string;
}

function units(lane: string, count: number, fields: Partial<Unit> = {}): TestUnit[] {
  return Array.from({ length: count }, (_, i) => {
    const name = `${lane}${i}`;
    return { name, lane, refs: [`c/${name}`], mutations: 1, bytes: 100, alone: false, ...fields };
  });
}

interface Begun {
  readonly names: readonly string[];
  end(aside?: readonly string[]): void;
}

/** A pusher, and what it has begun in order: together, alone. */
function pusherAtWork() {
  const together: Begun[] = [];
  const alone: Begun[] = [];
  const pusher = new Pusher<TestUnit>({
    together: (group) => {
      const { promise, resolve } = Promise.withResolvers<readonly TestUnit[]>();
      const end = (aside: readonly string[] = []) =>
        resolve(group.filter(({ name }) => aside.includes(name)));
      together.push({ names: group.map(({ name }) => name), end });
      return promise;
    },
    alone: (some) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      alone.push({ names: some.map(({ name }) => name), end: () => resolve() });
      return promise;
    },
  });
  return { pusher, together, alone };
}

function overloaded(limit: keyof QueueLimits) {
  const details = {
    retryAfterMs: expect.any(Number),
    metadata: { limit, value: String(QUEUE_LIMITS[limit]) },
  };
  return expect.objectContaining({ reason: "OVERLOADED", details });
}

/** What was ended has been acted upon: that takes a turn of the event loop. */
async function settled(): Promise<void> {
  for (let turns = 0; turns < 3; turns++) await setImmediate();
}

test("pusher: as many groups as may be are on their way → what arrives gathers and goes next, in one", async () => {
  const { pusher, together } = pusherAtWork();
  for (let i = 0; i < GROUPS_MAX; i++) pusher.add(units(`early-${i}-`, 1));
  for (let i = 0; i < 5; i++) pusher.add(units(`late-${i}-`, 1));
  expect(together.length).toBe(GROUPS_MAX);
  together[0]?.end();
  await settled();
  expect(together.length).toBe(GROUPS_MAX + 1);
  expect(together.at(-1)?.names.length).toBe(5);
});

test("pusher: set aside → pushed alone by lane, in order, while other lanes' groups go on; their lane waits", async () => {
  const { pusher, together, alone } = pusherAtWork();
  pusher.add(units("a", 3));
  pusher.add(units("b", 2));
  expect(together.map(({ names }) => names)).toEqual([
    ["a0", "a1", "a2"],
    ["b0", "b1"],
  ]);
  pusher.add(units("d", 2));
  together[0]?.end(["a1", "a2"]);
  await settled();
  expect(alone.map(({ names }) => names)).toEqual([["a1", "a2"]]);
  expect(together.at(-1)?.names).toEqual(["d0", "d1"]);
  pusher.add(units("a", 1, { refs: ["c/later"] }));
  for (const begun of together) begun.end();
  await settled();
  expect(together.length).toBe(3);
  alone[0]?.end();
  await settled();
  expect(together.at(-1)?.names).toEqual(["a0"]);
});

test("pusher: more lanes set aside than may go alone at once → the rest waits its turn", async () => {
  const { pusher, together, alone } = pusherAtWork();
  pusher.add(units("first", 1));
  pusher.add(units("second", 1));
  const lanes = Array.from({ length: ALONE_MAX + 3 }, (_, i) => `lane-${i}-`);
  for (const lane of lanes) pusher.add(units(lane, 1));
  together[0]?.end();
  await settled();
  together[2]?.end(lanes.map((lane) => `${lane}0`));
  await settled();
  expect(alone.length).toBe(ALONE_MAX);
  alone[0]?.end();
  await settled();
  expect(alone.map(({ names }) => names[0])).toEqual(lanes.slice(0, ALONE_MAX + 1).map((lane) => `${lane}0`));
});

test("pusher: a device has more waiting than it may → OVERLOADED with the limit and when to try again; others may", () => {
  const { pusher } = pusherAtWork();
  pusher.add(units("a", 1));
  pusher.add(units("a", QUEUE_LIMITS.laneMutationsMax));
  expect(() => pusher.add(units("a", 1))).toThrow(overloaded("laneMutationsMax"));
  expect(() => pusher.add(units("b", 1))).not.toThrow();
});

test.each([
  ["mutationsMax", { mutations: 1_000 }],
  ["bytesMax", { bytes: 2 ** 22 }],
] as const)(
  "pusher: the queue is full by %s → OVERLOADED; room is made by what is done or removed",
  async (limit, fields) => {
    const { pusher, together } = pusherAtWork();
    for (let i = 0; i < GROUPS_MAX; i++) pusher.add(units(`busy-${i}-`, 1));
    const each = limit === "bytesMax" ? fields.bytes : fields.mutations;
    const count = QUEUE_LIMITS[limit] / each - 1;
    const lanes = Array.from({ length: count }, (_, i) => units(`lane-${i}-`, 1, fields));
    for (const lane of lanes) pusher.add(lane);
    const more = units("more", 1, fields);
    const refused = overloaded(limit);
    expect(() => pusher.add(more)).toThrow(refused);
    for (const begun of together.slice()) begun.end();
    await settled();
    pusher.add(more);
    expect(() => pusher.add(units("still more", 1, fields))).toThrow(refused);
    expect(pusher.remove(new Set(more))).toBe(1);
    pusher.add(units("still more", 1, fields));
  },
);

test("pusher: closed → takes nothing more, and ends when all it had is pushed, what was set aside too", async () => {
  const { pusher, together, alone } = pusherAtWork();
  for (let i = 0; i < GROUPS_MAX + 1; i++) pusher.add(units(`lane-${i}-`, 1));
  let isClosed = false;
  const closing = pusher.close().then(() => {
    isClosed = true;
  });
  const again = pusher.close();
  expect(() => pusher.add(units("late", 1))).toThrow(expect.objectContaining({ reason: "SHUTTING_DOWN" }));
  for (const begun of together.slice()) begun.end();
  await settled();
  expect(together.length).toBe(GROUPS_MAX + 1);
  together.at(-1)?.end([`lane-${GROUPS_MAX}-0`]);
  await settled();
  expect(isClosed).toBe(false);
  alone[0]?.end();
  await Promise.all([closing, again]);
  expect(isClosed).toBe(true);
});

test("pusher: closed when idle, before or after work → ends at once", async () => {
  const { pusher, together } = pusherAtWork();
  pusher.add(units("a", 1));
  together[0]?.end();
  await settled();
  await pusher.close();
  await pusherAtWork().pusher.close();
});
