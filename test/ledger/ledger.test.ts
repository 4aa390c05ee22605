// The ledger by itself: one receipt per id, kept as it was told, and a floor that rises before receipts go.
import { randomUUID } from "node:crypto";
import type { ClientSession } from "mongodb";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  expireReceipts,
  findReceipts,
  findReceiptsAndFloor,
  insertReceipt,
  type Ledger,
  openLedger,
  ReceiptExists,
} from "../../src/ledger/ledger.ts";
import type { StoredReceipt } from "../../src/ledger/stored-receipt.ts";
import {
  type CommitClock,
  clusterTimeOf,
  commitClockMs,
  commitClockOf,
} from "../../src/model/commit-clock.ts";
import { runTransaction } from "../../src/mongo/transaction.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

let database: TestDatabase;
let ledger: Ledger;

beforeAll(async () => {
  database = await testDatabase();
  ledger = await openLedger(database.client, database.tidemarkDb, 30);
});
afterAll(() => database.drop());

function receipt(fields: Partial<StoredReceipt> = {}): StoredReceipt {
  return {
    mutationId: randomUUID(),
    principal: "ana",
    device: "phone",
    atMs: Date.now(),
    madeAtMs: undefined,
    collection: "notes",
    recordId: "n1",
    kind: "update",
    fields: [2, 3],
    hash: Buffer.of(1, 2, 3),
    outcome: "APPLIED",
    recordAbsent: false,
    conflicts: [],
    rejection: undefined,
    ...fields,
  };
}

async function floorOf(ledger: Ledger): Promise<CommitClock> {
  const read = (session: ClientSession) => findReceiptsAndFloor(ledger, [], session);
  return (await runTransaction(ledger.client, read)).result.floor;
}

test("ledger: a receipt comes back as it was stored, with all it may hold", async () => {
  const full = receipt({
    madeAtMs: 1_700_000_000_123,
    outcome: "CONFLICT",
    recordAbsent: true,
    conflicts: [
      { field: 2, base: Buffer.from("a"), current: Buffer.from("b"), proposed: Buffer.from("") },
      { field: 3, base: undefined, current: Buffer.from("b"), proposed: undefined },
    ],
    rejection: {
      reason: "INVALID",
      description: "d",
      violations: [{ path: "title", ruleId: "string.min_len", message: "m" }],
    },
  });
  const plain = receipt();
  await insertReceipt(ledger, full);
  await insertReceipt(ledger, plain);
  const { receipts, readAt } = await findReceipts(ledger, [full.mutationId, plain.mutationId, randomUUID()]);
  expect(receipts.size).toBe(2);
  expect(receipts.get(full.mutationId)).toEqual(full);
  expect(receipts.get(plain.mutationId)).toEqual(plain);
  expect(Math.abs(commitClockMs(readAt) - Date.now())).toBeLessThan(HOUR_MS);
});

test("ledger: a client's time that no date holds → kept as not told", async () => {
  const odd = [9e15, -9e15, Number.NaN].map((madeAtMs) => receipt({ madeAtMs }));
  for (const one of odd) await insertReceipt(ledger, one);
  const { receipts } = await findReceipts(
    ledger,
    odd.map(({ mutationId }) => mutationId),
  );
  expect([...receipts.values()].map(({ madeAtMs }) => madeAtMs)).toEqual([undefined, undefined, undefined]);
});

test("ledger: an id that is taken → ReceiptExists, in a transaction and outside; the first receipt stays", async () => {
  const first = receipt();
  await insertReceipt(ledger, first);
  const second = { ...first, principal: "bob" };
  await expect(insertReceipt(ledger, second)).rejects.toBeInstanceOf(ReceiptExists);
  const inTransaction = runTransaction(database.client, (session) => insertReceipt(ledger, second, session));
  await expect(inTransaction).rejects.toBeInstanceOf(ReceiptExists);
  const { receipts } = await findReceipts(ledger, [first.mutationId]);
  expect(receipts.get(first.mutationId)?.principal).toBe("ana");
});

test("ledger: a read's time is not before the commit of what it found", async () => {
  const one = receipt();
  const { operationTime } = await runTransaction(database.client, (session) =>
    insertReceipt(ledger, one, session),
  );
  const { readAt } = await findReceipts(ledger, [one.mutationId]);
  expect(readAt).toBeGreaterThanOrEqual(commitClockOf(operationTime));
});

test("ledger: expiry deletes what is older than its days, and the floor lies above all of it; it never falls", async () => {
  const own = await openLedger(database.client, `${database.tidemarkDb}-floor`, 30);
  expect(await floorOf(own)).toBe(0n);
  const nowMs = Date.now();
  const old = receipt({ atMs: nowMs - 31 * DAY_MS });
  const young = receipt({ atMs: nowMs - 29 * DAY_MS });
  await insertReceipt(own, old);
  await insertReceipt(own, young);
  expect(await expireReceipts(own, nowMs)).toBe(1);
  const { receipts } = await findReceipts(own, [old.mutationId, young.mutationId]);
  expect([...receipts.keys()]).toEqual([young.mutationId]);
  const floor = await floorOf(own);
  expect(commitClockMs(floor)).toBeGreaterThan(nowMs - 30 * DAY_MS);
  expect(commitClockMs(floor)).toBeLessThan(young.atMs);
  expect(clusterTimeOf(floor).i).toBe(0);
  await expireReceipts(own, nowMs - 10 * DAY_MS);
  expect(await floorOf(own)).toBe(floor);
  expect(await expireReceipts(own, nowMs)).toBe(0);
  await database.client.db(`${database.tidemarkDb}-floor`).dropDatabase();
});

test("ledger: a node's clock a year ahead → nothing young expires, the floor stays in the past", async () => {
  const own = await openLedger(database.client, `${database.tidemarkDb}-ahead`, 30);
  const young = receipt({ atMs: Date.now() - DAY_MS });
  await insertReceipt(own, young);
  expect(await expireReceipts(own, Date.now() + 365 * DAY_MS)).toBe(0);
  expect(commitClockMs(await floorOf(own))).toBeLessThan(young.atMs);
  await database.client.db(`${database.tidemarkDb}-ahead`).dropDatabase();
});

test("ledger: the floor has risen before the first receipt goes", async () => {
  const name = `${database.tidemarkDb}-order`;
  const own = await openLedger(database.client, name, 30);
  await insertReceipt(own, receipt({ atMs: Date.now() - 40 * DAY_MS }));
  const stream = own.receipts.watch([{ $match: { operationType: { $in: ["insert", "delete", "update"] } } }]);
  await stream.tryNext();
  await expireReceipts(own, Date.now());
  const first = await stream.next();
  const second = await stream.next();
  expect([first.operationType, second.operationType]).toEqual(["insert", "delete"]);
  expect("documentKey" in first && first.documentKey._id).toBe("floor");
  await stream.close();
  await database.client.db(name).dropDatabase();
});

test("ledger: opening it again, and twice at once, changes nothing", async () => {
  const one = receipt();
  await insertReceipt(ledger, one);
  const open = () => openLedger(database.client, database.tidemarkDb, 30);
  const [again] = await Promise.all([open(), open()]);
  expect((await findReceipts(again, [one.mutationId])).receipts.size).toBe(1);
});
