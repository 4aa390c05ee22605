// Replays a random run's history against the reference: each commit's receipts, in the order they were decided in, must
// be what the declared rules make of the records as they stood, and its documents what they leave. Writes of other
// programs just set the state.
//
// A record that a transaction writes is as it was just before the commit: else the transaction would have failed. What
// it only read, it read in its snapshot, which may be older: it is looked for, from the latest on back to what the
// client knew when it sent the first of the mutations.
import type { CommitClock } from "../../src/model/commit-clock.ts";
import type { Receipt } from "../../src/model/receipt.ts";
import type { Made } from "./random-clients.ts";
import type { Commit, KeptEntry, KeptReceipt } from "./random-history.ts";
import { COLLECTIONS, isEqual, type RefCollection, type Values, valuesIn } from "./reference-fields.ts";
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
        return this.#replayed(commit, snapshot);
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
    const now = new Map<string, RefRecord>();
    const before = (ref: string) => (commit.documents.has(ref) ? this.#at(ref) : this.#at(ref, snapshot));
    const recordAt = (ref: string) => now.get(ref) ?? before(ref);
    const kinds: string[] = [];
    for (const kept of commit.receipts) {
      const made = this.#made(kept.mutationId);
      if (isDatabaseRefusal(made, kept, commit)) continue;
      const seen = isUndone(made, kept) ? this.#undone(made, recordAt, snapshot, kept.atMs) : recordAt;
      const predicted = this.#predicted(made, seen(made.ref), snapshot, kept.atMs);
      this.#compare(made, kept, predicted, {
        commit,
        told: isUndone(made, kept) ? recordAt(made.ref) : undefined,
      });
      if (!isUndone(made, kept)) now.set(made.ref, predicted.after);
      kinds.push(
        `${made.intent.kind} ${predicted.outcome}`,
        ...predicted.conflicts.map((name) => `met in ${name}`),
      );
    }
    for (const ref of commit.documents.keys())
      if (!now.has(ref)) throw new RunFault(`${ref} was written, and no receipt tells of it`);
    const after = new Map<string, RefRecord>();
    for (const [ref, record] of now) {
      const left = commit.documents.has(ref) ? commit.documents.get(ref) : before(ref).document;
      if (!isSame(left, record.document)) {
        throw new RunFault(
          `${ref} at ${commit.clock}: ${difference(left, record.document)}; receipts ${commit.receipts.map(({ mutationId }) => mutationId)}`,
        );
      }
      if (commit.documents.has(ref)) after.set(ref, record);
      else if (record.grave !== before(ref).grave) after.set(ref, { ...this.#at(ref), grave: record.grave });
    }
    this.#count(commit, kinds);
    return after;
  }

  #predicted(made: Made, record: RefRecord, snapshot: CommitClock, atMs: number): Predicted {
    const { sent, intent, ref } = made;
    const isExpected = sent.expectedVersion === 0 ? undefined : this.#isExpected(made, record, snapshot);
    return predict(intent, { collection: collectionOf(ref), record, isExpected, atMs });
  }

  #isExpected({ sent, ref }: Made, { document }: RefRecord, snapshot: CommitClock): boolean {
    const entry = stateAt(this.#entries.get(ref), snapshot);
    return entry?.seq === sent.expectedVersion && isEqual(entry.values, document?.values);
  }

  /** What a refused mutation of an atomic request was decided on: those before it, which were then undone. */
  #undone(made: Made, recordAt: (ref: string) => RefRecord, snapshot: CommitClock, atMs: number) {
    const scratch = new Map<string, RefRecord>();
    const read = (ref: string) => scratch.get(ref) ?? recordAt(ref);
    for (const each of made.request.made) {
      if (each === made) break;
      if (this.#committed.has(each.sent.mutationId)) continue;
      scratch.set(each.ref, this.#predicted(each, read(each.ref), snapshot, atMs).after);
    }
    return read;
  }

  #compare(
    made: Made,
    kept: KeptReceipt,
    predicted: Predicted,
    { commit, told }: { readonly commit: Commit; readonly told: RefRecord | undefined },
  ): void {
    const what = `${kept.mutationId} (${made.intent.kind} ${made.ref} at ${commit.clock})`;
    const expected = { ...predicted, conflicts: [...predicted.conflicts].sort() };
    for (const key of ["outcome", "reason", "absent", "conflicts"] as const) {
      if (!isEqual(kept[key] as never, expected[key] as never))
        throw new RunFault(`${what}: ${key} ${kept[key]}, not ${expected[key]}`);
    }
    const first = made.told.find((receipt) => !receipt.replayed && receipt.outcome !== "NOT_ATTEMPTED");
    if (first === undefined) return;
    this.#compareTold(first, told && predicted.told ? told.document?.values : predicted.told, what);
  }

  #compareTold(receipt: Receipt, record: Values | undefined, what: string): void {
    const told = receipt.record?.form === "JSON" ? valuesIn(receipt.record.json, "JSON") : undefined;
    if (!isEqual(told as never, record as never))
      throw new RunFault(`${what}: was told ${differingValues(told, record)}`);
  }

  #count({ receipts, documents }: Commit, kinds: readonly string[]): void {
    const all = [...kinds];
    if (receipts.length > 1) all.push("several in a transaction");
    if (documents.size > 0 && receipts.length > documents.size)
      all.push("several of a record in a transaction");
    for (const kind of all) this.tally.set(kind, (this.tally.get(kind) ?? 0) + 1);
  }
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

export function collectionOf(ref: string): RefCollection {
  const found = COLLECTIONS.find(({ name }) => ref.startsWith(`${name}/`));
  if (found === undefined) throw new Error(`no collection for ${ref}`);
  return found;
}

function isUndone({ request }: Made, { outcome }: KeptReceipt): boolean {
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
