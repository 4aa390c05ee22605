// The words of `tidemark why`: each outcome and each rule in a sentence, whatever clients have sent.
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { conflictLine } from "../../src/cli/conflict-words.ts";
import type { RecordStory } from "../../src/cli/record-story.ts";
import { storyLines } from "../../src/cli/why-words.ts";
import { compileProtos } from "../../src/generate/compile-protos.ts";
import type { LedgerConflict, LedgerEntry } from "../../src/model/ledger-entry.ts";
import type { JsonObject } from "../../src/model/record-form.ts";
import type { Collection, Deletes } from "../../src/schema/collection.ts";
import { readSchema } from "../../src/schema/schema.ts";

const AT_MS = Date.UTC(2026, 4, 1, 12);
const AT = "2026-05-01T12:00:00.000Z";

let collection: Collection;

beforeAll(async () => {
  const found = readSchema(await compileProtos(join(import.meta.dirname, "why-protos"))).collections.get(
    "games",
  );
  if (!found) throw new Error("no games");
  collection = found;
});

type Parts = Partial<Omit<LedgerEntry, "receipt">> & { readonly receipt?: Partial<LedgerEntry["receipt"]> };

function entry({ receipt, ...parts }: Parts = {}): LedgerEntry {
  return {
    receipt: {
      mutationId: "m",
      recordId: "g",
      outcome: "APPLIED",
      commitClock: 1n,
      replayed: true,
      record: undefined,
      recordAbsent: false,
      conflicts: [],
      rejection: undefined,
      ...receipt,
    },
    principal: "ana",
    device: "phone",
    receivedAtMs: AT_MS,
    madeAtMs: undefined,
    collection: "games",
    kind: "update",
    fields: [{ field: 2, name: "name" }],
    conflicts: [],
    ...parts,
  };
}

/** @param sides base, current, proposed; undefined: not kept. */
function conflict(name: string, ...sides: readonly (JsonObject | undefined)[]): LedgerConflict {
  const field = collection.fields.find((each) => each.name === name)?.number ?? 0;
  const [base, current, proposed] = sides.map((json) => json && ({ form: "JSON", json } as const));
  return { field, name, base, current, proposed };
}

function lineOf(
  name: string,
  sides: readonly (JsonObject | undefined)[],
  parts: Parts = { receipt: { outcome: "MERGED" } },
) {
  return conflictLine(collection, entry(parts), conflict(name, ...sides));
}

describe("why: a field both sides had changed", () => {
  it.each<[string, (JsonObject | undefined)[], string]>([
    [
      "name",
      [{ name: "A" }, { name: "B" }, { name: "C" }],
      '"C" replaced "B", which the client had not seen',
    ],
    ["name", [{ name: "A" }, { name: "B" }, {}], '"" replaced "B", which the client had not seen'],
    [
      "name",
      [{}, undefined, undefined],
      "a value that is not known any more replaced a value that is not known any more, which the client had not seen",
    ],
    [
      "owner",
      [{}, { owner: "a" }, { owner: "b" }],
      '"a" stayed, for the server\'s value wins; "b" was not written',
    ],
    ["votes", [{ votes: 2 }, { votes: 3 }, { votes: 5 }], "counted 2 → 5 onto 3"],
    ["votes", [{}, { votes: 3 }, { votes: 1 }], "counted 0 → 1 onto 3"],
    [
      "best",
      [{ best: "1" }, { best: "4" }, { best: "9007199254740993" }],
      "the larger holds, of 4 there and 9007199254740993 asked",
    ],
    ["fastest", [{ fastest: 9 }, { fastest: 4 }, {}], "the smaller holds, of 4 there and nothing asked"],
    ["tags", [{ tags: ["x"] }, { tags: ["y"] }, { tags: ["x", "z"] }], 'added "z", on top of ["y"]'],
    ["tags", [{ tags: ["x", "y"] }, {}, {}], 'took away "x", "y", on top of []'],
    [
      "tags",
      [undefined, { tags: ["y"] }, { tags: ["x"] }],
      'what the client added and took away, on top of ["y"]',
    ],
    [
      "level",
      [{}, { level: "HARD" }, { level: "EASY" }],
      "EASY replaced HARD, which the client had not seen",
    ],
    [
      "place",
      [{}, { place: { x: 1 } }, { place: { y: 2 } }],
      'had become {"x":1}, the client wanted {"y":2}; merged field by field',
    ],
    [
      "place",
      [{ place: { x: 1 } }, { place: { x: 2 } }, {}],
      'nothing replaced {"x":2}, which the client had not seen',
    ],
  ])("%s %j → %s", (name, sides, sentence) => {
    expect(lineOf(name, sides)).toBe(`${name}: ${sentence}`);
  });

  it("refused by its rule, or beside one that is → what it was, had been and should be", () => {
    const parts = { receipt: { outcome: "CONFLICT" } } as const;
    const sides = (name: string) => [{ [name]: "A" }, { [name]: "B" }, { [name]: "C" }];
    expect(lineOf("code", sides("code"), parts)).toBe(
      'code: had become "B"; the client had seen "A" and wanted "C", which its rule REJECT refuses',
    );
    expect(lineOf("name", sides("name"), parts)).toBe(
      'name: had become "B"; the client had seen "A" and wanted "C"',
    );
  });

  it("of a create and of a delete → what is there, and what the client knew", () => {
    expect(lineOf("name", [undefined, { name: "B" }, { name: "C" }], { kind: "create" })).toBe(
      'name: is "B"; the client wanted "C"',
    );
    expect(lineOf("name", [{ name: "A" }, { name: "B" }, undefined], { kind: "delete" })).toBe(
      'name: was "B"; the client had seen "A"',
    );
  });

  it("a long value → cut", () => {
    expect(lineOf("name", [{}, { name: "x".repeat(500) }, { name: "y" }]).length).toBeLessThan(200);
  });
});

function story(parts: Partial<RecordStory> = {}): RecordStory {
  return {
    collection,
    recordId: "g",
    logged: { version: 17, since: 12, feeds: ["games/public"], marks: [{ field: "votes", version: 17 }] },
    left: [],
    quarantined: undefined,
    document: "record",
    isInStep: true,
    isLoading: false,
    logAtMs: AT_MS,
    mutations: [],
    older: 0,
    ...parts,
  };
}

/** The sentences of one mutation, after who asked what. */
function outcomeOf(parts: Parts, deletes: Deletes = "DELETE_WINS"): string {
  const lines = storyLines(story({ collection: { ...collection, deletes }, mutations: [entry(parts)] }));
  return lines[lines.findIndex((line) => line.startsWith("  asked")) + 1]?.trim() ?? "";
}

describe("why: an outcome", () => {
  const merged = { outcome: "MERGED" } as const;
  const conflicting = { outcome: "CONFLICT" } as const;
  const both = {
    conflicts: [{ field: 2, name: "name", base: undefined, current: undefined, proposed: undefined }],
  };
  it.each<[Parts, string]>([
    [{ kind: "create" }, "applied: created"],
    [{ kind: "update" }, "applied: written as asked"],
    [{ kind: "delete" }, "applied: deleted"],
    [{ receipt: merged, ...both }, "merged: both sides had changed"],
    [{ receipt: merged }, "merged: the edit met one the client had not seen, and a rule decided"],
    [
      { receipt: merged, kind: "delete", ...both },
      "merged: deleted, and with it edits the client had not seen",
    ],
    [
      { receipt: { ...conflicting, recordAbsent: true } },
      "conflict, nothing written: there was no such record, as far as this principal could see",
    ],
    [
      { receipt: conflicting },
      "conflict, nothing written: the record no longer had the version the client expected",
    ],
    [{ receipt: conflicting, ...both }, "conflict, nothing written: it had been changed since"],
    [
      { receipt: conflicting, kind: "delete", ...both },
      "conflict, nothing written: it had been edited since",
    ],
    [
      { receipt: conflicting, kind: "create", ...both },
      "conflict, nothing written: the record was there already, with other content",
    ],
    [
      {
        receipt: {
          outcome: "REJECTED",
          rejection: { reason: "FORBIDDEN", description: "no", violations: [] },
        },
      },
      "rejected (FORBIDDEN): no",
    ],
  ])("%j → %s", (parts, sentence) => {
    expect(outcomeOf(parts)).toBe(sentence);
  });

  it("of an edit to a deleted record where an edit wins → it came back", () => {
    expect(outcomeOf({ receipt: merged }, "EDIT_WINS")).toBe(
      "merged: the record had been deleted, and came back, for an edit wins over a delete",
    );
  });

  it("of a delete where an edit wins → kept", () => {
    expect(outcomeOf({ receipt: merged, kind: "delete", ...both }, "EDIT_WINS")).toBe(
      "merged: kept, for it had been edited since, and an edit wins over a delete",
    );
  });
});

describe("why: a story", () => {
  it("→ what it is now, then what was done", () => {
    expect(storyLines(story({ mutations: [entry({ kind: "create" })], older: 3 }))).toEqual([
      "games/g",
      "",
      "  In the log: version 17; created, or new to a feed, at version 12.",
      "  In the feed games/public.",
      "  Changed since then: votes at 17.",
      "  The document: it is there, and the log has it so.",
      "",
      "1 mutation, the oldest first; 3 older not shown (--limit):",
      "",
      `${AT}  ana (phone)`,
      "  asked to create it with name",
      "  applied: created",
    ]);
  });

  it.each<[Partial<RecordStory>, string]>([
    [
      { logged: undefined, quarantined: { reason: "r", atMs: AT_MS } },
      `In the log: quarantined since ${AT}, because r. Clients see it as deleted.`,
    ],
    [{ logged: undefined }, "In the log: no such record."],
    [{ logged: { version: 3, since: 3, feeds: [], marks: [] } }, "In no feed: no client sees it."],
    [
      { left: [{ feed: "games/a", reason: "LEFT_SCOPE", version: 4, atMs: AT_MS }] },
      `It left games/a at ${AT}, version 4.`,
    ],
    [
      { isInStep: false, isLoading: true },
      "The document: it is there; the log is still reading the collection.",
    ],
    [
      { isInStep: false, logAtMs: undefined },
      "The document: it is there; the log lags behind: it hasn't begun.",
    ],
    [{ document: { reason: "r" } }, "The document: it is there, but no record: r, and the log has it so."],
  ])("%j → %s", (parts, line) => {
    expect(storyLines(story(parts))).toContain(`  ${line}`);
  });

  it("an edit made offline → when, by the client's clock", () => {
    const lines = storyLines(story({ mutations: [entry({ madeAtMs: AT_MS - 60_000 })] }));
    expect(lines).toContain("  asked to change name, at 2026-05-01T11:59:00.000Z by its own clock");
  });

  it("names and texts that steer terminals or mislead readers → harmless", () => {
    const rejection = {
      reason: "INVALID",
      description: "a\u001b[2Jb\nc",
      violations: [{ path: "p", ruleId: "r", message: "\u202e" }],
    } as const;
    const wicked = entry({
      principal: "\u001b]0;x\u0007",
      device: "\u009b1m",
      receipt: { outcome: "REJECTED", rejection },
    });
    const text = storyLines(story({ recordId: "\u0000", mutations: [wicked] })).join("");
    expect(text).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(text).toContain("a�[2Jb�c");
  });

  it("many feeds → the first ten, and how many more", () => {
    const feeds = Array.from({ length: 12 }, (_, i) => `games/${i}`);
    const left = feeds.map((feed) => ({ feed, reason: "DELETED", version: 1, atMs: AT_MS }) as const);
    const lines = storyLines(story({ logged: { version: 3, since: 3, feeds, marks: [] }, left }));
    expect(lines.find((line) => line.includes("In the feeds"))).toMatch(/games\/9 and 2 more\.$/);
    expect(lines).toContain("  … and 2 more feeds.");
  });
});
