// Replays a random run's history against the reference: each commit's receipts, in the order they were decided in, must
// be what the declared rules make of the records as they stood, and its documents what they leave. Writes of other
// programs just set the state. A record that a transaction writes is as it was just before the commit: else it would
// have failed. What it only read it read in its snapshot, which may be older: that is looked for, from the latest on back
// to what the clients knew when they sent its mutations.
import type { CommitClock } from "../../src/model/commit-clock.ts";
import type { Made } from "./random-clients.ts";
import type { Commit, KeptEntry, KeptReceipt } from "./random-history.ts";
import {
  COLLECTIONS,
  fieldNamed,
  isEqual,
  type RefCollection,
  type Values,
  valuesIn,
} from "./reference-fields.ts";
import { type Predicted, predict, type RefDocument, type RefRecord } from "./reference-outcome.ts";

export interface Run {
  readonly commits: readonly Commit[];
  /** By mutation id: all that clients made. */
  readonly made: ReadonlyMap<string, Made>;
  /** By device: what it knew to be done, in that order. */
  readonly done: ReadonlyMap<string, readonly string[]>;
}

/** A state at a time. */
interface Dated<T> {
  readonly clock: CommitClock;
  readonly state: T;
}

const NOTHING: RefRecord = { document: undefined, grave: undefined };

export class RunFault extends Error {
  override readonly name = "RunFault";
}

/** What a run had in it. */
export type Tally = Map<string, number>;

/** @throws RunFault at the first commit that is not what the rules make of it. */
export function checkRun(run: Run): Tally {
  const replay = new Replay(run);
  for (const commit of run.commits) replay.add(commit);
  return replay.tally;
}

class Replay {
  readonly tally: Tally = new Map();
  readonly #run: Run;
  readonly #records = new Map<string, Dated<RefRecord>[]>();
  readonly #entries = new Map<string, Dated<KeptEntry | undefined>[]>();
  readonly #clocks: CommitClock[] = [];
  readonly #committed = new Map<string, CommitClock>();

  constructor(run: Run) {
    this.#run = run;
  }

  add(commit: Commit): void {
    const after = commit.receipts.length > 0 ? this.#pushed(commit) : this.#direct(commit);
    for (const [ref, state] of after) datedIn(this.#records, ref).push({ clock: commit.clock, state });
    for (const [ref, state] of commit.entries)
      datedIn(this.#entries, ref).push({ clock: commit.clock, state });
    for (const { mutationId } of commit.receipts) {
      if (this.#committed.has(mutationId)) throw new RunFault(`${mutationId} has two receipts`);
      this.#committed.set(mutationId, commit.clock);
    }
    this.#clocks.push(commit.clock);
  }

  #direct({ documents }: Commit): Map<string, RefRecord> {
    return new Map([...documents].map(([ref, document]) => [ref, { ...this.#at(ref), document }]));
  }

  /** Of a record, at a time or now. */
  #at(ref: string, clock?: CommitClock): RefRecord {
    return stateAt(this.#records.get(ref), clock) ?? NOTHING;
  }

  #pushed(commit: Commit): Map<string, RefRecord> {
    const earliest = this.#earliestSnapshot(commit);
    let fault: RunFault | undefined;
    for (let index = this.#clocks.length - 1; index >= -1; index--) {
      const snapshot = this.#clocks[index] ?? 0n;
      try {
        const after = this.#replayed(commit, snapshot);
        if (fault) this.#tally("an older snapshot");
        return after;
      } catch (error) {
        if (!(error instanceof RunFault)) throw error;
        fault ??= error;
      }
      if (snapshot <= earliest) break;
    }
    throw fault ?? new RunFault("no snapshot");
  }

  #earliestSnapshot({ receipts, documents }: Commit): CommitClock {
    let earliest = 0n;
    for (const ref of documents.keys())
      earliest = later(earliest, this.#records.get(ref)?.at(-1)?.clock ?? 0n);
    for (const { mutationId } of receipts) {
      const { device, knownDone } = this.#made(mutationId).request;
      for (const id of (this.#run.done.get(device) ?? []).slice(0, knownDone))
        earliest = later(earliest, this.#committed.get(id) ?? 0n);
    }
    return earliest;
  }

  #made(mutationId: string): Made {
    const made = this.#run.made.get(mutationId);
    if (made === undefined) throw new RunFault(`nobody made ${mutationId}`);
    return made;
  }

  /** The states the commit leaves, if it is what the rules make of that snapshot. */
  #replayed(commit: Commit, snapshot: CommitClock): Map<string, RefRecord> {
    const before = (ref: string) => (commit.documents.has(ref) ? this.#at(ref) : this.#at(ref, snapshot));
    const { records, kinds } = this.#decided(commit, snapshot, before);
    for (const ref of commit.documents.keys())
      if (!records.has(ref)) throw new RunFault(`${ref} was written, and no receipt tells of it`);
    const after = new Map<string, RefRecord>();
    for (const [ref, record] of records) {
      const isWritten = commit.documents.has(ref);
      const left = isWritten ? commit.documents.get(ref) : before(ref).document;
      if (!isSame(left, record.document)) {
        const pushed = commit.receipts.map(({ mutationId }) => mutationId);
        throw new RunFault(
          `${ref} at ${commit.clock}: ${difference(left, record.document)}; pushed: ${pushed}`,
        );
      }
      if (isWritten) after.set(ref, record);
      else if (record.grave !== before(ref).grave) after.set(ref, { ...this.#at(ref), grave: record.grave });
    }
    this.#count(commit, kinds);
    return after;
  }

  /** One receipt after the other: the records they leave, and what is worth counting. */
  #decided(commit: Commit, snapshot: CommitClock, before: (ref: string) => RefRecord) {
    const records = new Map<string, RefRecord>();
    const recordAt = (ref: string) => records.get(ref) ?? before(ref);
    const kinds: string[] = [];
    for (const kept of commit.receipts) {
      const made = this.#made(kept.mutationId);
      if (isDatabaseRefusal(made, kept, commit)) {
        kinds.push("refused by the database");
        continue;
      }
      const isUndone = isRefusedAtomically(made, kept);
      const at = { snapshot, atMs: kept.atMs };
      const record = isUndone ? this.#recordInRequest(made, recordAt, at) : recordAt(made.ref);
      const predicted = this.#predicted(made, record, at);
      compareKept(made, kept, predicted);
      const told = isUndone ? recordAt(made.ref).document?.values : predicted.told;
      compareTold(made, predicted.told && told);
      if (!isUndone) records.set(made.ref, predicted.after);
      kinds.push(...kindsOf(made, predicted, record));
    }
    return { records, kinds };
  }

  #predicted({ sent, intent, ref }: Made, record: RefRecord, { snapshot, atMs }: Moment): Predicted {
    const entry = stateAt(this.#entries.get(ref), snapshot);
    const isCurrent = entry?.seq === sent.expectedVersion && isEqual(entry.values, record.document?.values);
    const isExpected = sent.expectedVersion === 0 ? undefined : isCurrent;
    return predict(intent, { collection: collectionOf(ref), record, isExpected, atMs });
  }

  /** What a refused mutation of an atomic request was decided on: after those before it, which were then undone. */
  #recordInRequest(made: Made, recordAt: (ref: string) => RefRecord, moment: Moment): RefRecord {
    const records = new Map<string, RefRecord>();
    for (const each of made.request.made) {
      if (each === made) break;
      if (this.#committed.has(each.sent.mutationId)) continue;
      const record = records.get(each.ref) ?? recordAt(each.ref);
      records.set(each.ref, this.#predicted(each, record, moment).after);
    }
    return records.get(made.ref) ?? recordAt(made.ref);
  }

  #count({ receipts, documents }: Commit, kinds: readonly string[]): void {
    const all = [...kinds];
    if (receipts.length > 1) all.push("several in a transaction");
    if (documents.size > 0 && receipts.length > documents.size)
      all.push("several of a record in a transaction");
    for (const kind of all) this.#tally(kind);
  }

  #tally(kind: string): void {
    this.tally.set(kind, (this.tally.get(kind) ?? 0) + 1);
  }
}

interface Moment {
  readonly snapshot: CommitClock;
  readonly atMs: number;
}

function compareKept({ intent, ref }: Made, kept: KeptReceipt, predicted: Predicted): void {
  const expected = { ...predicted, conflicts: [...predicted.conflicts].sort() };
  for (const key of ["outcome", "reason", "absent", "conflicts"] as const) {
    if (JSON.stringify(kept[key]) !== JSON.stringify(expected[key]))
      throw new RunFault(
        `${kept.mutationId}, ${intent.kind} of ${ref}: ${key} ${kept[key]}, not ${expected[key]}`,
      );
  }
}

/** @param record what was to be told with it when it was decided; sent again, it comes with what is there then. */
function compareTold({ told, sent }: Made, record: Values | undefined): void {
  const first = told.find(({ replayed, outcome }) => !replayed && outcome !== "NOT_ATTEMPTED");
  if (first === undefined) return;
  const values = first.record?.form === "JSON" ? valuesIn(first.record.json, "JSON") : undefined;
  if (JSON.stringify(values) === JSON.stringify(record) || (values && record && isEqual(values, record)))
    return;
  throw new RunFault(`${sent.mutationId} was told ${differingValues(values, record)}`);
}

/** What is worth counting: that a test which counts none shows nothing. */
function kindsOf(
  { intent, sent, request, ref }: Made,
  { outcome, conflicts }: Predicted,
  { document }: RefRecord,
): string[] {
  const kinds = [`${intent.kind} ${outcome}`];
  if (intent.kind === "update") {
    const rules = conflicts
      .map((name) => fieldNamed(name))
      .map(({ kind, rule }) => `${rule ?? "inherited"} of ${kind}`);
    kinds.push(...rules.map((rule) => `met: ${rule}`));
    if (document === undefined && outcome === "MERGED") kinds.push("revived");
    if (intent.base === undefined) kinds.push(`blind ${outcome}`);
  }
  if (intent.kind === "delete") kinds.push(`delete ${outcome} of ${collectionOf(ref).deletes}`);
  if (sent.expectedVersion !== 0) kinds.push(`expected version: ${outcome}`);
  if (request.atomic) kinds.push(`atomic: ${outcome}`);
  return kinds;
}

function later(a: CommitClock, b: CommitClock): CommitClock {
  return a > b ? a : b;
}

function datedIn<T>(all: Map<string, Dated<T>[]>, ref: string): Dated<T>[] {
  const dated = all.get(ref) ?? [];
  all.set(ref, dated);
  return dated;
}

function stateAt<T>(all: readonly Dated<T>[] | undefined, clock: CommitClock | undefined): T | undefined {
  return all?.findLast((dated) => clock === undefined || dated.clock <= clock)?.state;
}

function collectionOf(ref: string): RefCollection {
  const found = COLLECTIONS.find(({ name }) => ref.startsWith(`${name}/`));
  if (found === undefined) throw new Error(`no collection for ${ref}`);
  return found;
}

/** Nothing but its receipt is kept of such a request. */
function isRefusedAtomically({ request }: Made, { outcome }: KeptReceipt): boolean {
  return request.atomic && outcome !== "APPLIED" && outcome !== "MERGED";
}

/** Recorded after the fact, alone. */
function isDatabaseRefusal(made: Made, { reason }: KeptReceipt, { receipts, documents }: Commit): boolean {
  return reason === "DATABASE" && mayCollide(made) && receipts.length === 1 && documents.size === 0;
}

/** It sets a value of the unique index, or brings one back. */
function mayCollide({ intent, ref }: Made): boolean {
  if (intent.kind === "create") return (intent.values["code"] ?? null) !== null;
  return intent.kind === "update" && ("code" in intent.proposed || collectionOf(ref).deletes === "EDIT_WINS");
}

function isSame(a: RefDocument | undefined, b: RefDocument | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return isEqual(a.values, b.values) && isEqual({ ...a.undeclared }, { ...b.undeclared });
}

function difference(is: RefDocument | undefined, expected: RefDocument | undefined): string {
  if (!is || !expected) return `is ${is ? "there" : "gone"}, not ${expected ? "there" : "gone"}`;
  const undeclared = isEqual({ ...is.undeclared }, { ...expected.undeclared })
    ? ""
    : ` undeclared ${JSON.stringify(is.undeclared)}, not ${JSON.stringify(expected.undeclared)}`;
  return `${differingValues(is.values, expected.values)}${undeclared}`;
}

function differingValues(is: Values | undefined, expected: Values | undefined): string {
  if (!is || !expected) return `${is ? "a record" : "none"}, not ${expected ? "a record" : "none"}`;
  return Object.keys(expected)
    .filter((name) => !isEqual(is[name], expected[name]))
    .map((name) => `${name} ${JSON.stringify(is[name])}, not ${JSON.stringify(expected[name])}`)
    .join("; ");
}
