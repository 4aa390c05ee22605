// The checker of P2 and P3: a client's todos against the source at a commit clock.
import { equals, fromBinary } from "@bufbuild/protobuf";
import { Timestamp } from "mongodb";
import { expect } from "vitest";
import { TodoSchema } from "#gen/demo/v1/todo_pb.js";
import { loadDescriptorSet } from "../../src/generate/load-descriptor-set.ts";
import { clusterTimeOf } from "../../src/model/commit-clock.ts";
import { snapshotSession } from "../../src/mongo/snapshot.ts";
import { sourceReadOptions } from "../../src/schema/bson-value.ts";
import type { Collection } from "../../src/schema/collection.ts";
import { type EncodedRecord, encodeDocument } from "../../src/schema/encode-document.ts";
import { readSchema } from "../../src/schema/schema.ts";
import type { TestDatabase } from "./mongo.ts";
import type { PullClient } from "./pull-client.ts";
import { DEMO_SCHEMA } from "./server.ts";

export async function demoTodos(): Promise<Collection> {
  const todos = readSchema(await loadDescriptorSet(DEMO_SCHEMA)).collections.get("todos");
  if (!todos) throw new Error("the demo has todos");
  return todos;
}

export interface Audience {
  readonly database: TestDatabase;
  readonly todos: Collection;
  readonly principal: string;
}

/** What the principal may see of the source at a commit clock; the collection must have existed by then. */
async function sourceTodos(
  clock: bigint,
  { database, todos, principal }: Audience,
): Promise<EncodedRecord[]> {
  const session = snapshotSession(database.client, new Timestamp(clusterTimeOf(clock)));
  try {
    const found = database.source.collection("todos").find({}, { session, ...sourceReadOptions });
    const records = (await found.toArray()).map((document) => encodeDocument(todos, document));
    return records.filter(({ scopes }) => scopes.includes(`user:${principal}`));
  } finally {
    await session.endSession();
  }
}

/** @throws an assertion's error that names the first record that differs. */
export async function expectEqualsSource(
  client: PullClient,
  clock: bigint,
  audience: Audience,
): Promise<void> {
  const want = await sourceTodos(clock, audience);
  const held = [...client.records.keys()].filter((key) => key.startsWith("todos/"));
  expect(held.sort()).toEqual(want.map(({ recordId }) => `todos/${recordId}`).sort());
  for (const { recordId, bytes } of want) {
    const record = client.records.get(`todos/${recordId}`);
    const same =
      record && equals(TodoSchema, fromBinary(TodoSchema, record.bytes), fromBinary(TodoSchema, bytes));
    expect(same, `todos/${recordId} at ${clock}`).toBe(true);
  }
}
