// Every error reaches every kind of client with its code, reason and advice, as details and as plain metadata.
import { readFileSync } from "node:fs";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { MongoNetworkError, MongoServerError } from "mongodb";
import { expect, test } from "vitest";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { ErrorReason as ErrorReasonEnum } from "#gen/tidemark/v1/error_reason_pb.js";
import {
  type PushMutationsRequestSchema,
  PushMutationsRequestSchema as PushSchema,
} from "#gen/tidemark/v1/push_mutations_pb.js";
import type { RecordForm } from "#gen/tidemark/v1/record_pb.js";
import { issueToken } from "../../src/access/issue-token.ts";
import { type ErrorReason, SyncError } from "../../src/model/sync-error.ts";
import { asAna, clientOf, frame, type Script, SECRET, startEdge, transportNames } from "./edge-fixture.ts";

const codes: Readonly<Record<ErrorReason, Code>> = {
  TOKEN_MISSING: Code.Unauthenticated,
  TOKEN_INVALID: Code.Unauthenticated,
  TOKEN_EXPIRED: Code.Unauthenticated,
  FORBIDDEN: Code.PermissionDenied,
  INVALID_REQUEST: Code.InvalidArgument,
  CLIENT_TOO_OLD: Code.FailedPrecondition,
  RATE_LIMITED: Code.ResourceExhausted,
  REQUEST_TOO_LARGE: Code.ResourceExhausted,
  SHUTTING_DOWN: Code.Unavailable,
  DATABASE_UNAVAILABLE: Code.Unavailable,
  CONTENTION: Code.Aborted,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  UNSUPPORTED: Code.Unimplemented,
  INTERNAL: Code.Internal,
  OVERLOADED: Code.ResourceExhausted,
  NOT_FOUND: Code.NotFound,
  ISSUER_UNAVAILABLE: Code.Unavailable,
};
const reasons = Object.keys(codes) as ErrorReason[];

type PushRequest = MessageInitShape<typeof PushMutationsRequestSchema>;

const push: PushRequest = {
  mutations: [
    {
      mutationId: "0b0e2d3c-8d56-4c3e-9d4b-4a9b1c8a7f01",
      collection: "todos",
      recordId: "a",
      kind: { case: "delete", value: {} },
    },
  ],
};

async function failureOf(call: Promise<unknown> | AsyncIterable<unknown>): Promise<ConnectError> {
  try {
    if (Symbol.asyncIterator in call) for await (const _ of call);
    else await call;
  } catch (error) {
    return ConnectError.from(error);
  }
  return expect.unreachable("the call succeeds");
}

function told(error: ConnectError) {
  const [info] = error.findDetails(ErrorInfoSchema);
  const reason = error.metadata.get("tidemark-reason");
  expect(info).toMatchObject({ reason, domain: "tidemark.dev" });
  return { code: error.code, reason };
}

test("errors: the model's reasons → the contract's, one for one", () => {
  const published = Object.keys(ErrorReasonEnum).filter((name) => Number.isNaN(Number(name)));
  expect(published.filter((name) => name !== "UNSPECIFIED").sort()).toEqual([...reasons].sort());
});

test("errors: a code → the one the contract's comment names", () => {
  const proto = readFileSync(new URL("../../proto/tidemark/v1/error_reason.proto", import.meta.url), "utf8");
  for (const reason of reasons) {
    const [, name = ""] =
      new RegExp(`// (\\w+): [^\\n]*\\n(?:\\s*//[^\\n]*\\n)*\\s*ERROR_REASON_${reason} `).exec(proto) ?? [];
    expect([reason, Code[codes[reason]]?.replace(/(?<!^)[A-Z]/g, "_$&").toUpperCase()]).toEqual([
      reason,
      name,
    ]);
  }
});

test.each(transportNames)(
  "errors: %s, unary and at the end of a stream → code, details, metadata",
  async (transport) => {
    let thrown = new SyncError("INTERNAL", "");
    const { url } = await startEdge({
      pull: {
        async *pullChanges() {
          yield frame({ case: "checkpoint", value: { position: 1n } });
          throw thrown;
        },
        listChanges: () => Promise.reject(thrown),
      },
    });
    const client = clientOf(url, transport);
    for (const reason of reasons) {
      thrown = new SyncError(reason, `what ${reason} means`, {
        retryAfterMs: 2_500,
        metadata: { limit: "7" },
        violations: [{ path: "a.b", ruleId: "rule", message: "wrong" }],
      });
      for (const call of [client.listChanges({}, asAna), client.pullChanges({}, asAna)]) {
        const error = await failureOf(call);
        expect(told(error)).toEqual({ code: codes[reason], reason });
        if (reason === "INTERNAL") continue;
        expect(error.rawMessage).toBe(`what ${reason} means`);
        expect(error.metadata.get("retry-after")).toBe("3");
        expect(error.findDetails(ErrorInfoSchema)[0]?.metadata).toEqual({ limit: "7" });
        expect(error.findDetails(RetryInfoSchema)[0]?.retryDelay).toMatchObject({ seconds: 2n, nanos: 5e8 });
        expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations).toMatchObject([
          { field: "a.b", reason: "rule", description: "wrong" },
        ]);
      }
    }
  },
);

test("errors: a fault → bare INTERNAL with the request id; the cause only in the log", async () => {
  const fault = new Error("connection string mongodb://root:hunter2@db");
  const { url, lines } = await startEdge({
    pull: {
      listChanges: () => Promise.reject(fault),
    },
  });
  const headers = { ...asAna.headers, "x-request-id": "trace-1" };
  const error = await failureOf(clientOf(url).listChanges({}, { headers }));
  expect(told(error)).toEqual({ code: Code.Internal, reason: "INTERNAL" });
  expect(error.rawMessage).toBe("internal error; report request id trace-1");
  expect(JSON.stringify(error.findDetails(ErrorInfoSchema))).not.toContain("hunter2");
  expect(lines).toContainEqual({
    level: "error",
    fields: { requestId: "trace-1", err: fault },
    message: "call failed",
  });
});

test.each([
  ["a network error", new MongoNetworkError("gone"), Code.Unavailable, "DATABASE_UNAVAILABLE"],
  ["no primary", new MongoServerError({ code: 10_107 }), Code.Unavailable, "DATABASE_UNAVAILABLE"],
  ["a write conflict", new MongoServerError({ code: 112 }), Code.Aborted, "CONTENTION"],
])("errors: %s of the database → retryable", async (_, thrown, code, reason) => {
  const { url } = await startEdge({
    push: {
      pushMutations: () => Promise.reject(thrown),
    },
  });
  const error = await failureOf(clientOf(url).pushMutations(push, asAna));
  expect(told(error)).toEqual({ code, reason });
  expect(Number(error.metadata.get("retry-after"))).toBeGreaterThan(0);
});

const wrong: Record<string, [PushRequest, string]> = {
  "no mutation": [{}, "mutations"],
  "1,001 mutations": [{ mutations: Array.from({ length: 1001 }, (_, i) => mutation(i)) }, "mutations"],
  "an id that is no UUID": [{ mutations: [{ ...mutation(1), mutationId: "1" }] }, "mutations[0].mutation_id"],
  "no kind": [{ mutations: [{ ...mutation(1), kind: { case: undefined } }] }, "mutations[0].kind"],
  "no collection": [{ mutations: [{ ...mutation(1), collection: "" }] }, "mutations[0].collection"],
  "an over-long record id": [
    { mutations: [{ ...mutation(1), recordId: "é".repeat(513) }] },
    "mutations[0].record_id",
  ],
  "an id twice": [{ mutations: [mutation(1), mutation(1)] }, "mutations[1].mutation_id"],
  "a version no log can have": [
    { mutations: [{ ...mutation(1), expectedVersion: 1n << 60n }] },
    "mutations[0].expected_version",
  ],
  "a form nobody knows": [{ mutations: [mutation(1)], recordForm: 9 as RecordForm }, "record_form"],
};

function mutation(index: number) {
  const mutationId = `0b0e2d3c-8d56-4c3e-9d4b-${String(index).padStart(12, "0")}`;
  return {
    mutationId,
    collection: "todos",
    recordId: "a",
    kind: { case: "delete" as const, value: {} },
  };
}

test.each(Object.keys(wrong))("push: %s → INVALID_ARGUMENT naming the field", async (name) => {
  const [request, field] = wrong[name] ?? [];
  const { url } = await startEdge();
  for (const transport of ["gRPC proto h2c", "Connect JSON HTTP/1.1"]) {
    const error = await failureOf(clientOf(url, transport).pushMutations(request ?? {}, asAna));
    expect(told(error)).toEqual({ code: Code.InvalidArgument, reason: "INVALID_REQUEST" });
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe(field);
  }
});

test("push: 1,000 broken rules → told with no more than 20 of them", async () => {
  const { url } = await startEdge();
  const mutations = Array.from({ length: 1000 }, (_, index) => ({ ...mutation(index), collection: "" }));
  const error = await failureOf(clientOf(url).pushMutations({ mutations }, asAna));
  expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations).toHaveLength(20);
  expect(error.rawMessage).toContain("999 more");
});

test.each([
  ["a selection without a name", { selections: [{ collection: "" }] }, "selections[0].collection"],
  ["an unknown mode", { mode: 9 }, "mode"],
  ["a negative position", { cursor: { position: -1n } }, "cursor.position"],
  ["an over-long token", { cursor: { subscription: "x".repeat(1025) } }, "cursor.subscription"],
  ["a batch over 2 MiB", { maxBatchBytes: 2_097_153n }, "max_batch_bytes"],
  ["a negative heartbeat", { heartbeatInterval: { seconds: -1n } }, "heartbeat_interval"],
])("pull: %s → INVALID_ARGUMENT naming the field", async (_, request, field) => {
  const { url } = await startEdge();
  const error = await failureOf(clientOf(url).pullChanges(request, asAna));
  expect(told(error)).toEqual({ code: Code.InvalidArgument, reason: "INVALID_REQUEST" });
  expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe(field);
});

test.each(transportNames)("tokens: %s → the reason they are refused for", async (transport) => {
  const { url } = await startEdge();
  const client = clientOf(url, transport);
  const expired = await issueToken({
    secret: SECRET,
    principal: "ana",
    claims: {},
    ttlSeconds: 60,
    nowMs: Date.now() - 3_600_000,
  });
  for (const [authorization, reason] of [
    ["Bearer nonsense", "TOKEN_INVALID"],
    [`Bearer ${expired}`, "TOKEN_EXPIRED"],
  ] as const) {
    const headers = { authorization };
    for (const call of [client.listChanges({}, { headers }), client.pullChanges({}, { headers })]) {
      expect(told(await failureOf(call))).toEqual({ code: Code.Unauthenticated, reason });
    }
  }
});

test("tokens: none, and a schema that grants nothing to anonymous callers → TOKEN_MISSING", async () => {
  const { url } = await startEdge({
    authenticate: () => Promise.reject(new SyncError("TOKEN_MISSING", "send one")),
  });
  const error = await failureOf(clientOf(url).listChanges({}));
  expect(told(error)).toEqual({ code: Code.Unauthenticated, reason: "TOKEN_MISSING" });
});

test("tokens: a client header that can't be read → INVALID_ARGUMENT; a good one → the device", async () => {
  const devices: string[] = [];
  const { url } = await startEdge({
    push: {
      pushMutations({ device }) {
        devices.push(device);
        return Promise.resolve({ receipts: [], commitClock: 0n });
      },
    },
  });
  const withClient = (client: string) => ({ headers: { ...asAna.headers, "tidemark-client": client } });
  const error = await failureOf(clientOf(url).pushMutations(push, withClient("???")));
  expect(told(error)).toEqual({ code: Code.InvalidArgument, reason: "INVALID_REQUEST" });
  await clientOf(url).pushMutations(push, withClient("ios/2.4.0; device=6f1c"));
  expect(devices).toEqual(["6f1c"]);
});

const untilAborted: Script["pull"] = {
  async *pullChanges(_principal, _request, signal) {
    yield frame({ case: "checkpoint", value: { position: 1n } });
    await aborted(signal);
  },
  async listChanges(_principal, _request, signal) {
    await aborted(signal);
    return { frames: [], cursor: { subscription: "", position: 0, checkpoint: 0 } };
  },
};

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve());
  });
}

test.each([
  ["connect", { "content-type": "application/connect+json", "connect-timeout-ms": "50" }],
  ["gRPC-web", { "content-type": "application/grpc-web+json", "grpc-timeout": "50m" }],
])("deadlines: a stream's own (%s) → DEADLINE_EXCEEDED at its end", async (_, headers) => {
  const { url, lines } = await startEdge({ pull: untilAborted });
  const answer = await fetch(`${url}/tidemark.v1.SyncService/PullChanges`, {
    method: "POST",
    headers: { ...headers, ...asAna.headers },
    body: enveloped("{}"),
  });
  const text = await answer.text();
  expect(text).toContain("DEADLINE_EXCEEDED");
  expect(text).toContain("tidemark-reason");
  expect(lines).toContainEqual(
    expect.objectContaining({ fields: expect.objectContaining({ code: "DeadlineExceeded", frames: 1 }) }),
  );
});

test("deadlines: a call's own → DEADLINE_EXCEEDED", async () => {
  const { url } = await startEdge({ pull: untilAborted });
  const answer = await fetch(`${url}/tidemark.v1.SyncService/ListChanges`, {
    method: "POST",
    headers: { "content-type": "application/json", "connect-timeout-ms": "50", ...asAna.headers },
    body: "{}",
  });
  expect(answer.status).toBe(504);
  expect(answer.headers.get("tidemark-reason")).toBe("DEADLINE_EXCEEDED");
});

function enveloped(message: string | Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = typeof message === "string" ? new TextEncoder().encode(message) : message;
  const envelope = new Uint8Array(5 + bytes.length);
  new DataView(envelope.buffer).setUint32(1, bytes.length);
  envelope.set(bytes, 5);
  return envelope;
}

const LARGE = "x".repeat(5 * 1024 * 1024);
const largePush = toBinary(PushSchema, create(PushSchema, { mutations: [{ recordId: LARGE }] }));

interface Broken {
  readonly contentType: string;
  readonly body: string | Uint8Array<ArrayBuffer>;
  readonly headers?: Record<string, string>;
  readonly reason: ErrorReason;
}

const broken: Record<string, Broken> = {
  "Connect, no JSON": { contentType: "application/json", body: "{", reason: "INVALID_REQUEST" },
  "Connect, a wrong type": {
    contentType: "application/json",
    body: '{"mutations":7}',
    reason: "INVALID_REQUEST",
  },
  "Connect, no protobuf": {
    contentType: "application/proto",
    body: new Uint8Array([10, 200]),
    reason: "INVALID_REQUEST",
  },
  "Connect, 5 MiB": {
    contentType: "application/json",
    body: JSON.stringify({ mutations: [{ recordId: LARGE }] }),
    reason: "REQUEST_TOO_LARGE",
  },
  "Connect, a deadline that isn't one": {
    contentType: "application/json",
    body: "{}",
    headers: { "connect-timeout-ms": "soon" },
    reason: "INVALID_REQUEST",
  },
  "Connect, an unknown compression": {
    contentType: "application/json",
    body: "{}",
    headers: { "content-encoding": "lzw" },
    reason: "UNSUPPORTED",
  },
  "gRPC, no protobuf": {
    contentType: "application/grpc+proto",
    body: enveloped(new Uint8Array([10, 200])),
    reason: "INVALID_REQUEST",
  },
  "gRPC-web, no protobuf": {
    contentType: "application/grpc-web+proto",
    body: enveloped(new Uint8Array([10, 200])),
    reason: "INVALID_REQUEST",
  },
  "gRPC-web, 5 MiB": {
    contentType: "application/grpc-web+proto",
    body: enveloped(largePush),
    reason: "REQUEST_TOO_LARGE",
  },
  "gRPC-web, an envelope cut short": {
    contentType: "application/grpc-web+proto",
    body: enveloped("{}").subarray(0, 3),
    reason: "INVALID_REQUEST",
  },
  "gRPC-web, no message": {
    contentType: "application/grpc-web+proto",
    body: new Uint8Array(),
    reason: "UNSUPPORTED",
  },
};

test.each(Object.keys(broken))("requests: %s → told with its reason, and logged as that", async (name) => {
  const request = broken[name];
  if (!request) throw new Error("no such request");
  const { url, lines } = await startEdge();
  const answer = await fetch(`${url}/tidemark.v1.SyncService/PushMutations`, {
    method: "POST",
    headers: { "content-type": request.contentType, ...asAna.headers, ...request.headers },
    body: request.body,
  });
  const text = await answer.text();
  const told = answer.headers.get("tidemark-reason") ?? text;
  if (!name.startsWith("gRPC,")) expect(told).toContain(request.reason);
  const code = Code[codes[request.reason]];
  await expect.poll(() => lines.map(({ fields }) => fields["code"])).toContain(code);
});
