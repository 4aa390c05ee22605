// The pure step from what the log has and what the source has to what is appended: its edges.
import { beforeAll, expect, test } from "vitest";
import {
  changeOf,
  type LoggedRecord,
  type RecordState,
  type Writing,
} from "../../src/ingest/record-change.ts";
import type { MainEntry } from "../../src/log/entry.ts";
import { encodeDocument } from "../../src/schema/encode-document.ts";
import type { Schema } from "../../src/schema/schema.ts";
import { testSchema } from "./test-schema.ts";

let schema: Schema;
beforeAll(async () => {
  schema = await testSchema();
});

const key = { c: "todos", k: "a" };
const NOTHING: LoggedRecord = { main: undefined, grant: undefined, quarantined: false };

function writing(overrides: Partial<Writing> = {}): Writing {
  const collection = schema.collections.get("todos");
  return {
    collection,
    generation: 1,
    oldestReadable: 1,
    load: undefined,
    loading: false,
    atMs: 0,
    ...overrides,
  };
}

function record(fields: object): RecordState {
  const collection = schema.collections.get("todos");
  if (!collection) throw new Error("no todos");
  return { kind: "record", encoded: encodeDocument(collection, { _id: "a", ...fields }) };
}

function logged(fields: object, overrides: Partial<MainEntry> = {}): LoggedRecord {
  const [entry] = changeOf({ key, logged: NOTHING, state: record(fields), seq: 5 }, writing()).entries;
  if (entry?.kind !== "main") throw new Error("no main entry");
  return { ...NOTHING, main: { ...entry, ...overrides } };
}

test("a record: members of a oneof change places → both are marked", () => {
  const before = logged({ ownerId: "ana", day: "monday" });
  const { entries } = changeOf(
    { key, logged: before, state: record({ ownerId: "ana", week: 3 }), seq: 9 },
    writing(),
  );
  expect(entries).toMatchObject([
    {
      seq: 9,
      since: 5,
      marks: new Map([
        [9, 9],
        [10, 9],
      ]),
    },
  ]);
});

test("a record: marks since it entered are kept, and lost when it enters another feed", () => {
  const before = logged({ ownerId: "ana", title: "a" }, { marks: new Map([[2, 6]]) });
  const kept = changeOf(
    { key, logged: before, state: record({ ownerId: "ana", title: "a", votes: 1 }), seq: 9 },
    writing(),
  );
  expect(kept.entries).toMatchObject([
    {
      marks: new Map([
        [2, 6],
        [5, 9],
      ]),
    },
  ]);
  const state = record({ ownerId: "ana", title: "a", teamId: "t" });
  const moved = changeOf({ key, logged: before, state, seq: 9 }, writing());
  expect(moved.entries).toMatchObject([{ since: 9, marks: new Map() }]);
  expect(moved.drops).toEqual([{ ...key, f: "todos/team:t" }]);
});

test("a record met by its load unchanged → stamped, no entry; by the tail → nothing", () => {
  const before = logged({ ownerId: "ana" });
  const step = { key, logged: before, state: record({ ownerId: "ana" }), seq: 9 };
  expect(changeOf(step, writing({ load: 3, loading: true }))).toMatchObject({ entries: [], stamped: true });
  expect(changeOf(step, writing({ load: 3 }))).toMatchObject({ entries: [], stamped: false });
  const met = { ...step, logged: logged({ ownerId: "ana" }, { load: 3 }) };
  expect(changeOf(met, writing({ load: 3, loading: true }))).toMatchObject({ entries: [], stamped: false });
});

test("an entry of a withheld generation → a new seq though nothing differs; since and marks stay", () => {
  const before = logged({ ownerId: "ana" }, { marks: new Map([[2, 6]]) });
  const step = { key, logged: before, state: record({ ownerId: "ana" }), seq: 9 };
  const { entries } = changeOf(step, writing({ generation: 2, oldestReadable: 2 }));
  expect(entries).toMatchObject([{ seq: 9, since: 5, marks: new Map([[2, 6]]), schema: 2 }]);
});

test("a record and its scopes too large for an entry → quarantined", () => {
  const watcherIds = Array.from({ length: 990 }, (_, index) => `${index}`.padStart(600, "x"));
  const state = record({ ownerId: "ana", title: "x".repeat(14_300_000), watcherIds });
  const { entries, quarantine } = changeOf({ key, logged: NOTHING, state, seq: 1 }, writing());
  expect(entries).toEqual([]);
  expect(quarantine).toMatchObject({ key, reason: expect.stringContaining("scopes") });
});

test("absent and never known → nothing", () => {
  const change = changeOf({ key, logged: NOTHING, state: { kind: "absent" }, seq: 1 }, writing());
  expect(change).toMatchObject({ entries: [], drops: [], grant: undefined, quarantine: undefined });
});
