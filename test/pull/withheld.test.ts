// What a node has heard of the log's schema: when more is withheld, and which states show what isn't shown any more.
import { expect, test } from "vitest";
import type { LogState } from "../../src/log/state.ts";
import { Withheld } from "../../src/pull/withheld.ts";

function stateOf(revision: number, oldestReadable: number, epoch = "e"): LogState {
  const notes = { name: "notes", generation: oldestReadable, fingerprint: "f", oldestReadable };
  return { epoch, revision, collections: [{ ...notes, load: undefined }] } as unknown as LogState;
}

test("withheld: a state that hides more → told once, and the states before it are behind what is heard", () => {
  const withheld = new Withheld();
  const before = stateOf(1, 1);
  expect(withheld.hear(before)).toBe(false);
  expect(withheld.isBeyond(before)).toBe(false);
  expect(withheld.hear(stateOf(3, 2))).toBe(true);
  expect(withheld.times).toBe(1);
  expect(withheld.isBeyond(before)).toBe(true);
  expect(withheld.isBeyond(stateOf(3, 2))).toBe(false);
});

test("withheld: a state heard late → nothing new, and not taken for the present one", () => {
  const withheld = new Withheld();
  withheld.hear(stateOf(3, 2));
  expect(withheld.hear(stateOf(2, 1))).toBe(false);
  expect(withheld.isBeyond(stateOf(2, 1))).toBe(true);
});

test("withheld: another log → whatever was read of the one before is behind", () => {
  const withheld = new Withheld();
  withheld.hear(stateOf(3, 1));
  expect(withheld.hear(stateOf(1, 1, "other"))).toBe(true);
  expect(withheld.isBeyond(stateOf(3, 1))).toBe(true);
});

test("withheld: nothing heard yet → nothing is behind", () => {
  expect(new Withheld().isBeyond(stateOf(1, 5))).toBe(false);
});
