// Clients that stopped reading and never hang up must not keep a server from ending.
import { afterAll, beforeAll, expect, it } from "vitest";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { asPrincipal, startServer, syncClient } from "../support/server.ts";

const CLIENTS = 5;
const DRAIN_SECONDS = 2;

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
  const todos = Array.from({ length: 500 }, (_, n) => ({
    ownerId: "ana",
    title: `${n}`,
    notes: "n".repeat(9000),
  }));
  const documents = todos.map((todo, n) => ({ _id: `t${n}`, ...todo }));
  await database.source.collection<{ _id: string }>("todos").insertMany(documents);
});

afterAll(() => database.drop());

it("close: clients that stopped reading → cut when the drain time is over", async () => {
  const server = await startServer(database, { DRAIN_SECONDS: String(DRAIN_SECONDS) });
  const streams = Array.from({ length: CLIENTS }, () => {
    const frames = syncClient(server.url).pullChanges({}, { headers: asPrincipal("ana") });
    return frames[Symbol.asyncIterator]();
  });
  // One frame each, then no more: what follows fills the streams' windows.
  await Promise.all(streams.map((stream) => stream.next()));
  const startedMs = performance.now();
  await server.close();
  expect(performance.now() - startedMs).toBeLessThan((DRAIN_SECONDS + 5) * 1000);
});
