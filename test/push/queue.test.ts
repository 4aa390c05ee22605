// The queue by itself: order in a lane, turns between lanes, what blocks what, and its bounds.
import fc from "fast-check";
import { expect, test } from "vitest";
import { GROUP_MUTATIONS_MAX, PushQueue, type QueueLimits, type Unit } from "../../src/push/queue.ts";

interface TestUnit extends Unit {
  readonly name: string;
}

const MEBI = 2 ** 20;
const WIDE: QueueLimits = { mutationsMax: 1e6, bytesMax: 1e12, laneMutationsMax: 1e6 };

function unit(name: string, fields: Partial<Unit> = {}): TestUnit {
  return {
    name,
    lane: name[0] ?? "",
    refs: [`c/${name}`],
    mutations: 1,
    bytes: 100,
    alone: false,
    ...fields,
  };
}

/** Lane `a` has `a0`, `a1`, and so on. */
function units(lane: string, count: number, fields: Partial<Unit> = {}): TestUnit[] {
  return Array.from({ length: count }, (_, i) => unit(`${lane}${i}`, fields));
}

function queueOf(...lanes: readonly TestUnit[][]): PushQueue<TestUnit> {
  const queue = new PushQueue<TestUnit>(WIDE);
  for (const lane of lanes) queue.add(lane);
  return queue;
}

const namesOf = (group: readonly TestUnit[]) => group.map(({ name }) => name);

function finish(queue: PushQueue<TestUnit>, group: readonly TestUnit[]): void {
  for (const one of group) queue.done(one);
}

test("queue: nothing waits → an empty group", () => {
  expect(queueOf().take()).toEqual([]);
});

test("queue: a few of several lanes → all in one group, each lane in its order; then nothing", () => {
  const queue = queueOf(units("a", 3), units("b", 2));
  expect(namesOf(queue.take())).toEqual(["a0", "a1", "a2", "b0", "b1"]);
  expect(queue.take()).toEqual([]);
});

test("queue: a lane with thousands beside lanes with a few → the few are in the first group", () => {
  const queue = queueOf(units("a", 3_000), units("b", 5), units("c", 5));
  const group = queue.take();
  expect(group.length).toBe(GROUP_MUTATIONS_MAX);
  expect(group.filter(({ lane }) => lane !== "a").length).toBe(10);
  expect(namesOf(group.filter(({ lane }) => lane === "a"))).toEqual(namesOf(units("a", 490)));
});

test("queue: more lanes than a group has slices for → each has had its turn before any has its second", () => {
  const lanes = [..."abcdefghijklmno"];
  const queue = queueOf(...lanes.map((lane) => units(lane, 200)));
  const turns: string[] = [];
  while (turns.length < lanes.length) {
    const group = queue.take();
    turns.push(...new Set(group.map(({ lane }) => lane)));
    finish(queue, group);
  }
  expect(turns).toEqual(lanes);
});

test("queue: a lane that has something under way → gives nothing more until that is done, all of it", () => {
  const queue = queueOf(units("a", 2));
  const group = queue.take();
  queue.add(units("a", 1, { refs: ["c/other"] }));
  expect(queue.take()).toEqual([]);
  finish(queue, group.slice(0, 1));
  expect(queue.take()).toEqual([]);
  finish(queue, group.slice(1));
  expect(namesOf(queue.take())).toEqual(["a0"]);
});

test("queue: a record under way → blocks its unit and what its lane has behind it, no other lane", () => {
  const queue = queueOf([unit("a0", { refs: ["c/x"] })]);
  const group = queue.take();
  queue.add([unit("b0"), unit("b1", { refs: ["c/y", "c/x"] }), unit("b2")]);
  queue.add(units("d", 1));
  const next = queue.take();
  expect(namesOf(next)).toEqual(["b0", "d0"]);
  finish(queue, next);
  expect(queue.take()).toEqual([]);
  finish(queue, group);
  expect(namesOf(queue.take())).toEqual(["b1", "b2"]);
});

test("queue: mutations of one record in several lanes → together in one group", () => {
  const refs = ["c/x"];
  const queue = queueOf(units("a", 2, { refs }), units("b", 1, { refs }));
  expect(namesOf(queue.take())).toEqual(["a0", "a1", "b0"]);
});

test("queue: a unit alone → in no group with others, in its place in the lane", () => {
  const queue = queueOf([unit("a0"), unit("a1", { alone: true, mutations: 3 }), unit("a2")], units("b", 1));
  const groups: string[][] = [];
  for (let group = queue.take(); group.length > 0; group = queue.take()) {
    groups.push(namesOf(group));
    finish(queue, group);
  }
  expect(groups).toEqual([["a0", "b0"], ["a1"], ["a2"]]);
});

test("queue: a unit alone while others keep coming → its turn comes", () => {
  const queue = queueOf(units("a", 1_000), [unit("z0", { alone: true })]);
  for (let count = 0; count < 3; count++) {
    const group = queue.take();
    if (group[0]?.name === "z0") return;
    finish(queue, group);
    queue.add(units("a", 500));
    queue.add(units("b", 500));
  }
  expect.unreachable("the unit alone had no turn");
});

test("queue: a unit of two records, one of them always under way → its turn comes, others' on further records too", () => {
  const queue = queueOf(units("a", 1, { refs: ["c/x"] }));
  const busy = [queue.take()];
  queue.add(units("b", 1, { refs: ["c/y"] }));
  busy.push(queue.take());
  queue.add(units("z", 1, { refs: ["c/x", "c/y"], alone: true }));
  for (let round = 0; round < 3; round++) {
    for (const ref of ["c/x", "c/y"]) {
      queue.add([
        unit(`d${round}`, { refs: [ref] }),
        unit(`e${round}${ref}`, { lane: `e${round}`, refs: ["c/e"] }),
      ]);
      finish(queue, busy.shift() ?? []);
      const group = queue.take();
      if (group[0]?.lane === "z") return;
      expect(group.map(({ lane }) => lane)).toContain(`e${round}`);
      busy.push(group);
    }
  }
  expect.unreachable("the unit of two records had no turn");
});

test("queue: a unit larger than a group may be → goes without others", () => {
  const large = { bytes: 5 * MEBI, mutations: 1_000 };
  const queue = queueOf(units("a", 1), [unit("b0", large)], units("d", 1));
  expect(namesOf(queue.take())).toEqual(["a0", "d0"]);
  expect(namesOf(queue.take())).toEqual(["b0"]);
});

test("queue: bytes of a group → bounded", () => {
  const queue = queueOf(units("a", 10, { bytes: MEBI }));
  expect(queue.take().length).toBe(4);
});

test("queue: each limit → told when units would break it, not when they just fit; what is done makes room", () => {
  const queue = new PushQueue<TestUnit>({ mutationsMax: 10, bytesMax: 1_000, laneMutationsMax: 6 });
  expect(queue.fullFor(units("a", 7))).toBe("laneMutationsMax");
  expect(queue.fullFor(units("a", 6))).toBeUndefined();
  queue.add(units("a", 4));
  expect(queue.fullFor(units("a", 3))).toBe("laneMutationsMax");
  expect(queue.fullFor(units("a", 2))).toBeUndefined();
  queue.add(units("b", 3));
  expect(queue.fullFor(units("d", 4))).toBe("mutationsMax");
  expect(queue.fullFor([unit("d", { bytes: 301 })])).toBe("bytesMax");
  expect(queue.fullFor([unit("d", { bytes: 300 })])).toBeUndefined();
  const group = queue.take();
  expect(queue.fullFor(units("a", 4))).toBe("mutationsMax");
  finish(queue, group);
  expect(queue.fullFor(units("a", 6))).toBeUndefined();
});

test("queue: removed → given no more, their order kept, room made; what is under way isn't removed", () => {
  const queue = new PushQueue<TestUnit>({ ...WIDE, mutationsMax: 6 });
  const [first, ...rest] = units("a", 6);
  if (!first) throw new Error("six");
  queue.add([first]);
  const group = queue.take();
  queue.add(rest);
  expect(queue.remove(new Set([first, ...rest.slice(1, 3)]))).toBe(2);
  expect(queue.remove(new Set([first]))).toBe(0);
  expect(queue.fullFor(units("b", 2))).toBeUndefined();
  expect(queue.fullFor(units("b", 3))).toBe("mutationsMax");
  finish(queue, group);
  expect(namesOf(queue.take())).toEqual(["a1", "a4", "a5"]);
});

test("queue: done twice → a broken invariant", () => {
  const queue = queueOf(units("a", 1));
  const group = queue.take();
  finish(queue, group);
  expect(() => finish(queue, group)).toThrow();
});

type Step =
  | { readonly kind: "add"; readonly lane: string; readonly units: readonly Partial<Unit>[] }
  | { readonly kind: "take" }
  | { readonly kind: "done"; readonly which: number }
  | { readonly kind: "remove"; readonly lane: string; readonly every: number };

const lanes = fc.constantFrom("a", "b", "d");
const fields: fc.Arbitrary<Partial<Unit>> = fc.record({
  refs: fc.uniqueArray(fc.constantFrom("c/1", "c/2", "c/3", "c/4", "c/5", "c/6"), {
    minLength: 1,
    maxLength: 2,
  }),
  mutations: fc.constantFrom(1, 1, 1, 120, 600),
  bytes: fc.constantFrom(100, 100, MEBI, 5 * MEBI),
  alone: fc.constantFrom(false, false, false, true),
});
const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("add" as const), lane: lanes, units: fc.array(fields, { maxLength: 5 }) }),
  fc.constant({ kind: "take" as const }),
  fc.record({ kind: fc.constant("done" as const), which: fc.nat(50) }),
  fc.record({ kind: fc.constant("remove" as const), lane: lanes, every: fc.integer({ min: 1, max: 3 }) }),
);

/** What waits, in order of arrival, and what is under way: nothing more is needed to judge a group. */
class Model {
  readonly waiting: TestUnit[] = [];
  readonly underWay: TestUnit[] = [];

  /** Names that nothing of another group may have. */
  blocked(): Set<string> {
    return new Set(this.underWay.flatMap(({ lane, refs }) => [lane, ...refs]));
  }

  isFree({ lane, refs }: Unit, blocked: ReadonlySet<string>): boolean {
    return ![lane, ...refs].some((name) => blocked.has(name));
  }

  /** Heads that nothing keeps back: one that waits for some of its records keeps all of them from those behind it. */
  unreserved(heads: readonly TestUnit[], blocked: ReadonlySet<string>): TestUnit[] {
    const inTurn = heads.filter(({ lane }) => !blocked.has(lane));
    let kept: TestUnit[] = [];
    for (;;) {
      const taken = new Set([...blocked, ...kept.flatMap(({ refs }) => refs)]);
      const more = inTurn.filter((head) => !this.isFree(head, taken));
      if (more.length === kept.length) return inTurn.filter((head) => !kept.includes(head));
      kept = more;
    }
  }

  /** Judges a group taken and moves it on. */
  took(group: readonly TestUnit[]): void {
    const blocked = this.blocked();
    const sums = { mutations: 0, bytes: 0 };
    for (const one of group) {
      expect(this.isFree(one, blocked)).toBe(true);
      expect(one).toBe(this.waiting.find(({ lane }) => lane === one.lane));
      this.waiting.splice(this.waiting.indexOf(one), 1);
      sums.mutations += one.mutations;
      sums.bytes += one.bytes;
    }
    const heads = [...Map.groupBy(this.waiting, ({ lane }) => lane).values()].flatMap(([head]) => head ?? []);
    const free = this.unreserved(heads, blocked);
    if (group.length === 0) expect(free).toEqual([]);
    if (group.length > 1) {
      expect(group.some(({ alone }) => alone)).toBe(false);
      expect(sums.mutations).toBeLessThanOrEqual(GROUP_MUTATIONS_MAX);
      expect(sums.bytes).toBeLessThanOrEqual(4 * MEBI);
    }
    if (group.length > 0 && !group[0]?.alone) {
      // Whatever could have come along has.
      for (const { alone, mutations, bytes } of free) {
        const fits = sums.mutations + mutations <= GROUP_MUTATIONS_MAX && sums.bytes + bytes <= 4 * MEBI;
        expect(alone || !fits).toBe(true);
      }
    }
    this.underWay.push(...group);
  }
}

function run(queue: PushQueue<TestUnit>, model: Model, step: Step): void {
  switch (step.kind) {
    case "add": {
      const added = step.units.map((some, i) => unit(`${step.lane}${i}`, { ...some, lane: step.lane }));
      queue.add(added);
      model.waiting.push(...added);
      return;
    }
    case "take":
      model.took(queue.take());
      return;
    case "done": {
      const [over] = model.underWay.splice(step.which % Math.max(1, model.underWay.length), 1);
      if (over) queue.done(over);
      return;
    }
    case "remove": {
      const all = model.waiting.filter(({ lane }) => lane === step.lane);
      const some = new Set(all.filter((_, i) => i % step.every === 0));
      expect(queue.remove(some)).toBe(some.size);
      for (const one of some) model.waiting.splice(model.waiting.indexOf(one), 1);
    }
  }
}

const seed = Number(process.env["FC_SEED"] ?? Date.now() % 2 ** 31);

test(`queue: at random (seed ${seed}) → every group is one the rules allow, and in the end everything has been given`, () => {
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 60 }), (all) => {
      const queue = new PushQueue<TestUnit>(WIDE);
      const model = new Model();
      for (const step of all) run(queue, model, step);
      const left = model.waiting.length;
      for (let groups = 0; model.waiting.length > 0; groups++) {
        expect(groups).toBeLessThanOrEqual(left);
        finish(queue, model.underWay.splice(0));
        model.took(queue.take());
      }
      finish(queue, model.underWay);
      expect(queue.take()).toEqual([]);
    }),
    { seed, numRuns: 400 },
  );
});
