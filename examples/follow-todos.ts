// A whole client in one file: pulls ana's todos as a stream, pushes one, and sees it arrive.
// Run it beside `npm start`: npx node examples/follow-todos.ts
import { randomUUID } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { TodoSchema } from "../gen/ts/demo/v1/todo_pb.js";
import { Outcome } from "../gen/ts/tidemark/v1/receipt_pb.js";
import { SyncService } from "../gen/ts/tidemark/v1/sync_service_pb.js";

const transport = createGrpcTransport({ baseUrl: process.argv[2] ?? "http://localhost:8080" });
const client = createClient(SyncService, transport);
const headers = { authorization: "Bearer dev-ana", "tidemark-client": "example/1.0.0" };
const recordId = randomUUID();
const leaving = new AbortController();
let pushed = false;

// `wholeRecords` spares a small client the merging of deltas.
const frames = client.pullChanges(
  { selections: [{ collection: "todos" }], options: { wholeRecords: true } },
  { headers, signal: leaving.signal },
);

try {
  for await (const { frame } of frames) {
    if (frame.case === "checkpoint") await pushOnce();
    if (frame.case !== "batch") continue;
    for (const { recordId: id, kind } of frame.value.changes) {
      if (kind.case === "remove") console.log(`- ${id}`);
      if (kind.case !== "put" || kind.value.record?.form.case !== "proto") continue;
      const todo = fromBinary(TodoSchema, kind.value.record.form.value);
      console.log(`+ ${id}  ${todo.title}${todo.done ? " (done)" : ""}`);
      // Our own edit came back from the database: that is all there is to show.
      if (id === recordId) leaving.abort();
    }
  }
} catch (error) {
  if (!leaving.signal.aborted) throw error;
}

async function pushOnce(): Promise<void> {
  if (pushed) return;
  pushed = true;
  const todo = create(TodoSchema, { title: "Watch the tide", tags: ["sea"], ownerId: "ana" });
  const record = { form: { case: "proto" as const, value: toBinary(TodoSchema, todo) } };
  const mutation = { mutationId: randomUUID(), collection: "todos", recordId };
  const { receipts } = await client.pushMutations(
    { mutations: [{ ...mutation, kind: { case: "create", value: { record } } }] },
    { headers },
  );
  console.log(`receipt: ${Outcome[receipts[0]?.outcome ?? Outcome.UNSPECIFIED]}`);
}
