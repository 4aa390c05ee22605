// What connectMongo accepts, what it refuses and in which words.
import { createServer } from "node:net";
import { expect, inject, onTestFinished, test } from "vitest";
import { SyncError } from "../../src/model/sync-error.ts";
import { connectMongo } from "../../src/mongo/connect.ts";
import { startOwnMongod } from "../support/own-mongod.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { waitFor } from "../support/wait-for.ts";

const uri = inject("mongodbUri");

test("connect: weak concerns in the connection string → majority writes to the primary all the same", async () => {
  const client = await connectMongo(
    `${uri}&readConcernLevel=local&w=1&readPreference=secondaryPreferred&retryWrites=false`,
  );
  onTestFinished(() => client.close());
  expect(client.writeConcern?.w).toBe("majority");
  expect(client.readConcern).toBeUndefined();
  expect(client.readPreference.mode).toBe("primary");
  expect(client.options.retryWrites).toBe(true);
  expect(client.options.replicaSet).toBe("tidemark");
});

test("connect: the read concern stands first in the connection string → the options after it still count", async () => {
  const client = await connectMongo(uri.replace("?", "?readConcernLevel=available&"));
  onTestFinished(() => client.close());
  expect(client.options.replicaSet).toBe("tidemark");
});

test("connect: nobody listens → DATABASE_UNAVAILABLE after the time given", async () => {
  const error = await connectMongo("mongodb://127.0.0.1:1/", { serverSelectionTimeoutMs: 200 }).catch(
    (e) => e,
  );
  expect(error).toBeInstanceOf(SyncError);
  expect(error).toMatchObject({
    reason: "DATABASE_UNAVAILABLE",
    message: expect.stringContaining("MONGODB_URI"),
  });
});

test("connect: the set has another name → DATABASE_UNAVAILABLE", async () => {
  const other = uri.replace("replicaSet=tidemark", "replicaSet=other");
  const connecting = connectMongo(other, { serverSelectionTimeoutMs: 200 });
  await expect(connecting).rejects.toMatchObject({ reason: "DATABASE_UNAVAILABLE" });
});

test("connect: not a connection string → an Error that says so, without the password", async () => {
  const error: unknown = await connectMongo("mongodb://user:geheim@127.0.0.1/?nonsense=1").catch((e) => e);
  expect(error).toBeInstanceOf(Error);
  expect(error).not.toBeInstanceOf(SyncError);
  expect(String(error)).toMatch(/MONGODB_URI is not a usable connection string: .*nonsense/);
  expect(String(error)).not.toContain("geheim");
});

test("connect: the password is wrong → an Error that says so", async () => {
  const connecting = connectMongo(uri.replace("//", "//user:geheim@"));
  await expect(connecting).rejects.toThrow("MongoDB refused the user or password in MONGODB_URI");
});

test("connect: a standalone server → an Error that tells how to make it a replica set", async () => {
  const mongod = await startOwnMongod(await temporaryFolder(), { standalone: true });
  onTestFinished(() => mongod.close());
  await expect(connectMongo(mongod.uri)).rejects.toThrow("start it with --replSet");
});

test("connect: aborted before → the signal's reason", async () => {
  const reason = new Error("stopped");
  await expect(connectMongo(uri, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});

test("connect: aborted while a server that accepts never answers → the signal's reason at once", async () => {
  let accepted = 0;
  const silent = createServer((socket) => {
    accepted += 1;
    onTestFinished(() => void socket.destroy());
  });
  onTestFinished(() => void silent.close());
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const address = silent.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const abort = new AbortController();
  const connecting = connectMongo(`mongodb://127.0.0.1:${port}/`, { signal: abort.signal });
  await waitFor(() => accepted > 0);
  const reason = new Error("stopped");
  abort.abort(reason);
  await expect(connecting).rejects.toBe(reason);
});
