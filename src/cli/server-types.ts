// The record types of a server's schema, learnt from the server itself (its info and reflection): so that the CLI
// pulls the compact form and turns only what it prints into JSON.
import {
  create,
  createFileRegistry,
  type DescMessage,
  fromBinary,
  type JsonObject,
  type Registry,
  toJson,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createClient, type Transport } from "@connectrpc/connect";
import { createAsyncIterable } from "@connectrpc/connect/protocol";
import { ServerReflection } from "#gen/grpc/reflection/v1/reflection_pb.js";
import type { Put } from "#gen/tidemark/v1/change_pb.js";
import { ServerService } from "#gen/tidemark/v1/server_service_pb.js";

/** A put's fields as JSON: of a delta, cleared ones are null. Undefined: a collection this server doesn't have. */
export type RecordReader = (collection: string, put: Put) => JsonObject | undefined;

/** @throws ConnectError when the server can't be reached. */
export async function readServerTypes(transport: Transport, signal: AbortSignal): Promise<RecordReader> {
  const { collections } = await createClient(ServerService, transport).getServerInfo({}, { signal });
  const types = new Map<string, { type: DescMessage; registry: Registry }>();
  for (const { name, messageType } of collections) {
    const registry = await reflect(transport, messageType, signal);
    const type = registry.getMessage(messageType);
    if (type) types.set(name, { type, registry });
  }
  return (collection, put) => {
    const known = types.get(collection);
    const form = put.record?.form;
    return known && form?.case === "proto" ? recordJson(known, form.value, put.changed) : undefined;
  };
}

/** The file that defines a symbol, and all it imports. */
async function reflect(transport: Transport, symbol: string, signal: AbortSignal) {
  const question = { messageRequest: { case: "fileContainingSymbol" as const, value: symbol } };
  const answers = createClient(ServerReflection, transport).serverReflectionInfo(
    createAsyncIterable([question]),
    { signal },
  );
  for await (const { messageResponse } of answers) {
    if (messageResponse.case !== "fileDescriptorResponse") continue;
    const file = messageResponse.value.fileDescriptorProto.map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    );
    return createFileRegistry(create(FileDescriptorSetSchema, { file: inOrder(file) }));
  }
  throw new Error(`the server doesn't describe ${symbol}`);
}

/** Files after what they import. */
function inOrder<T extends { name: string; dependency: string[] }>(files: readonly T[]): T[] {
  const ordered = new Map<string, T>();
  const add = (file: T | undefined) => {
    if (!file || ordered.has(file.name)) return;
    for (const name of file.dependency) add(files.find((other) => other.name === name));
    ordered.set(file.name, file);
  };
  for (const file of files) add(file);
  return [...ordered.values()];
}

function recordJson(
  { type, registry }: { type: DescMessage; registry: Registry },
  bytes: Uint8Array,
  changed: readonly number[],
): JsonObject {
  const json = toJson(type, fromBinary(type, bytes), { registry });
  const fields: JsonObject = typeof json === "object" && json !== null && !Array.isArray(json) ? json : {};
  for (const { number, jsonName } of type.fields) {
    if (changed.includes(number) && !(jsonName in fields)) fields[jsonName] = null;
  }
  return fields;
}
