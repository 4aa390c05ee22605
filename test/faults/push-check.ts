// What must hold when all is acknowledged, whoever was killed in between: each mutation has one receipt, one outcome and
// one effect, in its own commit. Pure: evidence in, faults out; `push-check.test.ts` plants each fault.
import { Outcome } from "#gen/tidemark/v1/receipt_pb.js";
import { isFinal, type Note } from "./push-device.ts";
import { type Fields, keyOfEdit } from "./push-edits.ts";
import type { Commit } from "./push-witness.ts";

/** A receipt in the ledger. */
export interface LedgerRow {
  readonly mutationId: string;
  readonly outcome: string;
  /** Names of the fields both sides had changed. */
  readonly conflicts: readonly string[];
}

export interface Evidence {
  readonly notes: readonly Note[];
  readonly ledger: readonly LedgerRow[];
  readonly commits: readonly Commit[];
  /** By `<collection>/<record id>`: what was there at the start. */
  readonly start: ReadonlyMap<string, Fields>;
  /** What is there at the end; of deleted keeps, what would come back. */
  readonly end: ReadonlyMap<string, Fields>;
  readonly graves: ReadonlyMap<string, Fields>;
  /** What the direct writer added. */
  readonly direct: ReadonlyMap<string, { readonly score: number; readonly likes: number }>;
}

export function faultsOf(evidence: Evidence): string[] {
  const judged = judge(evidence);
  return [
    ...evidence.notes.flatMap(tellingFaults),
    ...ledgerFaults(evidence),
    ...existenceFaults(evidence, judged),
    ...[...judged.values()].flatMap((history) => contentFaults(history)),
    ...commitFaults(evidence),
  ];
}

/** A record's mutations that were done, in the order of their commits. */
interface History {
  readonly key: string;
  readonly start: Fields | undefined;
  readonly end: Fields | undefined;
  readonly direct: { readonly score: number; readonly likes: number };
  readonly done: readonly Done[];
}

interface Done {
  readonly note: Note;
  readonly clock: bigint;
  readonly conflicts: readonly string[];
}

function isDone(outcome: string | undefined): boolean {
  return outcome === "APPLIED" || outcome === "MERGED";
}

function judge({ notes, ledger, commits, start, end, graves, direct }: Evidence): Map<string, History> {
  const rows = new Map(ledger.map((row) => [row.mutationId, row]));
  const clocks = new Map(commits.flatMap(({ clock, receipts }) => receipts.map((id) => [id, clock])));
  const byKey = Map.groupBy(notes, ({ edit }) => keyOfEdit(edit));
  const keys = new Set([...start.keys(), ...end.keys(), ...byKey.keys()]);
  return new Map(
    [...keys].map((key) => {
      const done = (byKey.get(key) ?? []).flatMap((note): Done[] => {
        const row = rows.get(note.edit.mutationId);
        const clock = clocks.get(note.edit.mutationId) ?? 0n;
        return row && isDone(row.outcome) ? [{ note, clock, conflicts: row.conflicts }] : [];
      });
      done.sort((a, b) => Number(a.clock - b.clock));
      const created = done.find(({ note }) => note.edit.kind.case === "create")?.note.edit.kind;
      const first = start.get(key) ?? (created?.case === "create" ? created.content : undefined);
      const added = direct.get(key) ?? { score: 0, likes: 0 };
      return [
        key,
        { key, start: first, end: end.get(key) ?? graves.get(key), direct: added, done } satisfies History,
      ];
    }),
  );
}

/** Settled, always told alike, committed by one delivery at most, and never refused: nothing sent deserves it. */
function tellingFaults({ edit, tellings }: Note): string[] {
  const final = tellings.filter(({ outcome }) => isFinal(outcome));
  const outcomes = new Set(final.map(({ outcome }) => Outcome[outcome]));
  const faults: string[] = [];
  if (outcomes.size !== 1) faults.push(`was told ${[...outcomes].join(", ") || "nothing"}`);
  if (outcomes.has("REJECTED")) faults.push(`was rejected: ${final[0]?.rejection?.description}`);
  const first = final.filter(({ replayed }) => !replayed);
  if (first.length > 1) faults.push("was told twice as done just now");
  const clock = first[0]?.commitClock;
  if (clock !== undefined && final.some(({ commitClock }) => commitClock < clock))
    faults.push("was told a commit clock before its commit");
  return faults.map((fault) => `${edit.mutationId} ${fault}`);
}

function ledgerFaults({ notes, ledger, commits }: Evidence): string[] {
  const faults: string[] = [];
  const inserted = Map.groupBy(
    commits.flatMap(({ receipts }) => receipts),
    (id) => id,
  );
  const rows = Map.groupBy(ledger, ({ mutationId }) => mutationId);
  const ids = new Set(notes.map(({ edit }) => edit.mutationId));
  for (const id of rows.keys()) if (!ids.has(id)) faults.push(`the ledger has ${id}, which nobody sent`);
  for (const { edit, tellings } of notes) {
    const id = edit.mutationId;
    const [count, insertions] = [rows.get(id)?.length ?? 0, inserted.get(id)?.length ?? 0];
    if (count !== 1 || insertions !== 1) faults.push(`${id} has ${count} receipts of ${insertions} commits`);
    const outcome = rows.get(id)?.[0]?.outcome;
    if (tellings.some((telling) => isFinal(telling.outcome) && Outcome[telling.outcome] !== outcome))
      faults.push(`${id} was told otherwise than the ledger's ${outcome}`);
    const clock = commits.find(({ receipts }) => receipts.includes(id))?.clock ?? 0n;
    const first = tellings.find(({ outcome, replayed }) => isFinal(outcome) && !replayed);
    // A commit that had to be asked for again, its answer lost, is told with the time of that answer: later, never earlier.
    if (first && isDone(outcome) && first.commitClock < clock)
      faults.push(`${id} was committed at ${clock} and told ${first.commitClock}`);
  }
  return faults;
}

/** Made once; gone if and only if deleted. Of keeps an edit may have brought back what was deleted. */
function existenceFaults(
  { end, start, commits, graves }: Evidence,
  histories: Map<string, History>,
): string[] {
  const faults: string[] = [];
  const inserts = Map.groupBy(
    commits.flatMap(({ writes }) => writes.filter(({ kind }) => kind === "insert")),
    ({ key }) => key,
  );
  for (const { key, done } of histories.values()) {
    const creates = done.filter(({ note }) => note.edit.kind.case === "create").length;
    const deletes = done.filter(({ note }) => note.edit.kind.case === "delete").length;
    const shouldExist = start.has(key) || (creates > 0 && deletes === 0);
    const made = inserts.get(key)?.length ?? 0;
    if (key.startsWith("keeps/")) {
      if (creates > 0 && !end.has(key) && (deletes === 0 || !graves.has(key))) faults.push(`${key} is lost`);
      continue;
    }
    if (end.has(key) !== shouldExist) faults.push(`${key} ${shouldExist ? "is lost" : "is still there"}`);
    // Made and deleted in one transaction leaves no trace.
    if (made > creates || (shouldExist && made !== creates))
      faults.push(`${key} was created ${creates} times and made ${made} times`);
  }
  return faults;
}

type Update = Extract<Note["edit"]["kind"], { case: "update" }>;

function contentFaults({ key, start, end, direct, done }: History): string[] {
  if (start === undefined || end === undefined) return [];
  const updates = done.flatMap(({ note, clock, conflicts }) =>
    note.edit.kind.case === "update" ? [{ ...note.edit.kind, clock, conflicts }] : [],
  );
  const faults: string[] = [];
  const differ = (field: string, is: unknown, should: unknown) => {
    if (is !== should) faults.push(`${key}: ${field} is ${String(is)}, should be ${String(should)}`);
  };
  const score = sum(updates, ({ base, proposed }) => (proposed.score ?? 0) - (base.score ?? 0));
  differ("score", end.score, (start.score ?? 0) + direct.score + score);
  const likes = sum(updates, ({ base, proposed }) => (proposed.tally?.likes ?? 0) - (base.tally?.likes ?? 0));
  differ("tally.likes", end.tally?.likes, (start.tally?.likes ?? 0) + direct.likes + likes);
  differ("tally.note", end.tally?.note, start.tally?.note);
  differ("high", end.high, Math.max(start.high ?? 0, ...updates.map(({ proposed }) => proposed.high ?? 0)));
  const lowest = Number.POSITIVE_INFINITY;
  differ("low", end.low, Math.min(start.low ?? 0, ...updates.map(({ proposed }) => proposed.low ?? lowest)));
  differ("tags", [...(end.tags ?? [])].sort().join(), tagsAfter(start, updates).sort().join());
  const labels = lastOf(updates.filter(({ proposed }) => proposed.label !== undefined));
  const last = labels.length === 0 ? [start.label] : labels.map(({ proposed }) => proposed.label);
  if (!last.includes(end.label)) faults.push(`${key}: label is ${end.label}, should be ${last.join(" or ")}`);
  for (const field of ["state", "lock"] as const) {
    const written = updates.filter(({ conflicts }) => !conflicts.includes(field));
    differ(field, chainOf(start[field], written, field), end[field]);
  }
  return faults;
}

function sum<T>(of: readonly T[], what: (one: T) => number): number {
  return of.reduce((total, one) => total + what(one), 0);
}

/** Each tag is added once, and taken away by who has seen it. */
function tagsAfter(start: Fields, updates: readonly Update[]): string[] {
  const added = [...(start.tags ?? []), ...updates.flatMap(({ proposed }) => proposed.tags ?? [])];
  const taken = new Set(updates.flatMap(({ base }) => base.tags ?? []));
  return added.filter((tag) => !taken.has(tag));
}

function lastOf<T extends { readonly clock: bigint }>(updates: readonly T[]): T[] {
  const clock = updates.at(-1)?.clock;
  return updates.filter((update) => update.clock === clock);
}

/**
 * Where only those edits are written whose base holds, they form one chain from the first value to the last: each is
 * made on the one before. Gives the last value, or what breaks the chain.
 */
function chainOf(first: string | undefined, updates: readonly Update[], field: "state" | "lock"): unknown {
  const links = new Map<string | undefined, string>();
  for (const { base, proposed } of updates) {
    const [from, to] = [base[field], proposed[field]];
    if (to === undefined) continue;
    if (links.has(from)) return `both ${links.get(from)} and ${to} on ${from}`;
    links.set(from, to);
  }
  const length = links.size;
  let value = first;
  for (let step = 0; step < length; step++) value = links.get(value) ?? "a broken chain";
  return value;
}

/** Each commit changes scores by what its own receipts say; without receipts it is the direct writer's. */
function commitFaults({ notes, ledger, commits, start }: Evidence): string[] {
  const faults: string[] = [];
  const done = new Set(ledger.filter(({ outcome }) => isDone(outcome)).map(({ mutationId }) => mutationId));
  const edits = new Map(notes.map(({ edit }) => [edit.mutationId, edit]));
  const scores = new Map([...start].map(([key, { score = 0 }]) => [key, score]));
  for (const { clock, receipts, writes } of commits) {
    const expected = new Map<string, number>();
    const deleted = new Set<string>();
    for (const id of receipts) {
      const edit = edits.get(id);
      if (edit === undefined || !done.has(id)) continue;
      const { kind } = edit;
      const key = keyOfEdit(edit);
      const before = expected.get(key) ?? scores.get(key) ?? 0;
      if (kind.case === "delete") deleted.add(key);
      if (kind.case === "create") expected.set(key, before + (kind.content.score ?? 0));
      if (kind.case === "update")
        expected.set(key, before + (kind.proposed.score ?? 0) - (kind.base.score ?? 0));
    }
    for (const [key, score] of expected) {
      const is = writes.find((write) => write.key === key)?.score;
      if (is === undefined ? !deleted.has(key) && score !== scores.get(key) : is !== score)
        faults.push(`${key}: the commit at ${clock} made score ${is}, its receipts say ${score}`);
      scores.set(key, score);
    }
    for (const { key, score } of writes) {
      if (score === undefined || expected.has(key)) continue;
      if (receipts.length > 0 && score !== scores.get(key))
        faults.push(`${key}: the commit at ${clock} made score ${score}, without a receipt for it`);
      scores.set(key, score);
    }
  }
  return faults;
}
