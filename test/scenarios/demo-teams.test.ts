// The demo's teams, by its schema and its seeds: who sees what, who may write what, and that nobody can make themselves
// a member of a team.
import { randomUUID } from "node:crypto";
import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { Outcome, RejectionReason } from "#gen/tidemark/v1/receipt_pb.js";
import { demoLists, demoListTodos, demoMemberships } from "../../src/cli/demo-teams.ts";
import type { Tidemark } from "../../src/main.ts";
import { Follower } from "../support/follower.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { asPrincipal, startServer, syncClient } from "../support/server.ts";

let database: TestDatabase;
let server: Tidemark;

beforeAll(async () => {
  database = await testDatabase();
  const into = (name: string) => database.source.collection<{ _id: string }>(name);
  await into("memberships").insertMany(demoMemberships());
  await into("lists").insertMany(demoLists());
  await into("todos").insertMany(demoListTodos(new Date()));
  server = await startServer(database);
});

afterAll(async () => {
  await server.close();
  await database.drop();
});

function follow(principal: string): Follower {
  const follower = new Follower(server.url, principal);
  onTestFinished(() => follower[Symbol.asyncDispose]());
  return follower;
}

/** The ids of a collection's records that a fresh client of this person gets. */
async function seenBy(principal: string, collection: string): Promise<string[]> {
  const { changes } = await follow(principal).checkpoint();
  return changes.flatMap((change) => (change.collection === collection ? [change.recordId] : [])).sort();
}

interface Pushed {
  readonly by: string;
  readonly collection: string;
  readonly create?: JsonObject;
  readonly update?: readonly [id: string, fields: JsonObject];
}

/** What becomes of it: the outcome and, where refused, why. */
async function push({ by, collection, create, update }: Pushed): Promise<string> {
  const record = { form: { case: "json" as const, value: create ?? update?.[1] ?? {} } };
  const kind = create
    ? { case: "create" as const, value: { record } }
    : { case: "update" as const, value: { record } };
  const mutation = { mutationId: randomUUID(), collection, recordId: update?.[0] ?? randomUUID(), kind };
  const { receipts } = await syncClient(server.url).pushMutations(
    { mutations: [mutation] },
    { headers: asPrincipal(by) },
  );
  const { outcome, rejection } = receipts[0] ?? { outcome: Outcome.UNSPECIFIED, rejection: undefined };
  return rejection ? `${Outcome[outcome]} ${RejectionReason[rejection.reason]}` : Outcome[outcome];
}

describe("demo: who sees what", () => {
  const harbour = ["harbour-boat", "harbour-crossing"];

  it.each([
    ["ana", "lists", ["ana-errands", ...harbour]],
    ["ben", "lists", ["ben-reading", "garden-beds", ...harbour]],
    ["cleo", "lists", ["garden-beds", ...harbour]],
    ["dora", "lists", []],
    ["ana", "todos", ["ana-stamps", "harbour-charts", "harbour-hull", "harbour-provisions"]],
    ["dora", "todos", []],
    ["ana", "memberships", ["harbour-ana", "harbour-ben", "harbour-cleo"]],
    ["dora", "memberships", []],
  ])("%s, %s → %j", async (principal, collection, ids) => {
    expect(await seenBy(principal, collection)).toEqual(ids);
  });
});

describe("demo: memberships as other programs write them", () => {
  const dora = { userId: "dora", teamId: "harbour" };

  it.each<[string, Record<string, unknown>, boolean]>([
    ["READ", { ...dora, access: "READ" }, true],
    ["the right as a number", { ...dora, access: 2 }, true],
    ["no right", dora, false],
    ["the right UNSPECIFIED", { ...dora, access: "UNSPECIFIED" }, false],
    ["a right there is none of", { ...dora, access: "OWNER" }, false],
    ["a right in lower case", { ...dora, access: "read" }, false],
    ["a right that is a list", { ...dora, access: ["READ"] }, false],
    ["no team", { userId: "dora", access: "READ" }, false],
    ["a team with an empty name", { ...dora, teamId: "", access: "READ" }, false],
    ["a team of another case", { ...dora, teamId: "Harbour", access: "READ" }, false],
    ["people as a list", { ...dora, userId: ["dora"], access: "READ" }, false],
  ])("%s, %j → sees the team's lists: %s", async (_what, fields, sees) => {
    const memberships = database.source.collection<{ _id: string }>("memberships");
    const follower = follow("dora");
    await follower.checkpoint();
    const session = database.client.startSession();
    onTestFinished(() => session.endSession());
    await memberships.insertOne({ _id: "dora", ...fields }, { session });
    const granted = await follower.checkpoint(session.operationTime);
    await memberships.deleteOne({ _id: "dora" }, { session });
    const taken = await follower.checkpoint(session.operationTime);
    const lists = ({ changes }: typeof granted) =>
      changes.filter(({ collection }) => collection === "lists").length;
    expect([lists(granted), lists(taken)]).toEqual(sees ? [2, 2] : [0, 0]);
  });
});

describe("demo: who may write what", () => {
  const member = { userId: "dora", teamId: "harbour", access: "ACCESS_READ_WRITE" };
  const title = { title: "Look at the sky" };

  it.each<[string, string, Pushed]>([
    [
      "a stranger, a membership of their own",
      "REJECTED FORBIDDEN",
      { by: "dora", collection: "memberships", create: member },
    ],
    [
      "a member, a membership of somebody else",
      "REJECTED FORBIDDEN",
      { by: "ana", collection: "memberships", create: member },
    ],
    [
      "a member who reads, more right in their own membership",
      "REJECTED FORBIDDEN",
      { by: "cleo", collection: "memberships", update: ["harbour-cleo", { access: "ACCESS_READ_WRITE" }] },
    ],
    [
      "a member, a list of the team",
      "APPLIED",
      { by: "ben", collection: "lists", create: { name: "Crew", teamId: "harbour" } },
    ],
    [
      "a member who reads, the same",
      "REJECTED FORBIDDEN",
      { by: "cleo", collection: "lists", create: { name: "Crew", teamId: "harbour" } },
    ],
    [
      "a stranger, the same",
      "REJECTED FORBIDDEN",
      { by: "dora", collection: "lists", create: { name: "Crew", teamId: "harbour" } },
    ],
    [
      "anybody, a todo of their own on a foreign team's list",
      "REJECTED FORBIDDEN",
      { by: "ana", collection: "todos", create: { title: "x", ownerId: "ana", teamId: "garden" } },
    ],
    [
      "anybody, a list of their own",
      "APPLIED",
      { by: "dora", collection: "lists", create: { name: "Mine", ownerId: "dora" } },
    ],
    [
      "anybody, a list of somebody else's",
      "REJECTED FORBIDDEN",
      { by: "dora", collection: "lists", create: { name: "Yours", ownerId: "ana" } },
    ],
    [
      "anybody, a list of nobody",
      "REJECTED INVALID",
      { by: "dora", collection: "lists", create: { name: "Whose?" } },
    ],
    [
      "anybody, a list of a person and a team",
      "REJECTED INVALID",
      { by: "ben", collection: "lists", create: { name: "Ours", ownerId: "ben", teamId: "harbour" } },
    ],
    [
      "a member, a todo of another on a team's list",
      "APPLIED",
      { by: "ben", collection: "todos", update: ["harbour-hull", title] },
    ],
    [
      "a member who reads, the same",
      "REJECTED FORBIDDEN",
      { by: "cleo", collection: "todos", update: ["harbour-hull", title] },
    ],
    [
      "a stranger, the same: as if it weren't there",
      "CONFLICT",
      { by: "dora", collection: "todos", update: ["harbour-hull", title] },
    ],
  ])("%s → %s", async (_who, becomes, pushed) => {
    expect(await push(pushed)).toBe(becomes);
  });

  it("a member taken out of the team → writes to its records no longer, but to their own on its lists", async () => {
    const ben = follow("ben");
    await ben.checkpoint();
    const session = database.client.startSession();
    onTestFinished(() => session.endSession());
    await database.source
      .collection<{ _id: string }>("memberships")
      .deleteOne({ _id: "harbour-ben" }, { session });
    const { changes } = await ben.checkpoint(session.operationTime);
    expect(changes.map(({ recordId }) => recordId)).toContain("harbour-hull");
    expect(changes.map(({ recordId }) => recordId)).not.toContain("harbour-charts");
    expect(await push({ by: "ben", collection: "todos", update: ["harbour-hull", title] })).toBe("CONFLICT");
    expect(await push({ by: "ben", collection: "todos", update: ["harbour-charts", title] })).toBe("APPLIED");
  });
});
