// The subscription's rules hold in random worlds, and each of them is needed: leaving one out breaks runs.
import { describe, expect, it } from "vitest";
import { randomOf, seedOf } from "../support/random.ts";
import { type Faults, Model } from "./subscription-model.ts";

const RUNS = 800;
const STEPS = 60;

const seed = seedOf(1);

/** What broke, run by run, up to the first run that broke. */
function firstBroken(faults: Faults): readonly string[] {
  for (let run = 0; run < RUNS; run++) {
    const model = new Model(randomOf(seed, `model ${run}`), faults);
    model.run(STEPS);
    if (model.broken.size > 0) return [`run ${run}`, ...model.broken];
  }
  return [];
}

describe(`subscription: random worlds, TIDEMARK_SEED=${seed}`, () => {
  it("every checkpoint equals the source, every delta has its base, nothing leaks", () => {
    expect(firstBroken({})).toEqual([]);
  });

  const faults: ReadonlyArray<readonly [keyof Faults, RegExp]> = [
    ["noSuppression", /≠ source|without base/],
    ["noCover", /≠ source|without base/],
    ["noBackfill", /≠ source|without base/],
    ["forgetsAtOnce", /≠ source/],
    ["noLeavingMark", /≠ source|without base/],
    ["noHorizon", /≠ source/],
    ["noJoin", /never visible/],
    ["goneFromOne", /≠ source|without base/],
    ["recreationDropsLeavers", /≠ source/],
    ["noPackExclusion", /≠ source|without base/],
    ["noPackJoin", /≠ source/],
    ["noPackHorizon", /≠ source/],
  ];

  it.each(faults)("%s: with this rule left out → %s", (fault, breaks) => {
    expect(firstBroken({ [fault]: true }).join()).toMatch(breaks);
  });
});
