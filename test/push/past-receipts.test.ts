// What is told of past mutations where rights and schemas have changed since: memberships lost, fields hidden at any
// depth, types changed. Receipts are laid into the ledger as an older schema would have left them.
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compileProtos } from "../../src/generate/compile-protos.ts";
import { insertReceipt, type Ledger, openLedger } from "../../src/ledger/ledger.ts";
import type { StoredConflict, StoredReceipt } from "../../src/ledger/stored-receipt.ts";
import { type Log, openLog } from "../../src/log/log.ts";
import type { Principal } from "../../src/model/principal.ts";
import { createPastReceipts, type PastReceipts } from "../../src/push/past-receipts.ts";
import { readSchema } from "../../src/schema/schema.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";

let database: TestDatabase;
let log: Log;
let ledger: Ledger;
let past: PastReceipts;

beforeAll(async () => {
  database = await testDatabase();
  const { client, sourceDb, tidemarkDb } = database;
  log = await openLog(client, tidemarkDb);
  ledger = await openLedger(client, tidemarkDb);
  const schema = readSchema(await compileProtos(join(import.meta.dirname, "past-protos")));
  past = createPastReceipts({ client, sourceDb, log, ledger, schema });
});
afterAll(() => database.drop());

const caller: Principal = {
  id: "ana",
  claimGrants: new Map(),
  device: "phone",
  isService: false,
  expiresAtMs: undefined,
};
const service: Principal = { ...caller, id: "backend", isService: true };

/** A string field's canonical bytes. */
const text = (field: number, value: string) =>
  Buffer.concat([Buffer.of((field << 3) | 2, Buffer.byteLength(value)), Buffer.from(value)]);
const sides = (field: number, bytes: Uint8Array): StoredConflict => ({
  field,
  base: undefined,
  current: bytes,
  proposed: bytes,
});

async function keep(conflicts: readonly StoredConflict[], fields: Partial<StoredReceipt> = {}) {
  const mutationId = randomUUID();
  const receipt: StoredReceipt = {
    mutationId,
    principal: "ana",
    device: "phone",
    atMs: Date.now(),
    madeAtMs: undefined,
    collection: "docs",
    recordId: mutationId,
    kind: "update",
    fields: conflicts.map(({ field }) => field),
    hash: Buffer.of(1),
    outcome: "MERGED",
    recordAbsent: false,
    conflicts,
    rejection: undefined,
    ...fields,
  };
  await insertReceipt(ledger, receipt);
  return mutationId;
}

function putDoc(id: string, fields: Record<string, unknown>): Promise<unknown> {
  return database.source.collection<{ _id: string }>("docs").insertOne({ _id: id, ...fields });
}

const told = (principal: Principal, mutationId: string, recordForm: "JSON" | "PROTO" = "JSON") =>
  past.getReceipt(principal, { mutationId, recordForm }, new AbortController().signal);

test("past receipts: a membership gained and lost → its records' values come and go", async () => {
  const mutationId = await keep([sides(3, text(3, "theirs"))]);
  await putDoc(mutationId, { teamId: "red" });
  const conflictsOf = async () => (await told(caller, mutationId)).conflicts;
  expect(await conflictsOf()).toEqual([]);
  const _id = { c: "members", k: "ana@red" };
  await log.grants.insertOne({ _id, principal: "ana", scope: "team:red", access: "READ" });
  expect(await conflictsOf()).toMatchObject([{ name: "title", current: { json: { title: "theirs" } } }]);
  await log.grants.deleteOne({ _id });
  expect(await conflictsOf()).toEqual([]);
});

test("past receipts: a schema that is no longer the log's → no values are told, services neither", async () => {
  const { client, sourceDb, tidemarkDb } = database;
  const schema = readSchema(await compileProtos(join(import.meta.dirname, "past-protos")));
  const asked = new Set<string>();
  const isPresent = ({ name }: { readonly name: string }) => {
    asked.add(name);
    return false;
  };
  const outdated = createPastReceipts({
    client,
    sourceDb,
    log: await openLog(client, tidemarkDb),
    ledger,
    schema,
    isPresent,
  });
  const mutationId = await keep([sides(2, text(2, "theirs"))]);
  const { signal } = new AbortController();
  const told = (from: typeof past) => from.getReceipt(service, { mutationId, recordForm: "PROTO" }, signal);
  expect((await told(past)).conflicts).toHaveLength(1);
  expect(await told(outdated)).toMatchObject({ receipt: { outcome: "MERGED" }, conflicts: [] });
  expect([...asked]).toEqual(["docs"]);
});

test("past receipts: a field hidden since, itself or inside a message → told to nobody, services neither", async () => {
  const inner = Buffer.concat([text(1, "open"), text(2, "s3cret")]);
  const nested = Buffer.concat([Buffer.of((5 << 3) | 2, inner.length), inner]);
  const mutationId = await keep([sides(4, text(4, "s3cret")), sides(5, nested)]);
  for (const form of ["JSON", "PROTO"] as const) {
    const entry = await told(service, mutationId, form);
    expect(entry.fields).toEqual([{ field: 5, name: "inner" }]);
    expect(entry.receipt.conflicts).toEqual([{ field: 5, name: "inner" }]);
    const [conflict, ...others] = entry.conflicts;
    expect(others).toEqual([]);
    const current = conflict?.current;
    const shown =
      current?.form === "PROTO" ? Buffer.from(current.bytes).toString("latin1") : JSON.stringify(current);
    expect(shown).toContain("open");
    expect(shown).not.toContain("s3cret");
  }
});

test("past receipts: a value whose field has another type now → the conflict without it", async () => {
  const mutationId = await keep([sides(6, text(6, "seven")), sides(3, Buffer.of(0x1a, 200))]);
  for (const form of ["JSON", "PROTO"] as const) {
    const { conflicts } = await told(service, mutationId, form);
    expect(conflicts.map(({ name }) => name)).toEqual(["number", "title"]);
    expect(conflicts[1]?.current).toBeUndefined();
    expect(JSON.stringify(conflicts)).not.toContain("seven");
  }
});

test("past receipts: documents that are no records, and ids that no longer fit → without values", async () => {
  const claimGrants = new Map([["team:red", "READ" as const]]);
  const unfit = await keep([sides(3, text(3, "theirs"))]);
  await putDoc(unfit, { teamId: "red", number: "many" });
  const fit = await keep([sides(3, text(3, "theirs"))]);
  await putDoc(fit, { teamId: "red" });
  const odd = await keep([sides(3, text(3, "theirs"))], { recordId: "" });
  const { entries } = await past.listReceipts(
    { ...caller, claimGrants },
    {
      principal: "",
      device: "",
      record: undefined,
      outcomes: [],
      pageSize: 3,
      pageToken: "",
      recordForm: "JSON",
    },
    new AbortController().signal,
  );
  const withValues = entries.filter(({ conflicts }) => conflicts.length > 0);
  expect(entries.map(({ receipt }) => receipt.mutationId).sort()).toEqual([unfit, fit, odd].sort());
  expect(withValues.map(({ receipt }) => receipt.mutationId)).toEqual([fit]);
});

test("past receipts: an aborted call → no further read", async () => {
  const mutationId = await keep([sides(3, text(3, "theirs"))]);
  const reading = past.getReceipt(
    caller,
    { mutationId, recordForm: "JSON" },
    AbortSignal.abort(new Error("gone")),
  );
  await expect(reading).rejects.toThrow("gone");
});
