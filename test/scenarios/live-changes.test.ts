// What each kind of write by a plain MongoDB client becomes at a client that follows.
import { fromBinary } from "@bufbuild/protobuf";
import type { ClientSession, Collection, Timestamp } from "mongodb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Todo, TodoSchema } from "#gen/demo/v1/todo_pb.js";
import { type Change, RemoveReason } from "#gen/tidemark/v1/change_pb.js";
import { Outcome } from "#gen/tidemark/v1/receipt_pb.js";
import type { Tidemark } from "../../src/main.ts";
import { Follower } from "../support/follower.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { asPrincipal, startServer, syncClient } from "../support/server.ts";

interface TodoDocument {
  _id: string;
  ownerId: string;
  title?: string;
  notes?: string;
  done?: boolean;
  votes?: number;
  internal?: string;
}

type Write = (todos: Collection<TodoDocument>, session: ClientSession) => Promise<unknown>;

interface Scenario {
  readonly what: string;
  readonly write: Write;
  readonly arrives: readonly Seen[];
}

/** A change as the scenarios write it: the fields of the put that aren't at their default, `id` aside. */
type Seen =
  | { readonly put: string; readonly fields: Partial<Todo> }
  | { readonly delta: string; readonly changed: readonly number[]; readonly fields: Partial<Todo> }
  | { readonly remove: string; readonly reason: RemoveReason };

const TITLE = 2;
const NOTES = 3;
const DONE = 4;
const VOTES = 8;

const scenarios: readonly Scenario[] = [
  {
    what: "an insert → a whole put",
    write: (todos, session) =>
      todos.insertOne({ _id: "a", ownerId: "ana", title: "One", notes: "n" }, { session }),
    arrives: [{ put: "a", fields: { title: "One", notes: "n", ownerId: "ana" } }],
  },
  {
    what: "an update of one field → a delta of that field",
    write: (todos, session) => todos.updateOne({ _id: "a" }, { $set: { done: true } }, { session }),
    arrives: [{ delta: "a", changed: [DONE], fields: { done: true } }],
  },
  {
    what: "a transaction over two todos → two changes under one checkpoint",
    write: (todos, session) =>
      session.withTransaction(async () => {
        await todos.insertOne({ _id: "b", ownerId: "ana", title: "Two" }, { session });
        await todos.updateOne({ _id: "a" }, { $set: { votes: 2 } }, { session });
      }),
    arrives: [
      { put: "b", fields: { title: "Two", ownerId: "ana" } },
      { delta: "a", changed: [VOTES], fields: { votes: 2 } },
    ],
  },
  {
    what: "an update of an undeclared field → nothing",
    write: (todos, session) => todos.updateOne({ _id: "a" }, { $set: { internal: "x" } }, { session }),
    arrives: [],
  },
  {
    what: "a $unset → a delta without the field",
    write: (todos, session) => todos.updateOne({ _id: "a" }, { $unset: { notes: "" } }, { session }),
    arrives: [{ delta: "a", changed: [NOTES], fields: {} }],
  },
  {
    what: "a replace → a delta of what differs",
    write: (todos, session) =>
      todos.replaceOne({ _id: "a" }, { ownerId: "ana", title: "Uno", votes: 2 }, { session }),
    arrives: [{ delta: "a", changed: [TITLE, DONE], fields: { title: "Uno" } }],
  },
  {
    what: "a change of owner → a remove",
    write: (todos, session) => todos.updateOne({ _id: "b" }, { $set: { ownerId: "ben" } }, { session }),
    arrives: [{ remove: "b", reason: RemoveReason.LEFT_SCOPE }],
  },
  {
    what: "a delete → a remove",
    write: (todos, session) => todos.deleteOne({ _id: "a" }, { session }),
    arrives: [{ remove: "a", reason: RemoveReason.DELETED }],
  },
];

describe("live: a write by a plain MongoDB client", () => {
  let database: TestDatabase;
  let server: Tidemark;
  let follower: Follower;

  beforeAll(async () => {
    database = await testDatabase();
    server = await startServer(database);
    follower = new Follower(server.url, "ana", { selections: [{ collection: "todos" }] });
    await follower.checkpoint();
  });

  afterAll(async () => {
    await follower[Symbol.asyncDispose]();
    await server.close();
    await database.drop();
  });

  it.each(scenarios)("$what", async ({ write, arrives }) => {
    const time = await timeOf(database, write);
    const { changes } = await follower.checkpoint(time);
    expect(changes.map(seen)).toEqual(arrives);
  });

  it("a push by another device of the same principal → the same road", async () => {
    const { receipts } = await syncClient(server.url).pushMutations(
      {
        mutations: [
          {
            mutationId: "5f0c2b1e-8a64-4f5d-9f5b-6a1f3c3b0c11",
            collection: "todos",
            recordId: "pushed",
            kind: {
              case: "create",
              value: { record: { form: { case: "json", value: { title: "Hello", ownerId: "ana" } } } },
            },
          },
        ],
      },
      { headers: asPrincipal("ana") },
    );
    expect(receipts.map((receipt) => receipt.outcome)).toEqual([Outcome.APPLIED]);
    const changes: Change[] = [];
    for (;;) {
      const { changes: more, checkpoint } = await follower.checkpoint();
      changes.push(...more);
      // P4: not later than the first checkpoint whose commit clock reaches the receipt's.
      if (checkpoint.commitClock >= (receipts[0]?.commitClock ?? 0n)) break;
    }
    expect(changes.map(seen)).toEqual([
      { put: "pushed", fields: { title: "Hello", ownerId: "ana", createdAt: expect.anything() } },
    ]);
  });
});

async function timeOf(database: TestDatabase, write: Write): Promise<Timestamp> {
  const session = database.client.startSession();
  try {
    await write(database.source.collection<TodoDocument>("todos"), session);
    if (!session.operationTime) throw new Error("the write has no operation time");
    return session.operationTime;
  } finally {
    await session.endSession();
  }
}

function seen({ recordId, kind }: Change): Seen {
  if (kind.case === "remove") return { remove: recordId, reason: kind.value.reason };
  const form = kind.value?.record?.form;
  if (form?.case !== "proto") throw new Error("a put holds a record in PROTO form");
  const { $typeName, id, ...fields } = fromBinary(TodoSchema, form.value);
  const set = Object.entries(fields).filter(([, value]) => value && (!Array.isArray(value) || value.length));
  const changed = kind.value?.changed ?? [];
  if (changed.length) return { delta: recordId, changed: [...changed], fields: Object.fromEntries(set) };
  expect(id).toBe(recordId);
  return { put: recordId, fields: Object.fromEntries(set) };
}
