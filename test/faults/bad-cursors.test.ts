// Cursors and selections nobody was given, over a real socket: each is answered by a Reset or named as unavailable; no
// record of another principal comes with it.
import type { Document } from "mongodb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Tidemark } from "../../src/main.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { startServer } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";
import { callJson } from "./call-server.ts";

let database: TestDatabase;
let server: Tidemark;

beforeAll(async () => {
  database = await testDatabase();
  const todos = database.source.collection<Document>("todos");
  await todos.insertOne({ _id: "ana's", title: "mine", ownerId: "ana" } as Document);
  server = await startServer(database);
  await waitFor(() => server.status().isSettled);
});

afterAll(async () => {
  await server.close();
  await database.drop();
});

interface CursorJson {
  readonly subscription: string;
  readonly position: string;
  readonly checkpoint: string;
}

/** The first frame of a page from this cursor. */
async function firstFrame(cursor: object, principal = "ana"): Promise<Document> {
  const headers = { authorization: `Bearer dev-${principal}` };
  const { text } = await callJson(server.url, "ListChanges", { cursor }, headers);
  return JSON.parse(text).frames[0];
}

describe("cursors", () => {
  const RESET = { reset: { reason: "RESET_REASON_CURSOR" } };
  const MAX = "9223372036854775807";
  let cursor: CursorJson;

  beforeAll(async () => {
    cursor = JSON.parse((await callJson(server.url, "ListChanges", {})).text).cursor;
    expect(await firstFrame(cursor)).toHaveProperty("opened");
  });

  const wrong: Readonly<Record<string, (cursor: CursorJson) => Partial<CursorJson>>> = {
    "no subscription": () => ({ subscription: "" }),
    "not base64": () => ({ subscription: "\u{1f30a}\u0000 '\"" }),
    "cut short": ({ subscription }) => ({ subscription: subscription.slice(0, -1) }),
    "only its head": ({ subscription }) => ({ subscription: subscription.slice(0, 20) }),
    "with more at its end": ({ subscription }) => ({ subscription: `${subscription}AAAA` }),
    "a position nobody gave": () => ({ position: "1000000" }),
    "the last position there is": () => ({ position: MAX, checkpoint: MAX }),
    "a checkpoint nobody gave": () => ({ checkpoint: "1000000" }),
  };

  it.each(Object.entries(wrong))("%s → Reset", async (_, spoil) => {
    expect(await firstFrame({ ...cursor, ...spoil(cursor) })).toEqual(RESET);
  });

  it("somebody else's → Reset", async () => {
    expect(await firstFrame(cursor, "ben")).toEqual(RESET);
  });

  it("any bit flipped → Reset", async () => {
    const bytes = Buffer.from(cursor.subscription, "base64url");
    const flips = Array.from({ length: bytes.length }, (_, at) => at * 8 + (at % 8));
    const frames = flips.map((bit) => {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      return firstFrame({ ...cursor, subscription: flipped.toString("base64url") });
    });
    const resets = (await Promise.all(frames)).map((frame) => Object.keys(frame));
    expect(resets).toEqual(flips.map(() => ["reset"]));
  });

  it("of another log → Reset for the whole log", async () => {
    const other = { ...database, tidemarkDb: `${database.tidemarkDb}-2` };
    const beside = await startServer(other);
    await waitFor(() => beside.status().isSettled);
    const { text } = await callJson(beside.url, "ListChanges", { cursor });
    expect(JSON.parse(text).frames[0]).toEqual({ reset: { reason: "RESET_REASON_EPOCH" } });
    await beside.close();
    await database.client.db(other.tidemarkDb).dropDatabase();
  });
});

it("collections nobody knows, or may see → told as unavailable, the rest flows", async () => {
  const names = ["todos", "nope", "a/b", "__proto__", "\u0000", "todos"];
  const selections = names.map((collection) => ({ collection }));
  const known = JSON.parse((await callJson(server.url, "ListChanges", { selections })).text).frames;
  const unknown = names.slice(1, 5).map((collection) => ({
    collection,
    reason: "UNAVAILABLE_REASON_UNKNOWN_COLLECTION",
  }));
  expect(known[0].opened.unavailable).toEqual(unknown);
  expect(known[1].batch.changes).toHaveLength(1);
  const anonymous = { authorization: "" };
  const { text } = await callJson(
    server.url,
    "ListChanges",
    { selections: [{ collection: "todos" }] },
    anonymous,
  );
  expect(JSON.parse(text).frames[0].opened.unavailable).toEqual([
    { collection: "todos", reason: "UNAVAILABLE_REASON_FORBIDDEN" },
  ]);
  expect(text).not.toContain("ana's");
});
