// What a real server writes down of what it denies: the same lines, whoever denies: the gate, a push, a pull.
import { randomUUID } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { keptLog } from "../support/log-lines.ts";
import { testDatabase } from "../support/mongo.ts";
import { asPrincipal, startServer, syncClient } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";

test("audit: a foreign record, a read-only collection, a foreign pull, a bad token → their lines, nothing of their content", async () => {
  const database = await testDatabase();
  onTestFinished(() => database.drop());
  const log = keptLog();
  const server = await startServer(database, {}, log.logger);
  onTestFinished(() => server.close());
  await waitFor(() => server.status().isSettled);
  const sync = syncClient(server.url);
  const headers = { ...asPrincipal("eve"), "tidemark-client": "web/1.0; device=d1" };
  const create = (collection: string, recordId: string, value: object) => ({
    mutationId: randomUUID(),
    collection,
    recordId,
    kind: {
      case: "create" as const,
      value: { record: { form: { case: "json" as const, value: { ...value } } } },
    },
  });
  const { receipts } = await sync.pushMutations(
    {
      mutations: [
        create("todos", "t1", { title: "a value", ownerId: "ana" }),
        create("todos", "t2", { title: "a value", ownerId: "eve" }),
        create("cities", "c1", { name: "a value" }),
      ],
    },
    { headers },
  );
  expect(receipts.map(({ rejection }) => rejection?.reason !== undefined)).toEqual([true, false, true]);
  // Nobody: the todos aren't theirs to see.
  await sync.listChanges({ selections: [{ collection: "todos" }] });
  await expect(sync.listChanges({}, { headers: { authorization: "Bearer a.value.x" } })).rejects.toThrow();
  const denied = {
    audit: "denied",
    reason: "FORBIDDEN",
    principal: "eve",
    device: "d1",
    address: "127.0.0.1",
    procedure: "/tidemark.v1.SyncService/PushMutations",
  };
  const nobody = { principal: "", device: "", procedure: "/tidemark.v1.SyncService/ListChanges" };
  const lines = log.lines.filter(({ fields }) => "audit" in fields).map(({ fields }) => fields);
  expect(lines).toEqual([
    { ...denied, collection: "todos", recordId: "t1" },
    { ...denied, collection: "cities", recordId: "c1" },
    { ...denied, ...nobody, collection: "todos" },
    { ...denied, ...nobody, reason: "TOKEN_INVALID", fault: "unknown_key" },
  ]);
  expect(JSON.stringify(lines)).not.toContain("value");
});
