// The same calls over every protocol, codec and HTTP version give the same answers.
import { createClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { RemoveReason } from "#gen/tidemark/v1/change_pb.js";
import { ClosedReason } from "#gen/tidemark/v1/frame_pb.js";
import type { PullChangesResponse } from "#gen/tidemark/v1/pull_changes_pb.js";
import { Outcome, RejectionReason } from "#gen/tidemark/v1/receipt_pb.js";
import { RecordForm } from "#gen/tidemark/v1/record_pb.js";
import { ServerService } from "#gen/tidemark/v1/server_service_pb.js";
import type { Receipt } from "../../src/model/receipt.ts";
import { asAna, clientOf, frame, startEdge, transportNames, transports } from "./edge-fixture.ts";

const cursor = { subscription: "token", position: 7n, checkpoint: 5n };
const frames = [
  frame({ case: "opened", value: { cursor, head: 9n, backlog: 2n, schema: "f" } }),
  frame({
    case: "batch",
    value: {
      changes: [
        {
          collection: "todos",
          recordId: "a",
          version: 8n,
          kind: {
            case: "put",
            value: { record: { form: { case: "proto", value: new Uint8Array([10, 1, 97]) } }, changed: [1] },
          },
        },
        {
          collection: "todos",
          recordId: "b",
          version: 9n,
          kind: { case: "remove", value: { reason: RemoveReason.DELETED } },
        },
      ],
      position: 9n,
    },
  }),
  frame({ case: "checkpoint", value: { position: 9n, commitClock: 1n << 40n } }),
  frame({ case: "closed", value: { reason: ClosedReason.CAUGHT_UP } }),
];

const isJson = (transport: string) => transport.includes("JSON");

test.each(transportNames)("pull: %s → every frame, in order", async (transport) => {
  const asked: unknown[] = [];
  const { url } = await startEdge({
    pull: {
      async *pullChanges(principal, request) {
        asked.push(principal.id, request);
        yield* frames;
      },
    },
  });
  const request = { selections: [{ collection: "todos" }], cursor, maxTotalBytes: 99n };
  const got: PullChangesResponse["frame"][] = [];
  for await (const { frame } of clientOf(url, transport).pullChanges(request, asAna)) got.push(frame);
  expect(got.map((each) => each.case)).toEqual(["opened", "batch", "checkpoint", "closed"]);
  expect(got[0]?.value).toMatchObject({ cursor, head: 9n, backlog: 2n });
  expect(got[1]?.value).toMatchObject({
    position: 9n,
    changes: [
      { recordId: "a", version: 8n, kind: { value: { record: { form: { case: "proto" } }, changed: [1] } } },
      { recordId: "b", kind: { case: "remove", value: { reason: RemoveReason.DELETED } } },
    ],
  });
  expect(asked).toEqual([
    "ana",
    {
      collections: ["todos"],
      cursor: { subscription: "token", position: 7, checkpoint: 5 },
      mode: "FOLLOW",
      recordForm: isJson(transport) ? "JSON" : "PROTO",
      wholeRecords: false,
      batchBytesMax: 131_072,
      totalBytesMax: 99,
      heartbeatIntervalMs: undefined,
    },
  ]);
});

test.each(transportNames)("list: %s → the page with its cursor", async (transport) => {
  const asked: unknown[] = [];
  const { url } = await startEdge({
    pull: {
      async listChanges(_, request) {
        asked.push(request);
        return { frames: frames.slice(0, 3), cursor: { subscription: "next", position: 9, checkpoint: 9 } };
      },
    },
  });
  const request = { selections: [{ collection: "todos" }], wait: { seconds: 100n }, maxBatchBytes: 1000n };
  const page = await clientOf(url, transport).listChanges(request, asAna);
  expect(page.frames.map(({ frame }) => frame.case)).toEqual(["opened", "batch", "checkpoint"]);
  expect(page.frames[0]?.frame.value).toMatchObject({ cursor });
  expect(page.cursor).toMatchObject({ subscription: "next", position: 9n, checkpoint: 9n });
  const recordForm = isJson(transport) ? "JSON" : "PROTO";
  expect(asked).toMatchObject([{ recordForm, waitMs: 60_000, batchBytesMax: 1000 }]);
});

const receipts: Receipt[] = [
  {
    mutationId: "0b0e2d3c-8d56-4c3e-9d4b-4a9b1c8a7f01",
    recordId: "a",
    outcome: "MERGED",
    commitClock: 77n,
    replayed: true,
    record: { form: "JSON", json: { title: "x", tags: ["t"], place: null } },
    recordAbsent: false,
    conflicts: [{ field: 2, name: "title" }],
    rejection: undefined,
  },
  {
    mutationId: "0b0e2d3c-8d56-4c3e-9d4b-4a9b1c8a7f02",
    recordId: "b",
    outcome: "REJECTED",
    commitClock: 0n,
    replayed: false,
    record: undefined,
    recordAbsent: false,
    conflicts: [],
    rejection: {
      reason: "INVALID",
      description: "no title",
      violations: [{ path: "title", ruleId: "string.min_len", message: "must not be empty" }],
    },
  },
];

test.each(transportNames)("push: %s → receipts in order, nothing lost on the way in", async (transport) => {
  const asked: unknown[] = [];
  const { url } = await startEdge({
    push: {
      async pushMutations(_, request) {
        asked.push(request);
        return { receipts, commitClock: 77n };
      },
    },
  });
  const record = { form: { case: "json" as const, value: { title: "x", done: null } } };
  const base = { form: { case: "proto" as const, value: new Uint8Array([18, 1, 98]) } };
  const madeAt = { seconds: 5n, nanos: 7_900_000 };
  const answer = await clientOf(url, transport).pushMutations(
    {
      mutations: [
        {
          mutationId: "0B0E2D3C-8D56-4C3E-9D4B-4A9B1C8A7F01",
          collection: "todos",
          recordId: "a",
          madeAt,
          madeAfter: 1n << 62n,
          kind: { case: "update", value: { record, changed: [2, 3], base } },
        },
        {
          mutationId: "0b0e2d3c-8d56-4c3e-9d4b-4a9b1c8a7f02",
          collection: "todos",
          recordId: "b",
          expectedVersion: 4n,
          kind: { case: "delete", value: {} },
        },
      ],
      atomic: true,
    },
    asAna,
  );
  expect(asked).toEqual([
    {
      atomic: true,
      recordForm: isJson(transport) ? "JSON" : "PROTO",
      mutations: [
        {
          mutationId: "0b0e2d3c-8d56-4c3e-9d4b-4a9b1c8a7f01",
          collection: "todos",
          recordId: "a",
          madeAtMs: 5007,
          madeAfter: 1n << 62n,
          expectedVersion: 0,
          kind: {
            case: "update",
            record: { form: "JSON", json: { title: "x", done: null } },
            changed: [2, 3],
            base: { form: "PROTO", bytes: expect.anything() },
          },
        },
        {
          mutationId: "0b0e2d3c-8d56-4c3e-9d4b-4a9b1c8a7f02",
          collection: "todos",
          recordId: "b",
          madeAtMs: undefined,
          madeAfter: 0n,
          expectedVersion: 4,
          kind: { case: "delete", base: undefined },
        },
      ],
    },
  ]);
  expect(answer.commitClock).toBe(77n);
  expect(answer.receipts).toMatchObject([
    {
      outcome: Outcome.MERGED,
      commitClock: 77n,
      replayed: true,
      record: { form: { case: "json", value: { title: "x", tags: ["t"], place: null } } },
      conflicts: [{ field: 2, name: "title" }],
    },
    {
      outcome: Outcome.REJECTED,
      rejection: {
        reason: RejectionReason.INVALID,
        description: "no title",
        violations: [{ path: "title", ruleId: "string.min_len", message: "must not be empty" }],
      },
    },
  ]);
});

test.each(transportNames)("server info: %s, no token → collections and limits", async (transport) => {
  const { url } = await startEdge();
  const make = transports[transport];
  if (make === undefined) throw new Error("no transport");
  const info = await createClient(ServerService, make(url)).getServerInfo({});
  expect(info).toMatchObject({
    version: "0.0.0-test",
    collections: [
      { name: "cities", messageType: "demo.v1.City", writable: false },
      { name: "lists", messageType: "demo.v1.TodoList", writable: true },
      { name: "memberships", messageType: "demo.v1.Membership", writable: false },
      { name: "todos", messageType: "demo.v1.Todo", writable: true },
    ],
    limits: {
      mutationsPerRequestMax: 1000,
      requestBytesMax: 4_194_304n,
      batchBytesMax: 2_097_152n,
      receiptDays: 90,
      tombstoneDays: 30,
      mutationBytesMax: 1_048_576n,
      mutationFieldsMax: 1000,
    },
  });
});

test("pull: a record form asked for → that one, whatever the codec", async () => {
  const forms: string[] = [];
  const { url } = await startEdge({
    pull: {
      async *pullChanges(_, { recordForm }) {
        forms.push(recordForm);
      },
    },
  });
  for (const [transport, recordForm] of [
    ["gRPC proto h2c", RecordForm.JSON],
    ["Connect JSON HTTP/1.1", RecordForm.PROTO],
  ] as const) {
    const stream = clientOf(url, transport).pullChanges({ options: { recordForm } }, asAna);
    for await (const _ of stream) expect.unreachable();
  }
  expect(forms).toEqual(["JSON", "PROTO"]);
});

test("requests: a field of a newer client, in JSON as in protobuf → ignored", async () => {
  const { url } = await startEdge();
  const post = (contentType: string, body: string | Uint8Array<ArrayBuffer>) =>
    fetch(`${url}/tidemark.v1.SyncService/ListChanges`, {
      method: "POST",
      headers: { "content-type": contentType, ...asAna.headers },
      body,
    });
  expect((await post("application/json", '{"newer":{"a":1}}')).status).toBe(200);
  expect((await post("application/proto", new Uint8Array([0xfa, 0x3e, 1, 65]))).status).toBe(200);
});
