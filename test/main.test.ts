// The whole server on a real deployment: what a plain MongoDB client writes arrives over gRPC, what a client pushes
// becomes a document, two nodes share a deployment, and everything ends when it is told to.

import { once } from "node:events";
import { createServer } from "node:net";
import { fromBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { expect, onTestFinished, test } from "vitest";
import { type Todo, TodoSchema } from "#gen/demo/v1/todo_pb.js";
import { ClosedReason } from "#gen/tidemark/v1/frame_pb.js";
import { type PullChangesResponse, PullMode } from "#gen/tidemark/v1/pull_changes_pb.js";
import { Outcome } from "#gen/tidemark/v1/receipt_pb.js";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import { type Environment, readConfig } from "../src/config.ts";
import { realClock, startTidemark, type Tidemark } from "../src/main.ts";
import { silentLogger } from "../src/model/logger.ts";
import { folderOf } from "./support/folder-of.ts";
import { type TestDatabase, testDatabase } from "./support/mongo.ts";
import { waitFor } from "./support/wait-for.ts";

interface TodoDocument {
  readonly _id: string;
  readonly title: string;
  readonly ownerId: string;
}

const asAna = { headers: { authorization: "Bearer dev-ana" } };

async function database(): Promise<TestDatabase> {
  const made = await testDatabase();
  onTestFinished(() => made.drop());
  return made;
}

function configOf({ uri, sourceDb, tidemarkDb }: TestDatabase, env: Environment = {}) {
  return readConfig({
    TIDEMARK_DEV: "1",
    PORT: "0",
    MONGODB_URI: uri,
    MONGODB_DB: sourceDb,
    TIDEMARK_DB: tidemarkDb,
    ...env,
  });
}

async function start(on: TestDatabase, env: Environment = {}): Promise<Tidemark> {
  const tidemark = await startTidemark(configOf(on, env), { logger: silentLogger });
  onTestFinished(() => tidemark.close());
  return tidemark;
}

function grpc(url: string) {
  return createClient(SyncService, createGrpcTransport({ baseUrl: url }));
}

type Frame = PullChangesResponse["frame"];
type Kind = NonNullable<Frame["case"]>;
type Kinds = { [C in Kind]: Extract<Frame, { case: C }>["value"] };

class Stream {
  readonly #frames: AsyncIterator<PullChangesResponse>;

  constructor(url: string) {
    const gone = new AbortController();
    onTestFinished(() => gone.abort());
    const stream = grpc(url).pullChanges(
      { selections: [{ collection: "todos" }] },
      { ...asAna, signal: gone.signal },
    );
    this.#frames = stream[Symbol.asyncIterator]();
  }

  async next(): Promise<Frame> {
    const { value, done } = await this.#frames.next();
    if (done) throw new Error("the stream has ended");
    const { frame }: PullChangesResponse = value;
    return frame;
  }

  /** Frames up to the first of this kind. */
  async until<C extends Kind>(kind: C): Promise<Kinds[C]> {
    for (;;) {
      const frame = await this.next();
      if (frame.case === kind) return frame.value as Kinds[C];
    }
  }

  /** The next batch that has changes. */
  async changes() {
    for (;;) {
      const { changes } = await this.until("batch");
      if (changes.length > 0) return changes;
    }
  }
}

function todoOf(change: Awaited<ReturnType<Stream["changes"]>>[number] | undefined): Todo {
  const { kind } = change ?? {};
  if (kind?.case !== "put" || kind.value.record?.form.case !== "proto") throw new Error("no put of a record");
  return fromBinary(TodoSchema, kind.value.record.form.value);
}

test("main: a write by a plain MongoDB client → on an open stream; a push → a document and on the stream", async () => {
  const db = await database();
  const { url } = await start(db);
  const stream = new Stream(url);
  expect((await stream.next()).case).toBe("opened");
  await stream.until("checkpoint");

  const todos = db.source.collection<TodoDocument>("todos");
  await todos.insertOne({ _id: "milk", title: "Buy milk", ownerId: "ana" });
  const [inserted] = await stream.changes();
  expect(todoOf(inserted)).toMatchObject({ id: "milk", title: "Buy milk", ownerId: "ana" });

  const record = { form: { case: "json" as const, value: { title: "Call Bo", ownerId: "ana", votes: 2 } } };
  const web = createClient(SyncService, createConnectTransport({ baseUrl: url, httpVersion: "1.1" }));
  const { receipts, commitClock } = await web.pushMutations(
    {
      mutations: [
        {
          mutationId: "0b0e2d3c-8d56-4c3e-9d4b-4a9b1c8a7f01",
          collection: "todos",
          recordId: "bo",
          kind: { case: "create", value: { record } },
        },
      ],
    },
    asAna,
  );
  expect(receipts).toMatchObject([{ outcome: Outcome.APPLIED, recordId: "bo", commitClock }]);
  expect(await todos.findOne({ _id: "bo" })).toMatchObject({ title: "Call Bo", ownerId: "ana", votes: 2 });
  const [pushed] = await stream.changes();
  expect(todoOf(pushed)).toMatchObject({ id: "bo", title: "Call Bo", votes: 2 });
  expect((await stream.until("checkpoint")).commitClock).toBeGreaterThanOrEqual(commitClock);
});

test("main: what was there before → loaded; readiness and status say so", async () => {
  const db = await database();
  const documents = Array.from({ length: 50 }, (_, i) => ({ title: `todo ${i}`, ownerId: "ana" }));
  await db.source
    .collection<TodoDocument>("todos")
    .insertMany(documents.map((each, i) => ({ ...each, _id: `t${i}` })));
  const tidemark = await start(db);
  expect(await (await fetch(`${tidemark.url}/readyz`)).json()).toEqual({
    ready: true,
    state: "serving",
    waitingFor: [],
  });
  await waitFor(() => tidemark.status().isSettled);
  expect(tidemark.status().load).toBeUndefined();
  expect(await tidemark.countEntries()).toBe(50);
  const frames: Frame[] = [];
  const request = { mode: PullMode.CATCH_UP, selections: [{ collection: "todos" }] };
  for await (const { frame } of grpc(tidemark.url).pullChanges(request, asAna)) frames.push(frame);
  expect(frames.flatMap((f) => (f.case === "batch" ? f.value.changes : []))).toHaveLength(50);
  expect(frames.at(-2)?.case).toBe("checkpoint");
  expect(frames.at(-1)?.value).toMatchObject({ reason: ClosedReason.CAUGHT_UP });
});

test("main: two nodes on one deployment → a push to one arrives on the other, also when the first goes", async () => {
  const db = await database();
  const first = await start(db);
  const second = await start(db);
  const stream = new Stream(second.url);
  await stream.until("checkpoint");
  await db.source.collection<TodoDocument>("todos").insertOne({ _id: "a", title: "one", ownerId: "ana" });
  expect(todoOf((await stream.changes())[0]).title).toBe("one");
  await first.close();
  await db.source.collection<TodoDocument>("todos").updateOne({ _id: "a" }, { $set: { title: "two" } });
  const [change] = await stream.changes();
  expect(todoOf(change).title).toBe("two");
});

test("main: close → streams end with RECONNECT, the port is free, nothing is left open", async () => {
  const db = await database();
  const tidemark = await start(db);
  const stream = new Stream(tidemark.url);
  await stream.until("checkpoint");
  const closing = tidemark.close();
  expect(await stream.until("closed")).toMatchObject({ reason: ClosedReason.RECONNECT });
  await closing;
  await tidemark.close();
  await expect(fetch(`${tidemark.url}/healthz`)).rejects.toThrow();
});

test("main: a schema with faults → refused before the port or the database is touched", async () => {
  const db = await database();
  const files = { "acme/v1/a.proto": 'syntax = "proto3";\npackage acme.v1;\nmessage A { Missing b = 1; }\n' };
  const config = configOf(db, { TIDEMARK_SCHEMA: await folderOf(files) });
  await expect(startTidemark(config, { logger: silentLogger })).rejects.toThrow("a.proto:3:13");
  const { databases } = await db.client.db().admin().listDatabases({ nameOnly: true });
  expect(databases.map(({ name }) => name)).not.toContain(db.tidemarkDb);
});

test("main: a start broken off → rejects, listens no more, and goes no further", async () => {
  const db = await database();
  const stop = new AbortController();
  const lines: string[] = [];
  const logger = { ...silentLogger, info: (_: object, message: string) => void lines.push(message) };
  const port = await freePort();
  const starting = startTidemark(configOf(db, { PORT: String(port) }), {
    logger,
    signal: stop.signal,
    prepareSource: async () => {
      const readiness = await fetch(`http://localhost:${port}/readyz`);
      expect(await readiness.json()).toMatchObject({ ready: false, waitingFor: ["the database"] });
      stop.abort(new Error("stopped"));
    },
  });
  await expect(starting).rejects.toThrow("stopped");
  await expect(fetch(`http://localhost:${port}/healthz`)).rejects.toThrow();
  expect(lines).toEqual(["starting"]);
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

test("main: a port that is taken → rejects, and the database is left alone", async () => {
  const db = await database();
  const { url } = await start(db);
  const taken = configOf(db, { PORT: new URL(url).port, HOST: "0.0.0.0" });
  await expect(startTidemark(taken, { logger: silentLogger })).rejects.toMatchObject({ code: "EADDRINUSE" });
});

test("clock: a sleep → ends when its signal aborts, at once if it has, and forgets the signal", async () => {
  const { sleep: pause } = realClock;
  await pause(60_000, AbortSignal.abort());
  const later = new AbortController();
  const asleep = pause(60_000, later.signal);
  later.abort();
  await asleep;
  await pause(1);
  expect(Math.abs(realClock.nowMs() - Date.now())).toBeLessThan(1_000);
});
