// The server killed at random points of its load: nothing is lost or doubled.
import { afterAll, beforeAll, it } from "vitest";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { seedOf } from "../support/random.ts";
import { killRepeatedly } from "./kill-repeatedly.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

// Not dropped: what a killed server left open would hold the drop up for a minute. The run takes its mongod away.
afterAll(() => database.client.close());

it.each([1].map(seedOf))(
  "killed in its load → nothing lost or doubled, seed %s",
  (seed) => killRepeatedly({ database, seed, todos: 12_000, kills: 15, headsMax: 1_200, writes: false }),
  400_000,
);
