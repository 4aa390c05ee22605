// The example that takes people out of teams: what it writes, and that wrong arguments write nothing.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { demoMemberships } from "../../src/cli/demo-teams.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";

const SCRIPT = join(import.meta.dirname, "../../examples/teams/membership.ts");
let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
  await memberships().insertMany(demoMemberships());
});

afterAll(() => database.drop());

function memberships() {
  return database.source.collection<{ _id: string; userId?: string; teamId?: string }>("memberships");
}

const idsOf = (userId: string) => memberships().distinct("_id", { userId });

function membership(...args: string[]): Promise<{ out: string; err: string; code: number | string }> {
  const env = { ...process.env, MONGODB_DB: database.sourceDb };
  return new Promise((resolve) => {
    execFile(process.execPath, [SCRIPT, ...args], { env }, (error, out, err) =>
      resolve({ out, err, code: error?.code ?? 0 }),
    );
  });
}

test("membership: revoke → every membership of the person in the team is gone, and no other", async () => {
  await memberships().insertOne({ _id: "by hand", userId: "ben", teamId: "harbour" });
  expect(await membership("revoke", "ben", "harbour", database.uri)).toMatchObject({
    out: "ben is out of harbour\n",
    code: 0,
  });
  expect(await idsOf("ben")).toEqual(["garden-ben"]);
  expect(await memberships().countDocuments({ teamId: "harbour" })).toBe(2);
  expect(await membership("revoke", "ben", "harbour", database.uri)).toMatchObject({
    out: "ben was not in harbour\n",
    code: 0,
  });
});

test("membership: grant, twice → the one membership the demo had", async () => {
  for (const _ of [1, 2]) {
    expect(await membership("grant", "ben", "harbour", database.uri)).toMatchObject({
      out: "ben is in harbour\n",
      code: 0,
    });
  }
  const seeded = demoMemberships().find(({ _id }) => _id === "harbour-ben");
  expect(await memberships().findOne({ _id: "harbour-ben" })).toEqual(seeded);
});

test.each([
  [[]],
  [["revoke", "ben", "harbour"]],
  [["revoke", "", "harbour", "mongodb://x"]],
  [["remove", "ben", "harbour", "mongodb://x"]],
])("membership: %j → its usage, exit code 2", async (args) => {
  const { out, err, code } = await membership(...args);
  expect({ out, code }).toEqual({ out: "", code: 2 });
  expect(err).toMatch(/^Usage: /);
});
