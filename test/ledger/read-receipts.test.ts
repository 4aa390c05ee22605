// Receipts read back: filters, pages across equal times, and that no query looks at more than its part of the ledger.
import { randomUUID } from "node:crypto";
import { type Document, MongoClient } from "mongodb";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { insertReceipt, type Ledger, ledgerIn, openLedger } from "../../src/ledger/ledger.ts";
import { countReceipts, type ReceiptQuery, readReceipts } from "../../src/ledger/read-receipts.ts";
import { pageTokenOf, positionOf } from "../../src/ledger/receipt-position.ts";
import { receiptDocument, type StoredReceipt } from "../../src/ledger/stored-receipt.ts";
import { connectMongo } from "../../src/mongo/connect.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { startOwnMongod } from "../support/own-mongod.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const AT_MS = Date.UTC(2026, 0, 1);

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.drop());

async function freshLedger(): Promise<Ledger> {
  const name = `${database.tidemarkDb}-${randomUUID().slice(0, 8)}`;
  onTestFinished(async () => {
    await database.client.db(name).dropDatabase();
  });
  return await openLedger(database.client, name);
}

function receipt(fields: Partial<StoredReceipt> = {}): StoredReceipt {
  return {
    mutationId: randomUUID(),
    principal: "ana",
    device: "phone",
    atMs: AT_MS,
    madeAtMs: undefined,
    collection: "notes",
    recordId: "n1",
    kind: "update",
    fields: [2],
    hash: Buffer.of(1),
    outcome: "APPLIED",
    recordAbsent: false,
    conflicts: [],
    rejection: undefined,
    ...fields,
  };
}

const anyOfAna: ReceiptQuery = {
  principal: "ana",
  device: undefined,
  record: undefined,
  outcomes: [],
  after: undefined,
  max: 100,
};
const ofPhone: ReceiptQuery = { ...anyOfAna, device: "phone" };
const ofRecord: ReceiptQuery = {
  ...anyOfAna,
  principal: undefined,
  record: { collection: "notes", recordId: "n1" },
};

function insertAll(ledger: Ledger, receipts: readonly StoredReceipt[]): Promise<unknown> {
  return ledger.receipts.insertMany(receipts.map(receiptDocument));
}

/** All pages' ids, page by page. */
async function pagesOf(ledger: Ledger, query: ReceiptQuery): Promise<string[][]> {
  const pages: string[][] = [];
  let after = query.after;
  do {
    const { receipts, next } = await readReceipts(ledger, { ...query, after });
    pages.push(receipts.map(({ mutationId }) => mutationId));
    after = next;
  } while (after !== undefined && pages.length < 100);
  return pages;
}

function latestFirst(receipts: readonly StoredReceipt[]): string[] {
  const sorted = [...receipts].sort((a, b) => b.atMs - a.atMs || (a.mutationId < b.mutationId ? 1 : -1));
  return sorted.map(({ mutationId }) => mutationId);
}

test.each([
  ["a device", ofPhone],
  ["a principal on all its devices", anyOfAna],
  ["a record", ofRecord],
  ["a record's, with a residual filter", { ...ofRecord, outcomes: ["APPLIED", "MERGED"] as const }],
])(
  "receipts of %s, many of one millisecond → each once, the latest first, whatever the page",
  async (_, query) => {
    const ledger = await freshLedger();
    const receipts = Array.from({ length: 23 }, (_, i) => receipt({ atMs: AT_MS + Math.floor(i / 9) }));
    await insertAll(ledger, receipts);
    for (const max of [1, 4, 22, 23, 24]) {
      const pages = await pagesOf(ledger, { ...query, max });
      expect(pages.flat()).toEqual(latestFirst(receipts));
      expect(pages.slice(0, -1).every(({ length }) => length === max)).toBe(true);
      expect(pages.at(-1)?.length).toBeGreaterThan(0);
    }
  },
);

test("receipts: filters by device, record, outcome and principal → those alone; the floor is never one", async () => {
  const ledger = await freshLedger();
  const phone = receipt();
  const tablet = receipt({ device: "tablet", outcome: "MERGED", atMs: AT_MS + 1 });
  const other = receipt({ recordId: "n2", outcome: "CONFLICT", atMs: AT_MS + 2 });
  const bobs = receipt({ principal: "bob", atMs: AT_MS + 3 });
  await insertAll(ledger, [phone, tablet, other, bobs]);
  await ledger.floors.insertOne({ _id: "floor", clock: 1 });
  const found = async (query: ReceiptQuery) => (await pagesOf(ledger, query)).flat();
  expect(await found(ofPhone)).toEqual(latestFirst([phone, other]));
  expect(await found(anyOfAna)).toEqual(latestFirst([phone, tablet, other]));
  expect(await found(ofRecord)).toEqual(latestFirst([phone, tablet, bobs]));
  expect(await found({ ...ofRecord, principal: "ana" })).toEqual(latestFirst([phone, tablet]));
  expect(await found({ ...ofRecord, device: "tablet" })).toEqual([tablet.mutationId]);
  expect(await found({ ...ofPhone, record: { collection: "notes", recordId: "n2" } })).toEqual([
    other.mutationId,
  ]);
  expect(await found({ ...anyOfAna, outcomes: ["MERGED", "CONFLICT"] })).toEqual(
    latestFirst([tablet, other]),
  );
  expect(await found({ ...ofPhone, outcomes: ["REJECTED"] })).toEqual([]);
  expect(await found({ ...anyOfAna, principal: "eve" })).toEqual([]);
  expect(await countReceipts(ledger, { collection: "notes", recordId: "n1" }, 10)).toBe(3);
  expect(await countReceipts(ledger, { collection: "notes", recordId: "n1" }, 2)).toBe(2);
});

test("receipts: one that comes while one pages → none told twice, none left out", async () => {
  const receipts = Array.from({ length: 6 }, () => receipt());
  const ledger = await freshLedger();
  await insertAll(ledger, receipts);
  const first = await readReceipts(ledger, { ...ofPhone, max: 3 });
  await insertReceipt(ledger, receipt({ atMs: AT_MS + 1 }));
  const rest = await readReceipts(ledger, { ...ofPhone, max: 100, after: first.next });
  const told = [...first.receipts, ...rest.receipts].map(({ mutationId }) => mutationId);
  expect(told).toEqual(latestFirst(receipts));
});

test("receipts: a filter that lets nothing through → 10,000 looked at for a page, which says where to go on", async () => {
  const ledger = await freshLedger();
  const rare = receipt({ atMs: AT_MS - 1, outcome: "CONFLICT" });
  // Of one millisecond, so that the boundary lies amid equals.
  await insertAll(ledger, [rare, ...Array.from({ length: 12_000 }, () => receipt())]);
  const query: ReceiptQuery = { ...ofPhone, outcomes: ["CONFLICT"] };
  expect(await pagesOf(ledger, query)).toEqual([[], [rare.mutationId]]);
  const all = (await pagesOf(ledger, { ...ofPhone, outcomes: ["APPLIED", "CONFLICT"], max: 5_000 })).flat();
  expect([all.length, new Set(all).size]).toEqual([12_001, 12_001]);
});

test("receipts: no query looks beyond its own part of the ledger, or sorts what the index has in order", async () => {
  const ledger = await freshLedger();
  const others = Array.from({ length: 500 }, (_, i) =>
    receipt({ principal: `user${i}`, recordId: `r${i}`, atMs: AT_MS + i }),
  );
  const own = Array.from({ length: 20 }, (_, i) => receipt({ atMs: AT_MS + i }));
  await insertAll(ledger, [...others, ...own]);
  const finds: Document[] = [];
  const watched = new MongoClient(database.uri, { monitorCommands: true });
  onTestFinished(() => watched.close());
  watched.on("commandStarted", ({ command }) => {
    if ("find" in command) finds.push(command);
  });
  const databaseName = ledger.receipts.dbName;
  const reader = ledgerIn(watched, databaseName);
  const after = { atMs: AT_MS + 10, mutationId: randomUUID() };
  for (const query of [ofPhone, ofRecord, anyOfAna]) {
    for (const narrowed of [
      query,
      { ...query, after },
      { ...query, outcomes: ["CONFLICT"] as const, after },
    ]) {
      await readReceipts(reader, { ...narrowed, max: 5 });
    }
  }
  // Only a principal's receipts on all its devices are put in order by the database.
  let sorts = 0;
  for (const { find, filter, sort, limit, skip, projection, hint } of finds) {
    const command = {
      find,
      filter,
      sort,
      hint,
      limit,
      ...(skip && { skip }),
      ...(projection && { projection }),
    };
    const plan = await watched.db(databaseName).command({ explain: command, verbosity: "executionStats" });
    const { winningPlan } = plan.queryPlanner;
    expect(plan.executionStats.totalKeysExamined).toBeLessThanOrEqual(25);
    expect(JSON.stringify(winningPlan)).not.toContain("COLLSCAN");
    if (JSON.stringify(winningPlan).includes('"SORT"')) sorts++;
  }
  expect([finds.length, sorts]).toEqual([11, 3]);
});

test("receipts: what can't be put in order in time → REQUEST_TOO_LARGE, saying what to name", async () => {
  const mongod = await startOwnMongod(await temporaryFolder());
  const client = await connectMongo(mongod.uri);
  onTestFinished(async () => {
    await client.close();
    await mongod.close();
  });
  const ledger = await openLedger(client, "tidemark");
  await client.db("admin").command({ configureFailPoint: "maxTimeAlwaysTimeOut", mode: "alwaysOn" });
  const reading = readReceipts(ledger, anyOfAna);
  await expect(reading).rejects.toMatchObject({ reason: "REQUEST_TOO_LARGE", message: /name a device/ });
});

test("page tokens: their own → the position; anything else → INVALID_REQUEST", () => {
  const position = { atMs: AT_MS, mutationId: randomUUID() };
  const token = pageTokenOf(position);
  expect(positionOf(token)).toEqual(position);
  expect(token).toMatch(/^[\w-]+$/);
  const encoded = (text: string) => Buffer.from(text).toString("base64url");
  const garbage = [
    "x",
    "%%%",
    `${token}=`,
    ` ${token}`,
    token.slice(1),
    encoded("1 2"),
    encoded(`-1 ${position.mutationId}`),
  ];
  for (const wrong of [
    ...garbage,
    encoded(`01 ${position.mutationId}`),
    encoded(`9999999999999999 ${position.mutationId}`),
  ]) {
    expect(() => positionOf(wrong)).toThrow(expect.objectContaining({ reason: "INVALID_REQUEST" }));
  }
});
