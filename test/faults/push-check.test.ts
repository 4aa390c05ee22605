// The checkers of the killed pushes, each shown to find the fault it is there for, planted into evidence that is sound.
import { expect, test } from "vitest";
import { Outcome } from "#gen/tidemark/v1/receipt_pb.js";
import { AwaitedEffects } from "../support/awaited-effects.ts";
import { type Evidence, faultsOf } from "./push-check.ts";
import type { Note, Telling } from "./push-device.ts";
import { type EditKind, type Fields, firstContent, HALL } from "./push-edits.ts";

const told: Telling = { outcome: Outcome.MERGED, replayed: false, commitClock: 1n } as Telling;

function noteOf(mutationId: string, recordId: string, kind: EditKind, tellings = [told]): Note {
  const head = { collection: "items", madeAfter: 0n, expectedVersion: 0n } as const;
  return { edit: { ...head, mutationId, recordId, kind }, tellings };
}

/** Two edits of one record made on the same base, a record made and one made and deleted, and a direct write. */
function soundEvidence(): Evidence {
  const start = firstContent("r", "nobody", HALL);
  const base: Fields = { score: 10, tally: { likes: 5 }, state: "r", label: "r", high: 1, low: start.low };
  const first: Fields = { score: 12, tally: { likes: 6 }, state: "a", label: "a", high: 5, low: 9 };
  const second: Fields = { score: 9, tally: { likes: 7 }, state: "b", label: "b", high: 3, low: 10 };
  const update = (proposed: Fields, tag: string): EditKind => ({
    case: "update",
    base: { ...base, tags: [] },
    proposed: { ...proposed, tags: [tag] },
  });
  const content = firstContent("c", "ana", "");
  const again: Telling = { ...told, replayed: true, commitClock: 9n };
  const at = (commitClock: bigint): Telling => ({ ...told, commitClock });
  return {
    notes: [
      noteOf("m1", "r", update(first, "x"), [at(1n), again]),
      noteOf("m2", "r", update(second, "y"), [at(2n)]),
      noteOf("m3", "c", { case: "create", content }, [at(3n)]),
      noteOf("m4", "d", { case: "create", content }, [at(3n)]),
      noteOf("m5", "d", { case: "delete", base: undefined }, [again]),
      noteOf("m6", "r", update({ lock: "l" }, "z"), [{ ...told, outcome: Outcome.CONFLICT }]),
    ],
    ledger: [
      { mutationId: "m1", outcome: "MERGED", conflicts: [] },
      { mutationId: "m2", outcome: "MERGED", conflicts: ["state"] },
      { mutationId: "m3", outcome: "MERGED", conflicts: [] },
      { mutationId: "m4", outcome: "MERGED", conflicts: [] },
      { mutationId: "m5", outcome: "MERGED", conflicts: [] },
      { mutationId: "m6", outcome: "CONFLICT", conflicts: ["lock"] },
    ],
    commits: [
      { clock: 1n, receipts: ["m1"], writes: [{ kind: "update", key: "items/r", score: 12 }] },
      { clock: 2n, receipts: ["m2"], writes: [{ kind: "update", key: "items/r", score: 11 }] },
      {
        clock: 3n,
        receipts: ["m3", "m4"],
        writes: ["c", "d"].map((id) => ({ kind: "insert", key: `items/${id}`, score: 10 })),
      },
      { clock: 4n, receipts: ["m5"], writes: [{ kind: "delete", key: "items/d", score: undefined }] },
      { clock: 5n, receipts: ["m6"], writes: [] },
      { clock: 6n, receipts: [], writes: [{ kind: "update", key: "items/r", score: 18 }] },
    ],
    start: new Map([["items/r", start]]),
    end: new Map([
      ["items/r", endOfR(start)],
      ["items/c", content],
    ] as const),
    graves: new Map(),
    direct: new Map([["items/r", { score: 7, likes: 1 }]]),
  };
}

function endOfR(start: Fields): Fields {
  const tally = { likes: 9, note: "of r" };
  return { ...start, score: 18, tally, state: "a", label: "b", high: 5, low: 9, tags: ["r", "x", "y"] };
}

function withEnd(fields: Fields | undefined, key = "items/r"): Evidence {
  const evidence = soundEvidence();
  const end = new Map(evidence.end);
  if (fields) end.set(key, { ...end.get(key), ...fields });
  else end.delete(key);
  return { ...evidence, end };
}

function without<T>(list: readonly T[], index: number, ...instead: T[]): T[] {
  return list.toSpliced(index, 1, ...instead);
}

test("killed pushes: evidence that is sound → no fault", () => {
  expect(faultsOf(soundEvidence())).toEqual([]);
});

const sound = soundEvidence();
const [m1, m2, m3] = sound.notes;
const [c1, , c3] = sound.commits;
if (!m1 || !m2 || !m3 || !c1 || !c3) throw new Error("they are in the evidence");

test.each<[string, Evidence, RegExp]>([
  ["an increment lost", withEnd({ score: 16 }), /items\/r: score is 16, should be 18/],
  ["an increment doubled", withEnd({ score: 20 }), /items\/r: score is 20, should be 18/],
  ["a nested increment lost", withEnd({ tally: { likes: 8, note: "of r" } }), /tally\.likes is 8/],
  ["a nested neighbour lost", withEnd({ tally: { likes: 9 } }), /tally\.note is undefined/],
  ["an addition to a set lost", withEnd({ tags: ["r", "y"] }), /tags is r,y/],
  ["an addition to a set doubled", withEnd({ tags: ["r", "x", "y", "y"] }), /tags is r,x,y,y/],
  ["not the largest", withEnd({ high: 3 }), /high is 3/],
  ["not the smallest", withEnd({ low: 10 }), /low is 10/],
  ["not the last writer's", withEnd({ label: "a" }), /label is a, should be b/],
  ["a conflict written over the server's value", withEnd({ state: "b" }), /state is a, should be b/],
  ["a REJECT written all the same", withEnd({ lock: "l" }), /lock is r, should be l/],
  ["a created record lost", withEnd(undefined, "items/c"), /items\/c is lost/],
  ["a deleted record back", withEnd(m4Content(), "items/d"), /items\/d is still there/],
  [
    "a create done twice",
    { ...sound, commits: [...sound.commits, { ...c3, clock: 8n, receipts: [] }] },
    /items\/c was created 1 times and made 2 times/,
  ],
  ["a receipt lost", { ...sound, ledger: without(sound.ledger, 0) }, /m1 has 0 receipts of 1 commits/],
  [
    "a receipt committed twice",
    { ...sound, commits: [...sound.commits, { ...c1, clock: 8n, writes: [] }] },
    /m1 has 1 receipts of 2 commits/,
  ],
  ["a receipt nobody sent", { ...sound, notes: without(sound.notes, 2) }, /the ledger has m3/],
  [
    "an outcome that changes",
    {
      ...sound,
      notes: without(sound.notes, 0, {
        ...m1,
        tellings: [...m1.tellings, { ...told, outcome: Outcome.CONFLICT }],
      }),
    },
    /m1 was told MERGED, CONFLICT/,
  ],
  [
    "told as done twice",
    { ...sound, notes: without(sound.notes, 0, { ...m1, tellings: [...m1.tellings, ...m1.tellings] }) },
    /m1 was told twice as done just now/,
  ],
  [
    "a replay told earlier than the commit",
    {
      ...sound,
      notes: without(sound.notes, 1, {
        ...m2,
        tellings: [...m2.tellings, { ...told, replayed: true, commitClock: 1n }],
      }),
    },
    /m2 was told a commit clock before its commit/,
  ],
  [
    "a commit clock that isn't the commit's",
    { ...sound, notes: without(sound.notes, 1, { ...m2, tellings: [told] }) },
    /m2 was committed at 2 and told 1/,
  ],
  [
    "never acknowledged",
    {
      ...sound,
      notes: without(sound.notes, 1, {
        ...m2,
        tellings: [{ ...told, outcome: Outcome.NOT_ATTEMPTED }],
      }),
    },
    /m2 was told nothing/,
  ],
  [
    "an effect in another commit than its receipt, though the sum is right",
    {
      ...sound,
      commits: without(sound.commits, 0, { ...c1, writes: [] }, { ...c1, clock: 7n, receipts: [] }),
    },
    /the commit at 1 made score undefined, its receipts say 12/,
  ],
])("killed pushes: %s → found", (_, evidence, fault) => {
  expect(faultsOf(evidence).join("\n")).toMatch(fault);
});

function m4Content(): Fields {
  return firstContent("c", "ana", "");
}

test("P4's checker: missing at a checkpoint that reaches the receipt → found, whichever comes first", () => {
  const early = new AwaitedEffects<ReadonlySet<string>>();
  early.sent("m", (view) => view.has("m"));
  early.checkpoint(4n, new Set());
  early.told("m", 5n);
  early.checkpoint(5n, new Set());
  early.checkpoint(6n, new Set(["m"]));
  const late = new AwaitedEffects<ReadonlySet<string>>();
  late.sent("m", (view) => view.has("m"));
  late.checkpoint(5n, new Set());
  late.checkpoint(6n, new Set(["m"]));
  late.told("m", 5n);
  for (const { faults } of [early, late]) expect(faults).toEqual(["P4: m, committed at 5, was missing at 5"]);
});

test("P4's checker: no checkpoint reaches the receipt → found; shown in time → no fault", () => {
  const effects = new AwaitedEffects<ReadonlySet<string>>();
  effects.sent("m", (view) => view.has("m"));
  effects.told("m", 5n);
  effects.checkpoint(4n, new Set(["m"]));
  expect(effects.waiting()).toEqual(["m"]);
  effects.checkpoint(6n, new Set(["m"]));
  expect([effects.waiting(), effects.faults, effects.reached]).toEqual([[], [], 1]);
});
