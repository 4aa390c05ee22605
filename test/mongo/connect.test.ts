import { expect, test } from "vitest";
import { testDatabase } from "../support/mongo.ts";

test("connect: a snapshot session reads although the client's read concern is majority", async () => {
  const { client, source, drop } = await testDatabase();
  await source.collection("todos").insertOne({ title: "a" });
  const session = client.startSession({ snapshot: true });
  expect(await source.collection("todos").find({}, { session }).toArray()).toHaveLength(1);
  await session.endSession();
  await drop();
});
