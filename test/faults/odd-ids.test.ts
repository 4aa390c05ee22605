// Record ids and principals of every kind of text: pushed, stored, pulled in both forms, changed from both sides and
// deleted under exactly the id the client gave.
import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Document } from "mongodb";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Change, RemoveReason } from "#gen/tidemark/v1/change_pb.js";
import type { MutationSchema } from "#gen/tidemark/v1/mutation_pb.js";
import { Outcome, type Receipt } from "#gen/tidemark/v1/receipt_pb.js";
import type { Tidemark } from "../../src/main.ts";
import { Follower } from "../support/follower.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { asPrincipal, startServer, syncClient } from "../support/server.ts";
import { callJson } from "./call-server.ts";

const ids = [
  "🌊",
  "👩‍👩‍👧‍👦 family",
  "a\0b",
  "\0",
  "שלום‏ \u202Eabc",
  "a\nb\r\n\t",
  "a/b//c",
  "/",
  "..",
  "%2F%00",
  "a.b",
  "$set",
  "__proto__",
  "constructor",
  "\ufffd",
  "\ufeffbom",
  "\u{10ffff}",
  "e\u0301",
  "é",
  " ",
  " a ",
  '"\\"',
  "{}",
  "null",
  "0",
  "é".repeat(512),
  "x".repeat(1024),
];

type Kind = NonNullable<MessageInitShape<typeof MutationSchema>["kind"]>;

let database: TestDatabase;
let server: Tidemark;
let follower: Follower;

beforeAll(async () => {
  database = await testDatabase();
  server = await startServer(database);
  follower = new Follower(server.url, "ana", { selections: [{ collection: "todos" }] });
  await follower.checkpoint();
});

afterAll(async () => {
  await follower[Symbol.asyncDispose]();
  await server.close();
  await database.drop();
});

const todos = () => database.source.collection<Document>("todos");

/** The same mutation of each id; every one must be applied. */
async function pushAll(kind: Kind): Promise<Receipt[]> {
  const mutations = ids.map((recordId) => ({
    mutationId: randomUUID(),
    collection: "todos",
    recordId,
    kind,
  }));
  const { receipts } = await syncClient(server.url).pushMutations(
    { mutations },
    { headers: asPrincipal("ana") },
  );
  expect(receipts.map(({ recordId, outcome }) => [recordId, Outcome[outcome]])).toEqual(
    ids.map((id) => [id, "APPLIED"]),
  );
  return receipts;
}

/** The changes that follow, in order, as many as there are ids. */
async function changes(): Promise<Change[]> {
  const seen: Change[] = [];
  while (seen.length < ids.length) seen.push(...(await follower.checkpoint()).changes);
  return seen;
}

it("created, changed from both sides, deleted → each under its own id", async () => {
  const record = (value: Record<string, string>) => ({
    record: { form: { case: "json" as const, value } },
  });
  await pushAll({ case: "create", value: record({ title: "created", ownerId: "ana" }) });
  expect((await changes()).map(({ recordId }) => recordId)).toEqual(ids);
  expect((await todos().find().toArray()).map(({ _id }) => String(_id)).sort()).toEqual(ids.toSorted());

  await pushAll({ case: "update", value: record({ notes: "pushed" }) });
  expect((await changes()).map(({ recordId }) => recordId)).toEqual(ids);

  for (const _id of ids) await todos().updateOne({ _id } as Document, { $set: { done: true } });
  expect((await changes()).map(({ recordId }) => recordId)).toEqual(ids);

  const { text } = await callJson(server.url, "ListChanges", { selections: [{ collection: "todos" }] });
  const frames: Document[] = JSON.parse(text).frames;
  const listed: Document[] = frames.flatMap(({ batch }) => batch?.changes ?? []);
  expect(listed.map(({ recordId, put }) => [recordId, put.record.json.id])).toEqual(
    ids.map((id) => [id, id]),
  );

  await pushAll({ case: "delete", value: {} });
  expect((await changes()).map(({ recordId, kind }) => [recordId, kind.value])).toMatchObject(
    ids.map((id) => [id, { reason: RemoveReason.DELETED }]),
  );
  expect(await todos().countDocuments()).toBe(0);
});

it("owners of every kind of text → each record in its owner's scope alone", async () => {
  const owners = ids.filter((id) => id.length <= 100);
  const documents = owners.map((ownerId, n) => ({ _id: `of-${n}`, ownerId, title: "T" }) as Document);
  await todos().insertMany(documents);
  await todos().insertOne({ _id: "last", ownerId: "ana", title: "T" } as Document);
  const seen: string[] = [];
  while (!seen.includes("last"))
    seen.push(...(await follower.checkpoint()).changes.map(({ recordId }) => recordId));
  expect(seen).toEqual(["last"]);
  for (const [n, owner] of owners.entries()) {
    if (!/^[\x21-\x7e]+$/.test(owner)) continue;
    const { text } = await callJson(server.url, "ListChanges", {}, asPrincipal(owner));
    const frames: Document[] = JSON.parse(text).frames;
    const listed: Document[] = frames.flatMap(({ batch }) => batch?.changes ?? []);
    expect(
      listed.map(({ recordId }) => recordId),
      owner,
    ).toEqual([`of-${n}`]);
  }
});
