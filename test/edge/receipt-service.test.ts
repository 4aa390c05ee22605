// ReceiptService on a real server: who is told what of past mutations, over gRPC, Connect JSON and GET.
import { randomUUID } from "node:crypto";
import { fromBinary, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type LedgerEntry, MutationKind } from "#gen/tidemark/v1/ledger_entry_pb.js";
import type { ListReceiptsRequestSchema } from "#gen/tidemark/v1/list_receipts_pb.js";
import type { MutationSchema } from "#gen/tidemark/v1/mutation_pb.js";
import { Outcome } from "#gen/tidemark/v1/receipt_pb.js";
import { ReceiptService } from "#gen/tidemark/v1/receipt_service_pb.js";
import { RecordForm } from "#gen/tidemark/v1/record_pb.js";
import { issueToken } from "../../src/access/issue-token.ts";
import { loadDescriptorSet } from "../../src/generate/load-descriptor-set.ts";
import type { Tidemark } from "../../src/main.ts";
import { readSchema, type Schema } from "../../src/schema/schema.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { asPrincipal, DEMO_SCHEMA, startServer, syncClient } from "../support/server.ts";

const SECRET = "a secret of thirty-two bytes at the least";

type Headers = Record<string, string>;
type Mutation = MessageInitShape<typeof MutationSchema>;

let database: TestDatabase;
let server: Tidemark;
let schema: Schema;
let asService: Headers;

beforeAll(async () => {
  database = await testDatabase();
  server = await startServer(database, { TIDEMARK_TOKEN_SECRET: SECRET });
  schema = readSchema(await loadDescriptorSet(DEMO_SCHEMA));
  const claims = { tidemark_service: true };
  const options = { secret: SECRET, principal: "backend", claims, ttlSeconds: 600, nowMs: Date.now() };
  asService = { authorization: `Bearer ${await issueToken(options)}` };
});
afterAll(async () => {
  await server?.close();
  await database?.drop();
});

/** A principal nobody else uses. */
const someone = () => `p${randomUUID().slice(0, 8)}`;
const on = (principal: string, device = "phone"): Headers => ({
  ...asPrincipal(principal),
  "tidemark-client": `ios/1.0; device=${device}`,
});

const grpc = () => createGrpcTransport({ baseUrl: server.url });
const receiptsBy = (transport: Transport = grpc()) => createClient(ReceiptService, transport);
const list = (headers: Headers, request: MessageInitShape<typeof ListReceiptsRequestSchema> = {}) =>
  receiptsBy().listReceipts(request, { headers });
const get = (headers: Headers, mutationId: string) => receiptsBy().getReceipt({ mutationId }, { headers });

function create(recordId: string, json: JsonObject): Mutation {
  const kind = { case: "create" as const, value: { record: jsonRecord(json) } };
  return { mutationId: randomUUID(), collection: "todos", recordId, kind };
}

function update(recordId: string, json: JsonObject, base: JsonObject): Mutation {
  const kind = { case: "update" as const, value: { record: jsonRecord(json), base: jsonRecord(base) } };
  return { mutationId: randomUUID(), collection: "todos", recordId, kind };
}

function jsonRecord(value: JsonObject) {
  return { form: { case: "json" as const, value } };
}

/** Pushes one by one; returns the ids, the first first. */
async function push(headers: Headers, ...mutations: Mutation[]): Promise<string[]> {
  for (const mutation of mutations) {
    await syncClient(server.url).pushMutations({ mutations: [mutation] }, { headers });
  }
  return mutations.map(({ mutationId = "" }) => mutationId);
}

const idsOf = (entries: readonly LedgerEntry[]) => entries.map(({ receipt }) => receipt?.mutationId);

async function failure(call: Promise<unknown>): Promise<[Code, string | null]> {
  const error = ConnectError.from(
    await call.then(
      () => "no failure",
      (failed: unknown) => failed,
    ),
  );
  return [error.code, error.metadata.get("tidemark-reason")];
}

const FORBIDDEN = [Code.PermissionDenied, "FORBIDDEN"];
const NOT_FOUND = [Code.NotFound, "NOT_FOUND"];
const INVALID = [Code.InvalidArgument, "INVALID_REQUEST"];

/** A todo of the principal whose title was changed on both sides; returns its id and that of the merged mutation. */
async function conflicted(principal: string): Promise<{ recordId: string; mutationId: string }> {
  const recordId = randomUUID();
  await push(on(principal), create(recordId, { title: "A", votes: 2, ownerId: principal }));
  await database.source
    .collection<{ _id: string }>("todos")
    .updateOne({ _id: recordId }, { $set: { title: "B", votes: 3 } });
  const mine = update(recordId, { title: "C", votes: 5 }, { title: "A", votes: 2 });
  const [mutationId = ""] = await push(on(principal), mine);
  return { recordId, mutationId };
}

test("receipts: an entry tells who, when, what was asked and the sides of each conflict", async () => {
  const ana = someone();
  const { recordId, mutationId } = await conflicted(ana);
  const { entries, nextPageToken } = await list(on(ana), { recordForm: RecordForm.JSON });
  expect(nextPageToken).toBe("");
  const [merged, created] = entries;
  expect(created).toMatchObject({
    receipt: { recordId, outcome: Outcome.APPLIED, replayed: true, recordAbsent: false, conflicts: [] },
    principal: ana,
    device: "phone",
    collection: "todos",
    kind: MutationKind.CREATE,
    conflicts: [],
  });
  expect(created?.fields.map(({ name }) => name)).toEqual(["title", "votes", "owner_id"]);
  expect(created?.receipt?.commitClock).toBeGreaterThan(0n);
  expect(Math.abs(Number(created?.receivedAt?.seconds) * 1000 - Date.now())).toBeLessThan(60_000);
  expect(created?.madeAt).toBeUndefined();
  expect(merged).toMatchObject({
    receipt: { mutationId, recordId, outcome: Outcome.MERGED, replayed: true },
    kind: MutationKind.UPDATE,
    fields: [
      { field: 2, name: "title" },
      { field: 8, name: "votes" },
    ],
    conflicts: [
      { field: 2, name: "title", base: jsonRecord({ title: "A" }), current: jsonRecord({ title: "B" }) },
      { field: 8, name: "votes", proposed: jsonRecord({ votes: 5 }) },
    ],
  });
  expect(merged?.receipt?.record).toBeUndefined();
  expect(merged?.receipt?.conflicts).toMatchObject([{ name: "title" }, { name: "votes" }]);
});

test("receipts: values in PROTO form → a record with that field alone", async () => {
  const ana = someone();
  const { mutationId } = await conflicted(ana);
  const { entry } = await get(on(ana), mutationId);
  const proposed = entry?.conflicts[0]?.proposed?.form;
  const todos = schema.collections.get("todos");
  if (proposed?.case !== "proto" || !todos) return expect.unreachable(proposed?.case);
  expect(fromBinary(todos.message, proposed.value)).toMatchObject({ title: "C", votes: 0, id: "" });
});

test("receipts: the record is no longer the principal's to see → its values and conflicts gone, for services there", async () => {
  const ana = someone();
  const { recordId, mutationId } = await conflicted(ana);
  const lost = database.source.collection<{ _id: string }>("todos");
  await lost.updateOne({ _id: recordId }, { $set: { ownerId: someone() } });
  const { entry } = await get(on(ana), mutationId);
  expect(entry?.conflicts).toEqual([]);
  expect(entry?.receipt?.conflicts).toEqual([]);
  expect(entry?.receipt?.outcome).toBe(Outcome.MERGED);
  expect((await list(on(ana))).entries[0]?.conflicts).toEqual([]);
  expect((await get(asService, mutationId)).entry?.conflicts).toHaveLength(2);
  await lost.deleteOne({ _id: recordId });
  expect((await get(on(ana), mutationId)).entry?.conflicts).toEqual([]);
  expect((await list(asService, { principal: ana })).entries[0]?.conflicts).toHaveLength(2);
});

test("receipts: fields the schema lost or hides, and collections it lost → entries without them", async () => {
  const ana = someone();
  const { mutationId } = await conflicted(ana);
  const ledger = database.client.db(database.tidemarkDb).collection<{ _id: string }>("ledger");
  await ledger.updateOne({ _id: mutationId }, { $set: { "conflicts.0.field": 999, fields: [2, 999] } });
  const { entry } = await get(asService, mutationId);
  expect(entry?.conflicts.map(({ name }) => name)).toEqual(["votes"]);
  expect(entry?.fields.map(({ name }) => name)).toEqual(["title"]);
  await ledger.updateOne({ _id: mutationId }, { $set: { collection: "gone" } });
  for (const headers of [on(ana), asService]) {
    expect((await get(headers, mutationId)).entry).toMatchObject({
      collection: "gone",
      fields: [],
      conflicts: [],
    });
  }
});

test("receipts: a principal → its own device's, by id any device's; others' are FORBIDDEN or NOT_FOUND", async () => {
  const [ana, bob] = [someone(), someone()];
  const [phone = ""] = await push(on(ana), create(randomUUID(), { title: "t", ownerId: ana }));
  const [tablet = ""] = await push(on(ana, "tablet"), create(randomUUID(), { title: "t", ownerId: ana }));
  const [bobs = ""] = await push(on(bob), create(randomUUID(), { title: "t", ownerId: bob }));
  expect(idsOf((await list(on(ana))).entries)).toEqual([phone]);
  expect(idsOf((await list(on(ana), { principal: ana, device: "phone" })).entries)).toEqual([phone]);
  expect(idsOf((await list(on(ana, "tablet"))).entries)).toEqual([tablet]);
  expect(idsOf((await list(asPrincipal(ana))).entries)).toEqual([]);
  expect((await get(on(ana), tablet)).entry?.device).toBe("tablet");
  expect((await get(on(ana), tablet.toUpperCase())).entry?.device).toBe("tablet");
  expect(await failure(list(on(ana), { device: "tablet" }))).toEqual(FORBIDDEN);
  expect(await failure(list(on(ana), { principal: bob }))).toEqual(FORBIDDEN);
  const refusals = await Promise.all([bobs, randomUUID()].map((id) => failure(get(on(ana), id))));
  expect(refusals).toEqual([NOT_FOUND, NOT_FOUND]);
});

test("receipts: a service → any principal's, any device's, everybody's of a record", async () => {
  const [ana, bob, recordId] = [someone(), someone(), randomUUID()];
  const phone = await push(on(ana), create(recordId, { title: "t", ownerId: ana }));
  const tablet = await push(on(ana, "tablet"), update(recordId, { title: "u" }, { title: "t" }));
  const bobs = await push(on(bob), update(recordId, { title: "v" }, { title: "u" }));
  const record = { collection: "todos", recordId };
  expect(idsOf((await list(asService, { principal: ana })).entries)).toEqual([...tablet, ...phone]);
  expect(idsOf((await list(asService, { principal: ana, device: "phone" })).entries)).toEqual(phone);
  expect(idsOf((await list(asService, record)).entries)).toEqual([...bobs, ...tablet, ...phone]);
  expect(idsOf((await list(asService, { ...record, principal: bob })).entries)).toEqual(bobs);
  expect(idsOf((await list(asService)).entries)).toEqual([]);
  expect((await get(asService, bobs[0] ?? "")).entry?.receipt?.recordAbsent).toBe(true);
});

test("receipts: callers without a token → FORBIDDEN", async () => {
  expect(await failure(list({}))).toEqual(FORBIDDEN);
  expect(await failure(get({}, randomUUID()))).toEqual(FORBIDDEN);
});

test("receipts: a token that can't be read → TOKEN_INVALID; a deadline passed → DEADLINE_EXCEEDED", async () => {
  const nonsense = { authorization: "Bearer nonsense" };
  const refused = [Code.Unauthenticated, "TOKEN_INVALID"];
  expect(await failure(list(nonsense))).toEqual(refused);
  expect(await failure(get(nonsense, randomUUID()))).toEqual(refused);
  const url = `${server.url}/tidemark.v1.ReceiptService/ListReceipts`;
  const headers = { "content-type": "application/json", "connect-timeout-ms": "0", ...on("ana") };
  const late = await fetch(url, { method: "POST", headers, body: "{}" });
  expect([late.status, late.headers.get("tidemark-reason")]).toEqual([504, "DEADLINE_EXCEEDED"]);
});

test("receipts: filters by record and outcome; pages across receipts of one millisecond", async () => {
  const ana = someone();
  const [a, b] = [randomUUID(), randomUUID()];
  const made = await push(
    on(ana),
    create(a, { title: "t", ownerId: ana }),
    create(b, { title: "t", ownerId: ana }),
    update(randomUUID(), { title: "x" }, { title: "y" }),
  );
  const ledger = database.client.db(database.tidemarkDb).collection<{ _id: string }>("ledger");
  await ledger.updateMany({ _id: { $in: made } }, { $set: { at: new Date() } });
  const only = async (request: MessageInitShape<typeof ListReceiptsRequestSchema>) =>
    idsOf((await list(on(ana), request)).entries);
  expect(await only({ collection: "todos", recordId: b })).toEqual([made[1]]);
  expect(await only({ outcomes: [Outcome.CONFLICT] })).toEqual([made[2]]);
  expect(await only({ outcomes: [Outcome.MERGED, Outcome.REJECTED] })).toEqual([]);
  expect(await only({ collection: "nothing", recordId: b })).toEqual([]);
  const paged: (string | undefined)[] = [];
  let pageToken = "";
  do {
    const page = await list(on(ana), { pageSize: 1, pageToken });
    paged.push(...idsOf(page.entries));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(paged).toEqual([...made].sort().reverse());
});

test.each<[string, MessageInitShape<typeof ListReceiptsRequestSchema>]>([
  ["a collection without an id", { collection: "todos" }],
  ["an id without a collection", { recordId: "a" }],
  ["501 a page", { pageSize: 501 }],
  ["a negative page", { pageSize: -1 }],
  ["an unspecified outcome", { outcomes: [Outcome.UNSPECIFIED] }],
  ["an outcome that leaves no receipt", { outcomes: [Outcome.NOT_ATTEMPTED] }],
  ["a token that is none", { pageToken: "garbage" }],
  ["another server's token", { pageToken: Buffer.from("1 2").toString("base64url") }],
  ["a form nobody knows", { recordForm: 9 as RecordForm }],
])("receipts: %s → INVALID_REQUEST", async (_, request) => {
  expect(await failure(list(on("ana"), request))).toEqual(INVALID);
});

test("receipts: an id that is no UUID → INVALID_REQUEST", async () => {
  expect(await failure(get(on("ana"), "1"))).toEqual(INVALID);
});

test("receipts: over Connect, JSON and GET → the same; the answer to GET is nobody's to keep", async () => {
  const ana = someone();
  const { mutationId } = await conflicted(ana);
  const options = { baseUrl: server.url, httpVersion: "1.1" as const, useBinaryFormat: false };
  for (const useHttpGet of [false, true]) {
    const client = receiptsBy(createConnectTransport({ ...options, useHttpGet }));
    const { entries } = await client.listReceipts({}, { headers: on(ana) });
    expect(entries[0]?.conflicts[0]?.current).toMatchObject(jsonRecord({ title: "B" }));
    const { entry } = await client.getReceipt({ mutationId }, { headers: on(ana) });
    expect(entry?.receipt?.mutationId).toBe(mutationId);
  }
  const message = encodeURIComponent(JSON.stringify({ mutationId }));
  const url = `${server.url}/tidemark.v1.ReceiptService/GetReceipt?connect=v1&encoding=json&message=${message}`;
  const answer = await fetch(url, { headers: on(ana) });
  expect(answer.headers.get("cache-control")).toBe("private, no-store");
  expect(await answer.json()).toMatchObject({
    entry: {
      kind: "MUTATION_KIND_UPDATE",
      conflicts: [{ name: "title", base: { json: { title: "A" } } }, {}],
    },
  });
});

test("receipts: more values than one answer takes → pages end early, nothing is left out", async () => {
  const ana = someone();
  const { mutationId } = await conflicted(ana);
  const ledger = database.client.db(database.tidemarkDb).collection<{ _id: string }>("ledger");
  const kept = await ledger.findOne({ _id: mutationId });
  if (kept === null) return expect.unreachable();
  const text = Buffer.from("x".repeat(60_000));
  const current = Buffer.concat([Buffer.of(0x12, 0xe0, 0xd4, 0x03), text]);
  const copies = Array.from({ length: 40 }, () => ({
    ...kept,
    _id: randomUUID(),
    conflicts: [{ field: 2, current }],
  }));
  await ledger.insertMany(copies);
  const seen = new Set<string | undefined>();
  let pages = 0;
  let pageToken = "";
  do {
    const page = await list(on(ana), { pageToken });
    for (const id of idsOf(page.entries)) seen.add(id);
    pageToken = page.nextPageToken;
    pages++;
  } while (pageToken !== "");
  expect([pages, seen.size]).toEqual([3, 42]);
});
