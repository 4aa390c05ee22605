// Health, reflection as tools use it, and the drain.
import { execFile } from "node:child_process";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "#gen/grpc/health/v1/health_pb.js";
import { ServerReflection, type ServerReflectionResponse } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionAlpha } from "#gen/grpc/reflection/v1alpha/reflection_pb.js";
import { ClosedReason } from "#gen/tidemark/v1/frame_pb.js";
import { compileProtos } from "../../src/generate/compile-protos.ts";
import { readSchema } from "../../src/schema/schema.ts";
import { folderOf } from "../support/folder-of.ts";
import { asAna, clientOf, frame, scriptedParts, startEdge } from "./edge-fixture.ts";

const healthOf = (url: string) => createClient(Health, createGrpcTransport({ baseUrl: url }));

test("health: serving → so for the whole and each service, without a token; unknown → NOT_FOUND", async () => {
  const { url } = await startEdge();
  const health = healthOf(url);
  for (const service of [
    "",
    "tidemark.v1.SyncService",
    "tidemark.v1.ReceiptService",
    "tidemark.v1.ServerService",
  ]) {
    expect((await health.check({ service })).status).toBe(Status.SERVING);
  }
  await expect(health.check({ service: "nothing" })).rejects.toMatchObject({ code: Code.NotFound });
  expect(Object.keys((await health.list({})).statuses)).toContain("tidemark.v1.SyncService");
});

test("health: watching over the drain → SERVING, NOT_SERVING, end", async () => {
  const { url, edge } = await startEdge();
  const told: Status[] = [];
  let closing: Promise<void> | undefined;
  for await (const { status } of healthOf(url).watch({})) {
    told.push(status);
    closing ??= edge.close(5_000);
  }
  await closing;
  expect(told).toEqual([Status.SERVING, Status.NOT_SERVING]);
});

test("drain: pulls end with RECONNECT, calls in progress end, new ones UNAVAILABLE, then the port closes", async () => {
  const drained = Promise.withResolvers<number>();
  const release = Promise.withResolvers<void>();
  let waiting = false;
  const page = { frames: [], cursor: { subscription: "", position: 0, checkpoint: 0 } };
  const { url, edge } = await startEdge({
    pull: {
      async *pullChanges() {
        yield frame({ case: "checkpoint", value: { position: 1n } });
        await drained.promise;
        yield frame({ case: "closed", value: { reason: ClosedReason.RECONNECT } });
      },
      async listChanges() {
        waiting = true;
        await release.promise;
        return page;
      },
      drain: (retryAfterMs) => drained.resolve(retryAfterMs),
    },
  });
  const client = clientOf(url);
  const stream = client.pullChanges({}, asAna)[Symbol.asyncIterator]();
  await stream.next();
  const inProgress = client.listChanges({}, asAna);
  // On a connection of its own, still open when the drain begins.
  const keptAlive = clientOf(url, "Connect JSON h2c");
  const held = keptAlive.listChanges({}, asAna);
  await expect.poll(() => waiting).toBe(true);

  const closing = edge.close(10_000);
  expect((await stream.next()).value?.frame.value).toMatchObject({ reason: ClosedReason.RECONNECT });
  expect((await stream.next()).done).toBe(true);
  expect(await drained.promise).toBeGreaterThan(0);
  await expect(fetch(`${url}/readyz`)).rejects.toThrow();
  release.resolve();
  await Promise.all([inProgress, held]);
  await closing;
});

test("drain: a new call on a connection still open → UNAVAILABLE, SHUTTING_DOWN, when to retry", async () => {
  let closing: Promise<void> | undefined;
  const { port, edge } = await startEdge({
    // The drain begins while the first of two pipelined calls is on its way in.
    authenticate: () => {
      closing = edge.close(10_000);
      return Promise.resolve({
        id: "ana",
        claimGrants: new Map(),
        device: "",
        isService: false,
        expiresAtMs: undefined,
      });
    },
  });
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  const path = "/tidemark.v1.SyncService/ListChanges?encoding=json&message=%7B%7D";
  socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`.repeat(2));
  await new Promise((resolve) => socket.once("close", resolve));
  await closing;
  const [first = "", second = ""] = text.split(/(?=HTTP\/1\.1 5)/);
  expect(first).toMatch(/^HTTP\/1\.1 200 /);
  expect(second).toMatch(/^HTTP\/1\.1 503 /);
  expect(second).toMatch(/^tidemark-reason: SHUTTING_DOWN\r$/m);
  expect(second).toMatch(/^retry-after: 1\r$/m);
});

test("drain: a call that never ends → told SHUTTING_DOWN before the grace is over", async () => {
  let waiting = false;
  const { url, edge } = await startEdge({
    pull: {
      async listChanges(_principal, _request, signal) {
        waiting = true;
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        throw new Error("interrupted");
      },
    },
  });
  const call = clientOf(url)
    .listChanges({}, asAna)
    .catch((error) => error);
  await expect.poll(() => waiting).toBe(true);
  const startedMs = performance.now();
  await edge.close(1_100);
  const error = await call;
  expect([error.code, error.metadata.get("tidemark-reason")]).toEqual([Code.Unavailable, "SHUTTING_DOWN"]);
  expect(performance.now() - startedMs).toBeLessThan(3_000);
});

const hidden = `syntax = "proto3";
package acme.v1;
import "tidemark/v1/schema.proto";
message Note {
  option (tidemark.v1.collection) = { name: "notes" scopes: ["public"] };
  string id = 1;
  string text = 2;
  string internal_remark = 3 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
}
`;

test("reflection: the team's schema → shown without hidden fields and rules", async () => {
  const set = await compileProtos(await folderOf({ "acme/v1/note.proto": hidden }));
  const { url } = await startEdge({ schema: readSchema(set) });
  for (const service of [ServerReflection, ServerReflectionAlpha]) {
    const client = createClient(service, createGrpcTransport({ baseUrl: url }));
    const ask = async function* () {
      yield { messageRequest: { case: "fileContainingSymbol", value: "acme.v1.Note.text" } } as const;
      yield { messageRequest: { case: "fileByFilename", value: "nothing.proto" } } as const;
      yield { messageRequest: { case: "fileContainingSymbol", value: "google.rpc.ErrorInfo" } } as const;
      yield { messageRequest: { case: "listServices", value: "" } } as const;
    };
    const answers: ServerReflectionResponse["messageResponse"][] = [];
    for await (const { messageResponse } of client.serverReflectionInfo(ask()))
      answers.push(messageResponse as ServerReflectionResponse["messageResponse"]);
    const [files, missing, details, services] = answers;
    if (files?.case !== "fileDescriptorResponse") return expect.unreachable(files?.case);
    const protos = files.value.fileDescriptorProto.map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    );
    expect(protos[0]?.messageType[0]?.field.map(({ name }) => name)).toEqual(["id", "text"]);
    expect(JSON.stringify(protos.map(({ name }) => name))).not.toContain("tidemark/v1/schema.proto");
    expect(missing).toMatchObject({ case: "errorResponse", value: { errorCode: Code.NotFound } });
    expect(details?.case).toBe("fileDescriptorResponse");
    expect(services).toMatchObject({
      value: {
        service: [
          "grpc.health.v1.Health",
          "grpc.reflection.v1.ServerReflection",
          "grpc.reflection.v1alpha.ServerReflection",
          "tidemark.v1.ReceiptService",
          "tidemark.v1.ServerService",
          "tidemark.v1.SyncService",
        ].map((name) => ({ name })),
      },
    });
  }
});

const run = promisify(execFile);
const buf = join(import.meta.dirname, "../../node_modules/.bin/buf");

function bufCurl(...args: string[]) {
  return run(buf, ["curl", "--http2-prior-knowledge", ...args], { timeout: 30_000 });
}

test("buf curl: by reflection alone → lists, describes and calls over gRPC, gRPC-web and Connect", async () => {
  const { url } = await startEdge({
    pull: {
      async *pullChanges() {
        yield frame({ case: "closed", value: { reason: ClosedReason.CAUGHT_UP } });
      },
    },
  });
  const methods = await bufCurl("--list-methods", url);
  expect(methods.stdout).toContain("tidemark.v1.SyncService/PullChanges");
  const token = ["-H", "authorization: Bearer dev-ana"];
  for (const protocol of ["grpc", "grpcweb", "connect"]) {
    const call = `${url}/tidemark.v1.SyncService/PullChanges`;
    const { stdout } = await bufCurl(
      "--protocol",
      protocol,
      ...token,
      "-d",
      '{"mode":"PULL_MODE_CATCH_UP"}',
      call,
    );
    expect(JSON.parse(stdout)).toEqual({ closed: { reason: "CLOSED_REASON_CAUGHT_UP" } });
  }
});

test("buf curl: an error → its code, what is wrong, and details of known types", async () => {
  const { url } = await startEdge();
  const call = `${url}/tidemark.v1.SyncService/PushMutations`;
  const args = ["--protocol", "grpc", "-H", "authorization: Bearer dev-ana", "-d", "{}", call];
  const failed = await bufCurl(...args).catch((error: { stderr: string }) => error);
  expect(JSON.parse(failed.stderr)).toMatchObject({
    code: "invalid_argument",
    message: "mutations: must contain at least 1 item(s)",
    details: [{ type: "google.rpc.ErrorInfo" }, { type: "google.rpc.BadRequest" }],
  });
});

test("edge: parts given after a close → still draining", async () => {
  const { edge, url } = await startEdge({ closed: true });
  expect((await fetch(`${url}/readyz`)).status).toBe(503);
  const closing = edge.close(100);
  edge.open(await scriptedParts({}));
  await closing;
});
