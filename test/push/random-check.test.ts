// The random test's own check: it passes a small history that is as the rules would have it, and finds each fault
// planted in it.
import { expect, test } from "vitest";
import type { Receipt } from "../../src/model/receipt.ts";
import { update } from "./push-fixture.ts";
import { checkRun, RunFault } from "./random-check.ts";
import type { Made, Request } from "./random-clients.ts";
import type { Commit, KeptReceipt } from "./random-history.ts";
import { checkCounters, checkTold } from "./random-told.ts";
import { empty, fieldNamed, type Values } from "./reference-fields.ts";
import type { RefDocument } from "./reference-outcome.ts";

const REF = "loose/c1";

/** A history, to be doctored: documents by commit, receipts kept by commit, and what was told of each mutation. */
interface History {
  readonly documents: (Record<string, RefDocument> | undefined)[];
  readonly kept: KeptReceipt[][];
  readonly told: Record<string, Receipt[]>;
  atomic: boolean;
}

const sides: Record<string, { readonly base: Values; readonly proposed: Values }> = {
  count: { base: { count: 5 }, proposed: { count: 7 } },
  first: { base: { text: "a" }, proposed: { text: "b" } },
  second: { base: { text: "a" }, proposed: { text: "c" } },
};

/**
 * Another program makes a record with a count of 5 and makes it 6; a client that saw 5 adds 2; two that saw the text `a`
 * make it `b` and `c`, in one transaction.
 */
function history(): History {
  return {
    documents: [
      { [REF]: document({ count: 5 }) },
      { [REF]: document({ count: 6 }) },
      { [REF]: document({ count: 8, ...stamps(100) }) },
      { [REF]: document({ count: 8, text: "c", ...stamps(200) }) },
    ],
    kept: [
      [],
      [],
      [kept("count", "MERGED", ["count"], 100)],
      [kept("first", "APPLIED", [], 200), kept("second", "MERGED", ["text"], 200)],
    ],
    told: {
      count: [receipt("count", 3n, { count: 8, ...stamps(100) }), again("count", 4n)],
      first: [receipt("first", 4n)],
      second: [receipt("second", 4n, { count: 8, text: "c", ...stamps(200) })],
    },
    atomic: false,
  };
}

function stamps(atMs: number): Values {
  return { written: atMs, wrote: String(atMs) };
}

function document(values: Values): RefDocument {
  return { values: { ...empty(), ownerId: "ana", text: "a", ...values }, undeclared: { extra: "1" } };
}

function kept(mutationId: string, outcome: string, conflicts: string[], atMs: number): KeptReceipt {
  return { mutationId, outcome, reason: undefined, absent: false, conflicts, atMs };
}

function receipt(mutationId: string, commitClock: bigint, merged?: Values): Receipt {
  const field = Object.keys(sides[mutationId]?.base ?? {})[0] ?? "";
  const { number } = fieldNamed(field);
  return {
    mutationId,
    recordId: "c1",
    outcome: merged ? "MERGED" : "APPLIED",
    commitClock,
    replayed: false,
    record: merged && { form: "JSON", json: json(document(merged).values) },
    recordAbsent: false,
    conflicts: merged ? [{ field: number, name: field }] : [],
    rejection: undefined,
  };
}

function again(mutationId: string, commitClock: bigint): Receipt {
  return { ...receipt(mutationId, commitClock), outcome: "MERGED", replayed: true };
}

function json({ count, text, ownerId, written, wrote }: Values) {
  const told = { count: Number(count), text: String(text), ownerId: String(ownerId), wrote: String(wrote) };
  return { ...told, written: new Date(Number(written)).toISOString() };
}

function check({ documents, kept: receipts, told, atomic }: History): void {
  const commits = documents.map((left, index): Commit => {
    const written = new Map(Object.entries(left ?? {}));
    return {
      clock: BigInt(index + 1),
      receipts: receipts[index] ?? [],
      documents: written,
      entries: new Map(),
    };
  });
  const request: Request = { made: [], atomic, device: "phone", knownDone: 0 };
  for (const [mutationId, { base, proposed }] of Object.entries(sides)) {
    const sent = update("c1", {}, {}, { mutationId });
    const intent = { kind: "update", base, proposed } as const;
    request.made.push({ sent, intent, ref: REF, request, told: told[mutationId] ?? [] });
  }
  const made = new Map(request.made.map((each): [string, Made] => [each.sent.mutationId, each]));
  checkRun({ commits, made, done: new Map() });
  checkTold(commits, made, { disturbed: false });
  checkCounters(commits, made, new Map([[`${REF} count`, 6n]]));
}

const faults: readonly [string, (history: History) => unknown][] = [
  ["an increment lost", ({ documents }) => set(documents, 2, { count: 7, ...stamps(100) })],
  ["an increment counted twice", ({ documents }) => set(documents, 2, { count: 10, ...stamps(100) })],
  ["an increment lost later", ({ documents }) => documents.push({ [REF]: document({ count: 6 }) })],
  ["a merge by another rule", ({ documents }) => set(documents, 3, { count: 8, text: "b", ...stamps(200) })],
  ["a stamp missing", ({ documents }) => set(documents, 2, { count: 8 })],
  ["a stamp of another time", ({ documents }) => set(documents, 2, { count: 8, ...stamps(101) })],
  ["an effect missing", ({ documents }) => documents.splice(2, 1, undefined)],
  [
    "an undeclared key lost",
    ({ documents: [, , third] }) => Object.assign(third?.[REF] ?? {}, { undeclared: {} }),
  ],
  ["a record gone", ({ documents }) => documents.splice(3, 1, { "loose/r1": document({}) })],
  [
    "a foreign record written",
    ({ documents: [, , , last = {}] }) => Object.assign(last, { "loose/r1": document({}) }),
  ],
  ["a second receipt", ({ kept: [, , third, last] }) => last?.push(...(third ?? []))],
  ["a receipt missing", ({ kept: [, , third] }) => third?.pop()],
  ["a receipt nobody asked for", ({ kept: [, second] }) => second?.push(kept("stranger", "APPLIED", [], 1))],
  ["decided in another order", ({ kept: [, , , last] }) => last?.reverse()],
  [
    "another outcome kept",
    ({ kept: [, , third] }) => third?.splice(0, 1, kept("count", "APPLIED", ["count"], 100)),
  ],
  ["a conflict not kept", ({ kept: [, , third] }) => third?.splice(0, 1, kept("count", "MERGED", [], 100))],
  ["another outcome told", ({ told: { count } }) => change(count, { outcome: "APPLIED" })],
  ["a conflict not told", ({ told: { count } }) => change(count, { conflicts: [] })],
  [
    "another record told",
    ({ told: { count } }) => change(count, { record: { form: "JSON", json: { count: 7 } } }),
  ],
  ["no record told", ({ told: { count } }) => change(count, { record: undefined })],
  ["another commit clock told", ({ told: { first } }) => change(first, { commitClock: 5n })],
  ["an earlier commit clock told again", ({ told: { count } }) => count?.push(again("count", 2n))],
  ["told to be absent", ({ told: { count } }) => change(count, { recordAbsent: true })],
  ["done twice, as it is told", ({ told: { first } }) => first?.push(receipt("first", 4n))],
  ["told nothing", ({ told: { first } }) => first?.pop()],
  ["half of an atomic request", (all) => Object.assign(all, { atomic: true })],
];

function set(documents: History["documents"], index: number, values: Values): void {
  documents[index] = { [REF]: document(values) };
}

function change(receipts: Receipt[] | undefined, changed: Partial<Receipt>): void {
  const [first] = receipts ?? [];
  if (first) receipts?.splice(0, 1, { ...first, ...changed });
}

test("push: the random test's check: a history as the rules have it → no fault", () => {
  expect(() => check(history())).not.toThrow();
});

test.each(faults)("push: the random test's check: %s → found", (_, plant) => {
  const doctored = history();
  plant(doctored);
  expect(() => check(doctored)).toThrow(RunFault);
});
