// A schema that shows less, or to others, on a running log: the node of the old schema goes on serving, and neither it
// nor the new one lets out a byte of what is hidden from then on; cursors of before go on to what is seen now.
import { toBinary } from "@bufbuild/protobuf";
import type { Collection } from "mongodb";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ListChangesResponseSchema } from "#gen/tidemark/v1/list_changes_pb.js";
import { Outcome, type Receipt } from "#gen/tidemark/v1/receipt_pb.js";
import type { Tidemark } from "../../src/main.ts";
import { type CommitClock, commitClockOf } from "../../src/model/commit-clock.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { Phone, TOKEN_SECRET } from "../support/phone.ts";
import { startServer, syncClient } from "../support/server.ts";
import { type TeamParts, teamSchema } from "../support/team-schema.ts";

type Row = { readonly _id: string; readonly [key: string]: unknown };

let database: TestDatabase;
let notes: Collection<Row>;
let old: Tidemark;
let ana: Phone;
const servers: Tidemark[] = [];

beforeEach(async () => {
  database = await testDatabase();
  notes = database.source.collection("notes");
  old = await start({});
  ana = await new Phone("ana").follow(old.url);
});

afterEach(async () => {
  await ana[Symbol.asyncDispose]();
  await Promise.all(servers.splice(0).map((server) => server.close()));
  await database.drop();
});

/** A node that leads with its schema, as soon as it serves. */
async function start(parts: TeamParts): Promise<Tidemark> {
  const env = { TIDEMARK_SCHEMA: await teamSchema(parts), TIDEMARK_TOKEN_SECRET: TOKEN_SECRET };
  const server = await startServer(database, env);
  servers.push(server);
  return server;
}

async function write(row: Row): Promise<CommitClock> {
  return await database.client.withSession(async (session) => {
    await notes.replaceOne({ _id: row._id }, row, { upsert: true, session, writeConcern: { w: "majority" } });
    if (!session.operationTime) throw new Error("a write has an operation time");
    return commitClockOf(session.operationTime);
  });
}

function bytesOf({ record }: Receipt): Buffer {
  return Buffer.from(record?.form.case === "proto" ? record.form.value : []);
}

const HIDDEN = { payRule: "[(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN]" };

describe("access: a field is hidden", () => {
  it("the old node's open stream, new streams, pages and receipts → not a byte of it any more", async () => {
    expect(
      await ana.holdsAt(await write({ _id: "n", title: "t", ownerId: "ana", pay: "pay-of-before" })),
    ).toEqual(["notes/n"]);
    expect(ana.received.includes("pay-of-before")).toBe(true);
    const current = await start(HIDDEN);
    ana.received = Buffer.alloc(0);
    await write({ _id: "n", title: "t", ownerId: "ana", pay: "pay-of-today" });
    const clock = await write({ _id: "m", title: "t", ownerId: "ana", pay: "pay-of-m" });
    expect(await ana.holdsAt(clock)).toEqual(["notes/m", "notes/n"]);
    const fresh = await new Phone("ana").follow(old.url);
    expect(await fresh.holdsAt(clock)).toEqual(["notes/m", "notes/n"]);
    const resumed = await ana.follow(current.url);
    await resumed.holdsAt(clock);
    for (const { received, client } of [ana, fresh, resumed]) {
      expect(received.includes("pay-of")).toBe(false);
      for (const { bytes } of client.records.values())
        expect(Buffer.from(bytes).includes("pay-of")).toBe(false);
    }
    await fresh[Symbol.asyncDispose]();
    const page = await syncClient(old.url).listChanges({}, { headers: await ana.headers() });
    const bytes = Buffer.from(toBinary(ListChangesResponseSchema, page));
    expect([bytes.includes("pay-of"), bytes.includes("ana")]).toEqual([false, true]);
  });

  it("a conflict told by the old node → no record; by the new one → the record without the field", async () => {
    await ana.holdsAt(await write({ _id: "n", title: "t", ownerId: "ana", pay: "pay-of-today" }));
    const edit = { collection: "notes", id: "n", create: { title: "other", owner_id: "ana" } };
    expect(bytesOf(await ana.push(edit)).includes("pay-of-today")).toBe(true);
    const current = await start(HIDDEN);
    // The old node has heard of the new schema once it tells of what was written after.
    await ana.holdsAt(await write({ _id: "m", title: "t", ownerId: "ana", pay: "pay-of-m" }));
    const told = await ana.push(edit);
    expect([told.outcome, told.record]).toEqual([Outcome.CONFLICT, undefined]);
    const anew = await ana.push(edit, current.url);
    expect(bytesOf(anew).includes("pay-of-today")).toBe(false);
    expect(bytesOf(anew).length).toBeGreaterThan(0);
  });
});

describe("access: scopes change", () => {
  const title = "t";

  it("narrowed → on the old node's stream and the new one's, what is seen no more is removed", async () => {
    await write({ _id: "read", title, ownerId: "ben", readerIds: ["ana"] });
    expect(await ana.holdsAt(await write({ _id: "own", title, ownerId: "ana" }))).toEqual([
      "notes/own",
      "notes/read",
    ]);
    const current = await start({ noteScopes: `["user:{owner_id}"]` });
    ana.received = Buffer.alloc(0);
    const clock = await write({ _id: "read", title: "unseen", ownerId: "ben", readerIds: ["ana"] });
    expect(await ana.holdsAt(clock)).toEqual(["notes/own"]);
    expect(await (await ana.follow(current.url)).holdsAt(clock)).toEqual(["notes/own"]);
    expect(ana.received.includes("unseen")).toBe(false);
  });

  it("widened → the new node's stream has what is seen now as well", async () => {
    await write({ _id: "t", title, teamId: "ana" });
    expect(await ana.holdsAt(await write({ _id: "own", title, ownerId: "ana" }))).toEqual(["notes/own"]);
    const current = await start({ noteScopes: `["user:{owner_id}", "user:{team_id}"]` });
    await ana.follow(current.url);
    expect(await ana.holdsAt(await write({ _id: "last", title, ownerId: "ana" }))).toEqual([
      ...["notes/last", "notes/own", "notes/t"],
    ]);
  });

  it("moved from one field to another → what was seen by the old is removed, what is seen by the new comes", async () => {
    await write({ _id: "both", title, ownerId: "ana", teamId: "ana" });
    await write({ _id: "team", title, ownerId: "ben", teamId: "ana" });
    expect(await ana.holdsAt(await write({ _id: "own", title, ownerId: "ana" }))).toEqual([
      "notes/both",
      "notes/own",
    ]);
    const current = await start({ noteScopes: `["user:{team_id}"]` });
    const clock = await write({ _id: "last", title, teamId: "ana" });
    expect(await (await ana.follow(current.url)).holdsAt(clock)).toEqual([
      "notes/both",
      "notes/last",
      "notes/team",
    ]);
  });

  it("a membership's grant moved → the old grant holds nowhere any more, from the new schema's first append on", async () => {
    await database.source
      .collection<Row>("members")
      .insertOne({ _id: "m", userId: "ana", teamId: "red", access: "READ" });
    const red = { _id: "r", title, teamId: "red" };
    expect(await ana.holdsAt(await write(red))).toEqual(["members/m", "notes/r"]);
    await start({ granted: "user:{team_id}" });
    const clock = await write({ ...red, title: "unseen" });
    expect(await ana.holdsAt(clock)).toEqual([]);
    expect(ana.received.includes("unseen")).toBe(false);
    const mine = await write({ _id: "u", title, ownerId: "red" });
    expect(await ana.holdsAt(mine)).toEqual(["notes/u"]);
  });
});
