// What clients were told, held against what was recorded: each mutation has one receipt, the same each time it is told,
// in the order its device made it; and no counted increment is lost.
import type { CommitClock } from "../../src/model/commit-clock.ts";
import { RunFault } from "./random-check.ts";
import type { Made, Request } from "./random-clients.ts";
import { type Commit, conflictNames, type KeptReceipt } from "./random-history.ts";
import type { Counted } from "./random-writer.ts";
import { isEqual } from "./reference-fields.ts";
import { refusedByItself } from "./reference-outcome.ts";

interface Recorded {
  readonly kept: KeptReceipt;
  readonly clock: CommitClock;
  /** Among all receipts. */
  readonly position: number;
}

export interface ToldOptions {
  /** Commits' answers were lost on the way: the clock told may be later. */
  readonly disturbed: boolean;
}

export function checkTold(
  commits: readonly Commit[],
  made: ReadonlyMap<string, Made>,
  options: ToldOptions,
): void {
  const recorded = new Map<string, Recorded>();
  for (const { clock, receipts } of commits) {
    for (const kept of receipts) {
      if (recorded.has(kept.mutationId)) fail(kept.mutationId, "has two receipts");
      recorded.set(kept.mutationId, { kept, clock, position: recorded.size });
    }
  }
  for (const each of made.values()) checkMutation(each, recorded.get(each.sent.mutationId), options);
  for (const request of new Set([...made.values()].map((each) => each.request)))
    checkRequest(request, recorded);
}

function checkMutation(made: Made, recorded: Recorded | undefined, { disturbed }: ToldOptions): void {
  const { mutationId, expectedVersion } = made.sent;
  const final = made.told.filter(({ outcome }) => outcome !== "NOT_ATTEMPTED");
  const refused = refusedByItself(made.intent, expectedVersion !== 0);
  if (refused !== undefined) {
    if (recorded) fail(mutationId, "is refused by itself, and yet recorded");
    if (made.told.some(({ rejection }) => rejection?.reason !== refused))
      fail(mutationId, `isn't told ${refused}`);
    return;
  }
  if (made.told.length !== final.length && !made.request.atomic) fail(mutationId, "was not attempted");
  if (final.length > 0 !== (recorded !== undefined))
    fail(mutationId, recorded ? "is told nothing" : "isn't recorded");
  if (recorded === undefined) return;
  const { kept, clock } = recorded;
  if (final.filter(({ replayed }) => !replayed).length > 1) fail(mutationId, "was done twice, it is told");
  for (const receipt of final) {
    const isDone = kept.outcome === "APPLIED" || kept.outcome === "MERGED";
    if (receipt.outcome !== kept.outcome || receipt.rejection?.reason !== kept.reason)
      fail(mutationId, `is told ${receipt.outcome}, not ${kept.outcome}`);
    if (receipt.recordAbsent !== kept.absent)
      fail(mutationId, "isn't told truly whether the record is absent");
    if (receipt.commitClock < (isDone ? clock : 0n) || (!isDone && receipt.commitClock > 0n))
      fail(mutationId, `is told the commit clock ${receipt.commitClock}, not ${clock}`);
    if (!receipt.replayed && isDone && !disturbed && receipt.commitClock !== clock)
      fail(mutationId, `is told the commit clock ${receipt.commitClock}, not ${clock}`);
    const conflicts = conflictNames(receipt.conflicts.map(({ field }) => field));
    // Those of a record that is gone again, or of edits undone, aren't told.
    const tellsNone = conflicts.length === 0 && (receipt.replayed || made.request.atomic);
    if (!tellsNone && !isEqual(conflicts, [...kept.conflicts]))
      fail(mutationId, `is told conflicts in ${conflicts}, not in ${kept.conflicts}`);
  }
}

/** The order of a request is the order in which its mutations were decided; an atomic one is done as a whole. */
function checkRequest({ made, atomic }: Request, recorded: ReadonlyMap<string, Recorded>): void {
  const found = [...new Set(made)].flatMap(({ sent }) => recorded.get(sent.mutationId) ?? []);
  for (const [index, { kept, position }] of found.entries()) {
    if (index > 0 && position <= (found[index - 1]?.position ?? 0))
      fail(kept.mutationId, "was decided too early");
  }
  if (!atomic || found.length === 0) return;
  const done = found.filter(({ kept: { outcome } }) => outcome === "APPLIED" || outcome === "MERGED");
  const [first] = found;
  if (first === undefined || done.length === 0) {
    if (found.length > 1) fail(found[1]?.kept.mutationId ?? "", "is blamed beside another");
    return;
  }
  const isWhole = done.length === new Set(made).size && done.every(({ clock }) => clock === first.clock);
  if (!isWhole) fail(first.kept.mutationId, "was done without the rest of its request");
}

/** Counters at the end: what clients and the other program added. */
export function checkCounters(
  commits: readonly Commit[],
  made: ReadonlyMap<string, Made>,
  counted: Counted,
): void {
  const sums = new Map<string, bigint>(counted);
  const last = new Map<string, Commit["documents"] extends ReadonlyMap<string, infer D> ? D : never>();
  for (const { documents, receipts } of commits) {
    for (const [ref, document] of documents) last.set(ref, document);
    for (const { mutationId, outcome } of receipts) {
      const one = made.get(mutationId);
      if (one && (outcome === "APPLIED" || outcome === "MERGED")) addTo(sums, one);
    }
  }
  for (const [key, sum] of sums) {
    const [ref = "", name = ""] = key.split(" ");
    const value = inUnits(name, last.get(ref)?.values[name]);
    if (value !== sum) fail(key, `is ${value}, not ${sum}`);
  }
}

function addTo(sums: Map<string, bigint>, { intent, ref }: Made): void {
  if (intent.kind !== "update" || !ref.includes("/c") || intent.base === undefined) return;
  for (const name of ["count", "total", "sum"]) {
    if (!(name in intent.proposed)) continue;
    const delta = inUnits(name, intent.proposed[name]) - inUnits(name, intent.base[name]);
    sums.set(`${ref} ${name}`, (sums.get(`${ref} ${name}`) ?? 0n) + delta);
  }
}

/** Doubles in quarters. */
function inUnits(name: string, value: unknown): bigint {
  return name === "sum" ? BigInt(Number(value) * 4) : BigInt(value as string | number);
}

function fail(what: string, fault: string): never {
  throw new RunFault(`${what} ${fault}`);
}
