// Who sees what, on two nodes of one database: what is granted or revoked through one of them, or by hand in the
// database, holds on the streams of the other from a definite checkpoint on.
import { randomUUID } from "node:crypto";
import type { JsonObject } from "@bufbuild/protobuf";
import type { ClientSession, Collection } from "mongodb";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Outcome, type Receipt, RejectionReason } from "#gen/tidemark/v1/receipt_pb.js";
import type { Tidemark } from "../../src/main.ts";
import { type CommitClock, commitClockOf } from "../../src/model/commit-clock.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { Phone, TOKEN_SECRET } from "../support/phone.ts";
import { startServer } from "../support/server.ts";
import { teamSchema } from "../support/team-schema.ts";

let database: TestDatabase;
let a: Tidemark;
let b: Tidemark;
let ana: Phone;
let ben: Phone;

beforeEach(async () => {
  database = await testDatabase();
  await write("members", { _id: "ana", userId: "ana", teamId: "red", access: "READ_WRITE" });
  await write("notes", { _id: "red", title: "t", teamId: "red" });
  await write("notes", { _id: "both", title: "t", teamId: "red", ownerId: "ben" });
  await write("notes", { _id: "blue", title: "t", teamId: "blue" });
  const env = { TIDEMARK_SCHEMA: await teamSchema(), TIDEMARK_TOKEN_SECRET: TOKEN_SECRET };
  a = await startServer(database, env);
  b = await startServer(database, env);
  ana = await new Phone("ana").follow(a.url);
  ben = await new Phone("ben").follow(b.url);
});

afterEach(async () => {
  await Promise.all([ana, ben].map((phone) => phone[Symbol.asyncDispose]()));
  await Promise.all([a, b].map((server) => server.close()));
  await database.drop();
});

type Row = { readonly _id: string; readonly [key: string]: unknown };

/** By hand, in the database; the clock of the write. */
function write(collection: string, row: Row): Promise<CommitClock> {
  return clockOf((session) =>
    rows(collection).replaceOne({ _id: row._id }, row, { upsert: true, session, writeConcern }),
  );
}

function erase(collection: string, _id: string): Promise<CommitClock> {
  return clockOf((session) => rows(collection).deleteOne({ _id }, { session, writeConcern }));
}

const writeConcern = { w: "majority" } as const;

function rows(collection: string): Collection<{ _id: string }> {
  return database.source.collection(collection);
}

async function clockOf(write: (session: ClientSession) => Promise<unknown>): Promise<CommitClock> {
  return await database.client.withSession(async (session) => {
    await write(session);
    if (!session.operationTime) throw new Error("a write has an operation time");
    return commitClockOf(session.operationTime);
  });
}

/** Of a write nobody here sees. */
const now = () => write("notes", { _id: randomUUID(), title: "t", ownerId: "nobody" });

function applied(receipt: Receipt): CommitClock {
  expect(receipt.outcome).toBe(Outcome.APPLIED);
  return receipt.commitClock;
}

const joins = (user_id: string, access = "ACCESS_READ") => ({ user_id, team_id: "red", access });
const member = (id: string, create?: JsonObject) => ({
  collection: "members",
  id,
  ...(create && { create }),
});
const OWN = ["notes/both"];
const TEAM = ["members/ana", "members/ben", "notes/both", "notes/red"];

describe("access: two nodes", () => {
  it("granted by a push through node A → at the push's checkpoint node B's stream has the team whole; revoked → no more", async () => {
    expect(await ben.holdsAt()).toEqual(OWN);
    const granted = applied(await ana.push(member("ben", joins("ben"))));
    expect(await ben.holdsAt(granted)).toEqual(TEAM);
    await write("notes", { _id: "red", title: "seen", teamId: "red" });
    await ben.holdsAt(await now());
    expect(ben.received.includes("seen")).toBe(true);
    const revoked = applied(await ana.push(member("ben")));
    await write("notes", { _id: "red", title: "unseen", teamId: "red" });
    expect(await ben.holdsAt(revoked)).toEqual(OWN);
    expect(await ben.holdsAt(await now())).toEqual(OWN);
    expect(ben.received.includes("unseen")).toBe(false);
    expect(await ben.push({ collection: "notes", id: "red", update: { title: "x" } })).toMatchObject({
      outcome: Outcome.CONFLICT,
      recordAbsent: true,
    });
  });

  it("revoked and its record changed in one transaction → nothing of the change is sent (P6)", async () => {
    expect(await ben.holdsAt(await write("members", { _id: "ben", ...asRow(joins("ben")) }))).toEqual(TEAM);
    const revoked = await clockOf((session) =>
      session.withTransaction(async () => {
        await rows("members").deleteOne({ _id: "ben" }, { session });
        await rows("notes").updateMany({ teamId: "red" }, { $set: { title: "unseen" } }, { session });
      }),
    );
    expect(await ben.holdsAt(revoked)).toEqual(OWN);
    // What is his own he sees, as one change of it.
    expect(ben.received.toString("latin1").split("unseen")).toHaveLength(2);
  });

  it("two rows grant the same → the higher right holds; one gone → the other; both → none", async () => {
    await write("members", { _id: "ben", ...asRow(joins("ben")) });
    await write("members", { _id: "ben2", ...asRow(joins("ben", "ACCESS_READ_WRITE")) });
    const edit = (title: string) => ben.push({ collection: "notes", id: "red", update: { title } });
    expect(await ben.holdsAt(await now())).toEqual([...TEAM, "members/ben2"].sort());
    applied(await edit("a"));
    expect(await ben.holdsAt(await erase("members", "ben2"))).toEqual(TEAM);
    expect((await edit("b")).rejection?.reason).toBe(RejectionReason.FORBIDDEN);
    expect(await ben.holdsAt(await erase("members", "ben"))).toEqual(OWN);
  });

  it("a row's principal changes → one loses and the other gains it; its scope changes → one scope for the other", async () => {
    const cy = await new Phone("cy").follow(a.url);
    expect(await ben.holdsAt(await write("members", { _id: "m", ...asRow(joins("ben")) }))).toContain(
      "notes/red",
    );
    const moved = await write("members", { _id: "m", ...asRow(joins("cy")) });
    expect(await ben.holdsAt(moved)).toEqual(OWN);
    expect(await cy.holdsAt(moved)).toEqual(["members/ana", "members/m", "notes/both", "notes/red"]);
    const blue = await write("members", { _id: "m", userId: "cy", teamId: "blue", access: "READ" });
    expect(await cy.holdsAt(blue)).toEqual(["members/m", "notes/blue"]);
    await cy[Symbol.asyncDispose]();
  });

  it("revoked and granted again while away → everything, as it is now; a record that left meanwhile is gone", async () => {
    await write("members", { _id: "ben", ...asRow(joins("ben")) });
    await write("notes", { _id: "gone", title: "t", teamId: "red" });
    expect(await ben.holdsAt(await now())).toContain("notes/gone");
    await ben[Symbol.asyncDispose]();
    await erase("members", "ben");
    await erase("notes", "gone");
    await write("notes", { _id: "new", title: "t", teamId: "red" });
    await write("members", { _id: "ben", ...asRow(joins("ben")) });
    await ben.follow(a.url);
    expect(await ben.holdsAt(await now())).toEqual([...TEAM, "notes/new"].sort());
  });

  it("a record between scopes, into two, out of all → put once, kept, removed", async () => {
    const note = (more: object) => write("notes", { _id: "n", title: "t", ...more });
    expect(await ben.holdsAt(await note({ ownerId: "ben" }))).toEqual(["notes/both", "notes/n"]);
    expect(await ben.holdsAt(await note({ readerIds: ["ben"] }))).toContain("notes/n");
    expect(await ben.holdsAt(await note({ ownerId: "ben", readerIds: ["ben", "ana"] }))).toContain("notes/n");
    expect(await ben.holdsAt(await note({ readerIds: ["ana"] }))).toEqual(OWN);
    expect(await ben.holdsAt(await note({}))).toEqual(OWN);
    expect(await ana.holdsAt(await now())).toEqual(["members/ana", "notes/both", "notes/red"]);
  });
});

describe("access: tokens", () => {
  it("another token of the same principal names other teams → those scopes for these, on the cursor it had", async () => {
    const eve = new Phone("eve", { teams: ["red", "blue"] });
    expect(await (await eve.follow(a.url)).holdsAt()).toEqual([
      ...["members/ana", "notes/blue", "notes/both", "notes/red"],
    ]);
    eve.claim({ teams: "blue" });
    await write("notes", { _id: "red", title: "unseen", teamId: "red" });
    expect(await (await eve.follow(b.url)).holdsAt(await now())).toEqual(["notes/blue"]);
    expect(eve.received.includes("unseen")).toBe(false);
    eve.claim({});
    expect(await (await eve.follow(b.url)).holdsAt()).toEqual([]);
    await eve[Symbol.asyncDispose]();
  });

  it("a service's token → all records of all collections, live; without the claim again → only what is its own", async () => {
    const service = new Phone("sync-job", { tidemark_service: true });
    await service.follow(b.url);
    expect(await service.holdsAt()).toEqual(["members/ana", "notes/blue", "notes/both", "notes/red"]);
    const live = await write("notes", { _id: "green", title: "t", ownerId: "nobody" });
    expect(await service.holdsAt(live)).toContain("notes/green");
    expect(await service.holdsAt(await erase("notes", "green"))).not.toContain("notes/green");
    const pushed = {
      collection: "notes",
      id: "made",
      create: { title: "t", owner_id: "sync-job", team_id: "blue" },
    };
    expect(await service.holdsAt(applied(await service.push(pushed)))).toContain("notes/made");
    service.claim({});
    await write("notes", { _id: "blue", title: "unseen", teamId: "blue" });
    await service.follow(a.url);
    expect(await service.holdsAt(await now())).toEqual(["notes/made"]);
    expect(service.received.includes("unseen")).toBe(false);
    expect(
      (await service.push({ collection: "notes", id: "blue", update: { title: "x" } })).recordAbsent,
    ).toBe(true);
    service.claim({ tidemark_service: "true" });
    expect(await (await service.follow(a.url)).holdsAt(await now())).toEqual(["notes/made"]);
    await service[Symbol.asyncDispose]();
  });

  it.each(["x:red", "a/b", "100%", "%3A", " ", "😀\u202e", "team:red"])(
    "the principal %j → its own records and its team's by membership, no others'",
    async (who) => {
      const phone = await new Phone(who).follow(b.url);
      expect(await phone.holdsAt()).toEqual([]);
      await write("notes", { _id: "own", title: "t", ownerId: who });
      await write("notes", { _id: "odd", title: "t", teamId: who });
      expect(await phone.holdsAt(await now())).toEqual(["notes/own"]);
      await write("members", { _id: "odd", userId: who, teamId: who, access: "READ" });
      expect(await phone.holdsAt(await now())).toEqual(["members/odd", "notes/odd", "notes/own"]);
      await phone[Symbol.asyncDispose]();
    },
  );
});

function asRow({ user_id, team_id, access }: ReturnType<typeof joins>): Omit<Row, "_id"> {
  return { userId: user_id, teamId: team_id, access: access.replace("ACCESS_", "") };
}
