// Records near and beyond every limit of size: each form carries what it can and says what it leaves out, nobody
// else's stream breaks, and what shrinks comes back.
import type { Document } from "mongodb";
import { afterAll, beforeAll, expect, it } from "vitest";
import { PullMode } from "#gen/tidemark/v1/pull_changes_pb.js";
import type { Tidemark } from "../../src/main.ts";
import { JsonClient } from "../support/json-client.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { PullClient } from "../support/pull-client.ts";
import { asPrincipal, startServer, syncClient } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";

const MIB = 2 ** 20;
const small = { ownerId: "ana", title: "t", notes: "small" };
const ofBytes = (notesBytes: number) => ({ ...small, notes: "n".repeat(notesBytes) });

let database: TestDatabase;
let server: Tidemark;

beforeAll(async () => {
  database = await testDatabase();
  server = await startServer(database);
});

afterAll(async () => {
  await server.close();
  await database.drop();
});

const todos = () => database.source.collection<Document>("todos");

it("a record over 3 MiB in JSON form → left out by name, whole again once it shrinks; PROTO form carries it", async () => {
  const client = new JsonClient(server.url, "todos");
  await todos().insertOne({ _id: "grows", ...small } as Document);
  await waitFor(() => client.records.get("grows")?.["notes"] === "small");
  await todos().replaceOne({ _id: "grows" } as Document, ofBytes(3.1 * MIB));
  await waitFor(() => client.tooLarge.has("grows"));
  await todos().insertOne({ _id: "other", ...small } as Document);
  await waitFor(() => client.records.has("other"));
  expect(client.records.has("grows")).toBe(false);

  const late = new JsonClient(server.url, "todos");
  await waitFor(() => late.tooLarge.has("grows") && late.records.has("other") && late.clock > 0n);

  const proto = await caughtUp();
  expect(proto.records.get("todos/grows")?.bytes.length).toBeGreaterThan(3.1 * MIB);

  await todos().updateOne({ _id: "grows" } as Document, { $set: { notes: "shrunk" } });
  for (const each of [client, late]) {
    await Promise.race([
      each.following,
      waitFor(() => each.records.get("grows")?.["notes"] === "shrunk", { what: "the shrunk record" }),
    ]);
    expect(each.records.get("grows")).toEqual({ id: "grows", ...small, notes: "shrunk" });
    await each.close();
  }
});

async function caughtUp(): Promise<PullClient> {
  const client = new PullClient();
  const request = { mode: PullMode.CATCH_UP, selections: [{ collection: "todos" }] };
  for await (const frame of syncClient(server.url).pullChanges(request, { headers: asPrincipal("ana") }))
    client.apply(frame);
  return client;
}

it("documents up to MongoDB's 16 MiB → records up to 15 MB, quarantined beyond; all others flow", async () => {
  const sizes = { m14: 14.9e6, m15: 15_000_001, m16: 16 * MIB - 77 - 10 };
  for (const [_id, bytes] of Object.entries(sizes)) {
    const beside = Buffer.byteLength(JSON.stringify(small));
    await todos().insertOne({ _id, ...ofBytes(Math.min(bytes, 16 * MIB - beside - 40)) } as Document);
  }
  await todos().insertOne({ _id: "undeclared", ...small, blob: "n".repeat(15.9e6) } as Document);
  const after = async () => (await caughtUp()).records;
  await waitFor(async () => (await after()).has("todos/undeclared"));
  const records = await after();
  expect(records.get("todos/m14")?.bytes.length).toBeGreaterThan(14.9e6);
  expect(["m15", "m16"].filter((id) => records.has(`todos/${id}`))).toEqual([]);
  const quarantine = database.client.db(database.tidemarkDb).collection("quarantine");
  expect((await quarantine.find().toArray()).map(({ reason }) => reason)).toEqual([
    "the record is over 15000000 bytes",
    "the record is over 15000000 bytes",
  ]);
  await todos().updateMany({ _id: { $in: ["m14", "m15", "m16", "undeclared"] } } as Document, {
    $set: { notes: "healed" },
    $unset: { blob: "" },
  });
  await waitFor(async () => (await quarantine.countDocuments()) === 0);
});
