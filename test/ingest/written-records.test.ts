// What a leader remembers of its own writes: the latest of each record, within bounds, the last commit's in any case.
import { expect, test } from "vitest";
import type { LoggedRecord } from "../../src/ingest/record-change.ts";
import { WrittenRecords } from "../../src/ingest/written-records.ts";
import type { MainEntry } from "../../src/log/entry.ts";

const RECORDS_MAX = 20_000;

function logged(seq: number, bytes = 1): LoggedRecord {
  const record = new Uint8Array(bytes);
  const main: MainEntry = {
    kind: "main",
    key: { c: "notes", k: `${seq}` },
    recordId: `${seq}`,
    feeds: ["notes/public"],
    seq,
    since: seq,
    record,
    marks: new Map(),
    schema: 1,
    load: 0,
  };
  return { main, grant: undefined, quarantined: false };
}

test("written records: written again → the latest is told; deleted → told as absent, not forgotten", () => {
  const written = new WrittenRecords();
  written.add(new Map([["a", logged(1)]]));
  written.add(new Map([["a", logged(2)]]));
  expect(written.get("a")?.main?.seq).toBe(2);
  written.add(new Map([["a", { main: undefined, grant: undefined, quarantined: false }]]));
  expect(written.get("a")).toEqual({ main: undefined, grant: undefined, quarantined: false });
  expect(written.get("b")).toBeUndefined();
});

test("written records: more than it keeps → the longest unchanged is forgotten, the last commit never", () => {
  const written = new WrittenRecords();
  for (let n = 0; n < RECORDS_MAX; n++) written.add(new Map([[`r${n}`, logged(n)]]));
  written.add(new Map([["r0", logged(-1)]]));
  written.add(new Map([["new", logged(1)]]));
  expect(written.get("r0")?.main?.seq).toBe(-1);
  expect(written.get("r1")).toBeUndefined();
  expect(written.get("r2")).toBeDefined();
  const whole = new Map(Array.from({ length: RECORDS_MAX + 5 }, (_, n) => [`w${n}`, logged(n)]));
  written.add(whole);
  expect(written.get("new")).toBeUndefined();
  expect([...whole.keys()].every((text) => written.get(text) !== undefined)).toBe(true);
});

test("written records: more bytes than it keeps → as many are forgotten; cleared → all", () => {
  const written = new WrittenRecords();
  for (let n = 0; n < 20; n++) written.add(new Map([[`r${n}`, logged(n, 2 ** 20)]]));
  const kept = Array.from({ length: 20 }, (_, n) => n).filter((n) => written.get(`r${n}`));
  expect(kept).toEqual(Array.from({ length: 16 }, (_, n) => n + 4));
  written.clear();
  expect(written.get("r19")).toBeUndefined();
  written.add(new Map([["again", logged(1, 2 ** 20)]]));
  expect(written.get("again")).toBeDefined();
});
