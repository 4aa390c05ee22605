// Reading the log: feeds merged in seq order, keys by range, entries as they were written.
import { randomUUID } from "node:crypto";
import { Long, ObjectId, Timestamp } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { append } from "../../src/log/append.ts";
import type { Entry, MainEntry, RecordKey } from "../../src/log/entry.ts";
import { readLeaversBefore, readUnmetKeys } from "../../src/log/keys.ts";
import { type Log, openLog, readState } from "../../src/log/log.ts";
import { countEntries, readEntries, readMainEntries, readMainEntriesAtOnce } from "../../src/log/read.ts";
import { isSettled, NOT_YET_KNOWN } from "../../src/log/state.ts";
import { snapshotSession } from "../../src/mongo/snapshot.ts";
import { testDatabase } from "../support/mongo.ts";

async function logOf(entries: readonly Entry[]): Promise<Log> {
  const { client, tidemarkDb, drop } = await testDatabase();
  onTestFinished(drop);
  const log = await openLog(client, tidemarkDb);
  const base = await readState(log);
  await append(log, { base, state: { head: entries.length }, entries }, randomUUID());
  return log;
}

function main(key: RecordKey, seq: number, more: Partial<MainEntry> = {}): MainEntry {
  const rest = {
    since: seq,
    record: new Uint8Array([1]),
    marks: new Map<number, number>(),
    schema: 1,
    load: 0,
  };
  return { kind: "main", key, recordId: String(key.k), feeds: ["todos/user:f0"], seq, ...rest, ...more };
}

function leaver(key: RecordKey, seq: number, atMs: number): Entry {
  const f = "todos/user:f0";
  return {
    kind: "leaver",
    key: { ...key, f },
    recordId: String(key.k),
    seq,
    reason: "DELETED",
    atMs,
    schema: 1,
  };
}

async function inSnapshot<T>(
  log: Log,
  work: (session: ReturnType<typeof snapshotSession>) => Promise<T>,
): Promise<T> {
  const session = snapshotSession(log.client);
  try {
    return await work(session);
  } finally {
    await session.endSession();
  }
}

test("read: more feeds than one query takes → each entry once, in seq order, after its feeds' positions", async () => {
  const feeds = Array.from({ length: 450 }, (_, index) => `todos/user:f${index}`);
  const entries = Array.from({ length: 120 }, (_, index) => {
    const spread = feeds.filter((_feed, at) => at % (index + 1) === 0);
    return main({ c: "todos", k: `r${index}` }, index + 1, { feeds: spread });
  });
  const log = await logOf(entries);
  const ranges = [
    { feeds: feeds.slice(0, 300), after: 20 },
    { feeds: feeds.slice(300), after: 90 },
  ];
  const seqs = await inSnapshot(log, async (session) => {
    const found: number[] = [];
    for await (const batch of readEntries(log, ranges, { session, batchSize: 7 }))
      found.push(...batch.map(({ seq }) => seq));
    return found;
  });
  expect(seqs).toEqual(Array.from({ length: 100 }, (_, index) => index + 21));
  const counted = await inSnapshot(log, (session) =>
    countEntries(log, [{ feeds: feeds.slice(0, 1), after: 0 }], { session, max: 50 }),
  );
  expect(counted).toBe(50);
});

test("read: all of a collection, beside feeds of others → in seq order, each once; other collections' entries not", async () => {
  const todo = (k: string, seq: number, feed: string) => main({ c: "todos", k }, seq, { feeds: [feed] });
  const other = (c: string, seq: number) =>
    main({ c, k: `r${seq}` }, seq, { feeds: [`${c}/user:ana`, `${c}/public`] });
  const log = await logOf([
    ...[
      todo("a", 1, "todos/user:ana"),
      other("cities", 2),
      todo("b", 3, "todos/user:ben"),
      other("todos2", 4),
    ],
    ...[leaver({ c: "todos", k: "c" }, 5, 9), other("cities", 6), other("members", 7)],
  ]);
  const ranges = [
    { feeds: ["todos/", "cities/public"], after: 0 },
    { feeds: ["cities/user:ana", "members/"], after: 2 },
  ];
  const found = await inSnapshot(log, async (session) => {
    const seqs: number[] = [];
    for await (const batch of readEntries(log, ranges, { session, batchSize: 2 }))
      seqs.push(...batch.map(({ seq }) => seq));
    return { seqs, counted: await countEntries(log, ranges.slice(0, 1), { session, max: 9 }) };
  });
  expect(found).toEqual({ seqs: [1, 2, 3, 5, 6, 7], counted: 5 });
});

test("read: main entries by key, whatever number type the key was stored as; leavers are not among them", async () => {
  const key = { c: "counters", k: Long.fromNumber(7) };
  const log = await logOf([main(key, 1), leaver({ c: "todos", k: "gone" }, 2, 5)]);
  for (const k of [7, 7n, Long.fromNumber(7)])
    expect(await readMainEntries(log, [{ c: "counters", k }])).toHaveLength(1);
  expect(await readMainEntries(log, [{ c: "todos", k: "gone" }])).toEqual([]);
});

test("read: entries too large for one reply → told, not returned in part", async () => {
  const record = new Uint8Array(9_000_000);
  const keys = ["a", "b"].map((k) => ({ c: "todos", k }));
  const log = await logOf(keys.map((key, index) => main(key, index + 1, { record })));
  expect(await readMainEntriesAtOnce(log, keys)).toBeUndefined();
  expect(await readMainEntriesAtOnce(log, keys.slice(0, 1))).toHaveLength(1);
});

test("read: unmet keys by pages over every BSON type, leavers looked at and left out, other collections not", async () => {
  const keys: RecordKey[] = [1, "a", "b", { x: 1 }, new ObjectId(), true].map((k) => ({ c: "todos", k }));
  const entries: Entry[] = [
    ...keys.map((key, index) => main(key, index + 1, { load: index % 2 })),
    ...keys.map((key, index) => leaver(key, keys.length + index + 1, 5)),
    main({ c: "todo", k: "z" }, 13),
    main({ c: "todos2", k: "a" }, 14),
  ];
  const log = await logOf(entries);
  const found: unknown[] = [];
  let after: { readonly key: unknown } | undefined;
  let pages = 0;
  for (;;) {
    const page = await readUnmetKeys(log, { collection: "todos", after, max: 3 }, 1);
    if (!page.last) break;
    found.push(...page.keys.map(({ k }) => k));
    after = page.last;
    pages++;
  }
  expect(found).toHaveLength(3);
  expect(pages).toBeGreaterThanOrEqual(3);
});

test("read: old leavers first, up to a number", async () => {
  const at = [3_000, 1_000, 2_000, 9_000];
  const log = await logOf(at.map((atMs, index) => leaver({ c: "todos", k: `r${index}` }, index + 1, atMs)));
  expect((await readLeaversBefore(log, 5_000, 2)).map(({ seq }) => seq)).toEqual([2, 3]);
  expect((await readLeaversBefore(log, 5_000, 9)).map(({ seq }) => seq)).toEqual([2, 3, 1]);
});

test("state: settled only with a clock, past settledAfter, and with no load under way", async () => {
  const state = await readState(await logOf([]));
  const clock = new Timestamp({ t: 5, i: 2 });
  const loaded = { name: "todos", generation: 1, fingerprint: "f", oldestReadable: 1, load: undefined };
  const load = { number: 1, phase: "walk", last: undefined, done: 0, reason: "first" } as const;
  const settled = { ...state, clock, settledAfter: undefined, collections: [loaded] };
  expect(isSettled(state)).toBe(false);
  expect(isSettled(settled)).toBe(true);
  expect(isSettled({ ...settled, settledAfter: clock })).toBe(true);
  expect(isSettled({ ...settled, settledAfter: new Timestamp({ t: 5, i: 3 }) })).toBe(false);
  expect(isSettled({ ...settled, settledAfter: NOT_YET_KNOWN })).toBe(false);
  expect(isSettled({ ...settled, clock: undefined })).toBe(false);
  expect(isSettled({ ...settled, collections: [{ ...loaded, load }] })).toBe(false);
});
