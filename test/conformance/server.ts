// The server under test, as the suite starts it: its settings come on standard input, its port goes to standard output.
// It is the product's own listener and its way from a request to Connect's handlers; with `writer` as its second argument
// server streams are answered by the product's own writer as well.
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
// The suite says how long an answer takes.
import { setTimeout as delay } from "node:timers/promises";
import {
  create,
  createFileRegistry,
  type DescMessage,
  type DescService,
  fromBinary,
  type Message,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { type Any, anyPack, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createConnectRouter,
  type HandlerContext,
  type ServiceImpl,
} from "@connectrpc/connect";
import { compressionGzip } from "@connectrpc/connect-node";
import { readTrustedProxies } from "../../src/access/address.ts";
import { callOf, createCall } from "../../src/edge/call.ts";
import { codecOf } from "../../src/edge/codec.ts";
import { createListener, listenerDefaults } from "../../src/edge/listener.ts";
import { createRpc } from "../../src/edge/rpc.ts";
import { createWire, type Messages } from "../../src/edge/wire/envelopes.ts";
import type { Reader, Source } from "../../src/edge/wire/stream-writer.ts";
import { realClock } from "../../src/main.ts";
import { silentLogger } from "../../src/model/logger.ts";

const [descriptors = "", way] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const PACKAGE = "connectrpc.conformance.v1";
const infoDesc = descOf("ConformancePayload.RequestInfo");

/** As far as the server looks into the suite's messages. */
interface Header {
  readonly name: string;
  readonly value: string[];
}
interface WireError {
  readonly code: Code;
  readonly message?: string;
  readonly details: Any[];
}
interface Definition {
  readonly responseHeaders: Header[];
  readonly responseTrailers: Header[];
  readonly responseDelayMs: number;
  readonly response: { readonly case?: "responseData" | "error"; readonly value?: Uint8Array | WireError };
  readonly responseData: Uint8Array[];
  readonly error?: WireError;
}
interface Asking extends Message {
  readonly responseDefinition?: Definition;
  readonly fullDuplex?: boolean;
}
interface Compat extends Message {
  readonly useTls: boolean;
  readonly serverCreds?: { readonly cert: Uint8Array; readonly key: Uint8Array };
  readonly clientTlsCert: Uint8Array;
}

function descOf(name: string): DescMessage {
  const desc = registry.getMessage(`${PACKAGE}.${name}`);
  if (!desc) throw new Error(`the suite has no ${name}`);
  return desc;
}

function serviceDesc(): DescService {
  const service = registry.getService(`${PACKAGE}.ConformanceService`);
  if (!service) throw new Error("the suite has no service");
  return service;
}

function requestInfo(context: HandlerContext, requests: readonly Message[]): Message {
  const headers = [...context.requestHeader].map(([name, value]) => ({ name, value: [value] }));
  const timeoutMs = context.timeoutMs();
  const query = [...new URL(context.url).searchParams].map(([name, value]) => ({ name, value: [value] }));
  return create(infoDesc, {
    requestHeaders: headers,
    ...(timeoutMs === undefined ? {} : { timeoutMs: BigInt(Math.round(timeoutMs)) }),
    requests: requests.map(packed),
    ...(context.requestMethod === "GET" ? { connectGetInfo: { queryParams: query } } : {}),
  });
}

function packed(message: Message): Any {
  return anyPack(descOf(message.$typeName.slice(PACKAGE.length + 1)), message);
}

function errorOf({ code, message = "", details }: WireError, info?: Message): ConnectError {
  const error = new ConnectError(message, code);
  for (const { typeUrl, value } of details)
    error.details.push({ type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value });
  if (info) error.details.push({ desc: infoDesc, value: info });
  return error;
}

function announce(definition: Definition | undefined, context: HandlerContext): void {
  for (const { name, value } of definition?.responseHeaders ?? [])
    for (const one of value) context.responseHeader.append(name, one);
  for (const { name, value } of definition?.responseTrailers ?? [])
    for (const one of value) context.responseTrailer.append(name, one);
}

async function answer(definition: Definition | undefined, requests: Message[], context: HandlerContext) {
  announce(definition, context);
  const info = requestInfo(context, requests);
  await delay(definition?.responseDelayMs ?? 0);
  const { response } = definition ?? {};
  if (response?.case === "error") throw errorOf(response.value as WireError, info);
  const data = response?.case === "responseData" ? (response.value as Uint8Array) : new Uint8Array();
  return { payload: { requestInfo: info, data } };
}

async function* serverStream(request: Asking, context: HandlerContext) {
  const { responseDefinition: definition } = request;
  announce(definition, context);
  yield* streamed(definition, requestInfo(context, [request]));
}

async function* streamed(definition: Definition | undefined, info: Message) {
  let requestInfo: Message | undefined = info;
  for (const data of definition?.responseData ?? []) {
    await delay(definition?.responseDelayMs ?? 0);
    yield { payload: { data, ...(requestInfo ? { requestInfo } : {}) } };
    requestInfo = undefined;
  }
  if (definition?.error) throw errorOf(definition.error, requestInfo);
}

/** The same, left to the writer. */
async function* serverStreamWritten(request: Asking, context: HandlerContext) {
  const { responseDefinition: definition } = request;
  announce(definition, context);
  const desc = descOf("ServerStreamResponse");
  const json = (bytes: Uint8Array) =>
    Buffer.from(JSON.stringify(toJson(desc, fromBinary(desc, bytes), { registry })));
  const messages = streamed(definition, requestInfo(context, [request]));
  callOf(context).streamAnswer = {
    wireOf: codecOf(context) === "JSON" ? createWire(json) : createWire(),
    trailer: context.responseTrailer,
    timeoutMs: context.timeoutMs(),
    open: (reader) => sourceOf(messages, (message) => toBinary(desc, create(desc, message)), reader),
    onPersonal() {},
    onSent() {},
    failureOf: (error) => ConnectError.from(error, Code.Internal),
    onEnd() {},
  };
  yield* [];
}

function sourceOf<T>(
  messages: AsyncGenerator<T, void>,
  bytesOf: (message: T) => Uint8Array,
  reader: Reader,
): Source {
  let next: { readonly done: boolean; readonly messages?: Messages; readonly error?: unknown } | undefined;
  let isOver = false;
  const ask = () => {
    next = undefined;
    const settle = (result: typeof next) => {
      next = result;
      reader.ready();
    };
    messages.next().then(
      ({ done, value }) => {
        if (done) settle({ done });
        else
          settle({
            done: false,
            messages: [{ isPersonal: false, enveloped: undefined, bytes: bytesOf(value) }],
          });
      },
      (error: unknown) => settle({ done: true, error }),
    );
  };
  ask();
  return {
    take() {
      if (!next || isOver) return undefined;
      const { done, error, messages: taken } = next;
      isOver = done;
      if (error !== undefined) throw error;
      if (!done) ask();
      return taken;
    },
    isWaiting: false,
    get isOver() {
      return isOver;
    },
    close() {
      isOver = true;
    },
  };
}

async function clientStream(requests: AsyncIterable<Asking>, context: HandlerContext) {
  const all: Asking[] = [];
  for await (const request of requests) all.push(request);
  return await answer(all[0]?.responseDefinition, all, context);
}

async function* bidiStream(requests: AsyncIterable<Asking>, context: HandlerContext) {
  let definition: Definition | undefined;
  let heard: Asking[] = [];
  let sent = 0;
  let isFullDuplex = false;
  for await (const request of requests) {
    if (!definition) {
      definition = request.responseDefinition;
      isFullDuplex = request.fullDuplex === true;
      announce(definition, context);
    }
    heard.push(request);
    if (!isFullDuplex) continue;
    const data = definition?.responseData[sent];
    if (data === undefined) break;
    await delay(definition?.responseDelayMs ?? 0);
    const info = sent === 0 ? requestInfo(context, heard) : create(infoDesc, { requests: heard.map(packed) });
    yield { payload: { data, requestInfo: info } };
    sent++;
    heard = [];
  }
  for (const data of definition?.responseData.slice(sent) ?? []) {
    await delay(definition?.responseDelayMs ?? 0);
    yield { payload: { data, ...(sent === 0 ? { requestInfo: requestInfo(context, heard) } : {}) } };
    sent++;
  }
  if (definition?.error)
    throw errorOf(definition.error, sent === 0 ? requestInfo(context, heard) : undefined);
}

function routes(): ConnectRouter {
  const unary = (request: Asking, context: HandlerContext) =>
    answer(request.responseDefinition, [request], context);
  const router = createConnectRouter({
    acceptCompression: [compressionGzip],
    jsonOptions: { registry },
  });
  const handlers = {
    unary,
    idempotentUnary: unary,
    clientStream,
    serverStream: way === "writer" ? serverStreamWritten : serverStream,
    bidiStream,
  };
  return router.service(serviceDesc(), handlers as unknown as ServiceImpl<DescService>);
}

async function serve({ useTls, serverCreds, clientTlsCert }: Compat): Promise<number> {
  const rpc = createRpc({
    router: routes(),
    plainRoad: { gate: async () => {}, readMaxBytes: 4 << 20, methods: new Map() },
    clock: realClock,
    shutdownSignal: new AbortController().signal,
    requestTimeoutMs: 60_000,
  });
  const about = {
    clock: realClock,
    logger: silentLogger,
    audit: { denied() {}, refusedCertificate() {}, close() {} },
    trustedProxies: readTrustedProxies([]),
  };
  const listener = createListener({
    handler(request, response) {
      const call = createCall(request.url?.split("?", 1)[0] ?? "/", request, about);
      void rpc.handle({ call, request, response });
    },
    clock: realClock,
    logger: silentLogger,
    limits: listenerDefaults,
    tls: useTls && serverCreds ? tlsFiles(serverCreds, clientTlsCert) : undefined,
    onRefusedCertificate() {},
  });
  process.once("SIGTERM", () => void listener.close(500).then(() => process.exit(0)));
  return await listener.listen(0, "127.0.0.1");
}

function tlsFiles({ cert, key }: { cert: Uint8Array; key: Uint8Array }, clientCert: Uint8Array) {
  const file = (name: string, bytes: Uint8Array) => {
    const path = join(tmpdir(), `conformance-${process.pid}-${name}.pem`);
    writeFileSync(path, bytes);
    return path;
  };
  return {
    certFile: file("cert", cert),
    keyFile: file("key", key),
    clientCaFile: clientCert.length > 0 ? file("client", clientCert) : undefined,
    minVersion: "1.2" as const,
  };
}

async function readCompat(): Promise<Compat> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) {
    chunks.push(chunk);
    const all = Buffer.concat(chunks);
    if (all.length >= 4 && all.length >= 4 + all.readUInt32BE(0))
      return fromBinary(descOf("ServerCompatRequest"), all.subarray(4, 4 + all.readUInt32BE(0))) as Compat;
  }
  throw new Error("the suite said nothing");
}

const compat = await readCompat();
const port = await serve(compat);
const desc = descOf("ServerCompatResponse");
const pem = compat.useTls ? { pemCert: compat.serverCreds?.cert ?? new Uint8Array() } : {};
const told = toBinary(desc, create(desc, { host: "127.0.0.1", port, ...pem }));
const head = Buffer.alloc(4);
head.writeUInt32BE(told.length);
process.stdout.write(Buffer.concat([head, told]));
