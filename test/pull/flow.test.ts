// Flows as a writer takes them: what is shared, what waits, what a flow that isn't taken from holds.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Flow } from "../../src/pull/flow.ts";
import type { Pull } from "../../src/pull/pull.ts";
import type { Portion } from "../../src/pull/step.ts";
import { waitFor } from "../support/wait-for.ts";
import { FakeClock } from "./fake-clock.ts";
import { type Fixture, followAll, openFixture, principal } from "./fixture.ts";
import { put } from "./world.ts";

let fixture: Fixture;
let pull: Pull;
let clock: FakeClock;
let arrivals = 0;

beforeEach(async () => {
  fixture = await openFixture();
  await fixture.write([put("a"), put("b")]);
  clock = new FakeClock();
  pull = fixture.node(clock);
});

afterEach(() => fixture.close());

interface Reading {
  readonly flow: Flow;
  readonly taken: Portion[];
  /** How often the flow has told that there is something. */
  readonly told: () => number;
  /** Takes all there is. */
  take(): void;
  /** Takes until it has had a checkpoint. */
  arrive(): Promise<void>;
}

function read(id = "ana", request = followAll): Reading {
  let told = 0;
  const taken: Portion[] = [];
  const flow = pull.openFlow(principal(id, ["user:ana"]), request, { ready: () => told++ });
  const take = () => {
    for (let portion = flow.take(); portion; portion = flow.take()) taken.push(portion);
  };
  const arrive = async () => {
    await waitFor(() => {
      take();
      return taken.flat().some(({ kind }) => kind === "checkpoint");
    });
    // The hub may come to know the log by this append; the next it takes as it comes.
    const append = await fixture.write([put(`arrived-${arrivals++}`)]);
    pull.onAppend(append);
    const { head } = append.state;
    await waitFor(() => {
      take();
      return flow.cursor.checkpoint >= head;
    });
  };
  return { flow, taken, told: () => told, take, arrive };
}

describe("pull: flows", () => {
  it("subscribers at the same place → are given the very same frames", async () => {
    const readings = [read(), read("ben"), read()];
    for (const reading of readings) await reading.arrive();
    pull.onAppend(await fixture.write([put("c")]));
    for (const { take } of readings) take();
    const last = readings.map(({ taken }) => taken.at(-1));
    expect(last[0]?.map(({ kind }) => kind)).toEqual(["batch", "checkpoint"]);
    expect(new Set(last).size).toBe(1);
  });

  it("other batch sizes, or whole records → frames of their own", async () => {
    const readings = [
      read("ana", { ...followAll, batchBytesMax: 1 }),
      read("ana", { ...followAll, wholeRecords: true }),
      read(),
    ];
    for (const reading of readings) await reading.arrive();
    pull.onAppend(await fixture.write([put("a", { votes: 1 }), put("b", { votes: 1 })]));
    for (const { take } of readings) take();
    expect(new Set(readings.map(({ taken }) => taken.at(-1))).size).toBe(3);
  });

  it("nothing to take → told once when there is, not again before it is taken", async () => {
    const { flow, take, arrive, told } = read();
    await arrive();
    take();
    expect(flow.isWaiting).toBe(true);
    const before = told();
    pull.onAppend(await fixture.write([put("c")]));
    pull.onAppend(await fixture.write([put("d")]));
    expect(told()).toBe(before + 1);
    expect(flow.isWaiting).toBe(false);
    take();
    expect(flow.isWaiting).toBe(true);
    pull.onAppend(await fixture.write([put("e")]));
    expect(told()).toBe(before + 2);
  });

  it("closed in any state → no subscriber is left, nothing is told any more", async () => {
    const states: ((reading: Reading) => Promise<void> | void)[] = [
      () => {},
      ({ flow }) => void flow.take(),
      async ({ flow, told }) => {
        flow.take();
        await waitFor(() => told() > 0);
      },
      async ({ arrive }) => await arrive(),
      async ({ arrive }) => {
        await arrive();
        pull.onAppend(await fixture.write([put("c")]));
      },
    ];
    for (const reach of states) {
      const reading = read();
      await reach(reading);
      const before = reading.told();
      reading.flow.close();
      reading.flow.close();
      expect(reading.flow.isOver).toBe(true);
      expect(reading.flow.take()).toBeUndefined();
      pull.onAppend(await fixture.write([put("d")]));
      expect(reading.told()).toBe(before);
      expect(pull.subscribers).toBe(0);
    }
  });

  it("other feeds change, its own don't → one checkpoint at the end of all that", async () => {
    const { taken, take, arrive, flow } = read();
    await arrive();
    take();
    const before = taken.length;
    for (let n = 0; n < 5; n++) pull.onAppend(await fixture.write([put(`x${n}`, {}, ["todos/user:ben"])]));
    const { position } = flow.cursor;
    clock.advance(1_000);
    await waitFor(() => {
      take();
      return taken.length > before;
    });
    expect(taken.slice(before).map((portion) => portion.map(({ kind }) => kind))).toEqual([["checkpoint"]]);
    expect(flow.cursor.position).toBe(position + 5);
    expect(flow.cursor.checkpoint).toBe(position + 5);
  });
});
