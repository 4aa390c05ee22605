// An edge on a free port, with the demo's schema and stand-ins for pull and push that a test scripts. What is tested
// here is the edge: sockets, protocols and errors are real.
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { onTestFinished } from "vitest";
import { PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import { readTrustedProxies } from "../../src/access/address.ts";
import { createAuthenticator } from "../../src/access/authenticate.ts";
import { createClientVersions } from "../../src/access/client-versions.ts";
import type { TlsSettings } from "../../src/edge/certificates.ts";
import { createEdge, type Edge } from "../../src/edge/edge.ts";
import { type ListenerLimits, listenerDefaults } from "../../src/edge/listener.ts";
import type { EdgeParts } from "../../src/edge/router.ts";
import type { Frame } from "../../src/frames/frame.ts";
import { loadDescriptorSet } from "../../src/generate/load-descriptor-set.ts";
import type { Clock } from "../../src/model/clock.ts";
import type { Logger } from "../../src/model/logger.ts";
import { SyncError } from "../../src/model/sync-error.ts";
import { readSchema, type Schema } from "../../src/schema/schema.ts";
import { flowsOf, type ScriptedFrames } from "./flow-of.ts";

export const SECRET = "edge-test-secret-of-forty-characters-....";

export const clock: Clock = {
  nowMs: Date.now,
  sleep: (ms, signal) => delay(ms, undefined, { signal }).catch(() => {}),
};

const noLimits: EdgeParts["limiter"] = {
  openStreams: 0,
  isShared: false,
  arrive: async () => undefined,
  enter: async () => {},
  countMutations: async () => {},
  countBytes() {},
  openStream: async () => ({ release() {} }),
  close: async () => {},
};

let demo: Promise<Schema> | undefined;

export function demoSchema(): Promise<Schema> {
  demo ??= loadDescriptorSet(fileURLToPath(new URL("../../proto/demo", import.meta.url))).then(readSchema);
  return demo;
}

type FrameInit = NonNullable<MessageInitShape<typeof PullChangesResponseSchema>["frame"]>;

export function frame(of: Exclude<FrameInit, { case: undefined }>): Frame {
  const init: MessageInitShape<typeof PullChangesResponseSchema> = Object.assign({}, { frame: of });
  const bytes = toBinary(PullChangesResponseSchema, create(PullChangesResponseSchema, init));
  return {
    kind: of.case,
    bytes,
    enveloped: undefined,
    isPersonal: of.case === "opened",
    position: undefined,
  };
}

export interface LogLine {
  readonly level: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

export interface Started {
  readonly edge: Edge;
  readonly port: number;
  readonly url: string;
  readonly lines: readonly LogLine[];
  /** Each metric counted: its name, then its label. */
  readonly counts: readonly string[];
}

export interface ScriptedPull extends Partial<EdgeParts["pull"]> {
  /** Instead of flows. */
  readonly pullChanges?: ScriptedFrames;
}

export interface Script {
  readonly pull?: ScriptedPull;
  readonly push?: Partial<EdgeParts["push"]>;
  readonly receipts?: Partial<EdgeParts["receipts"]>;
  readonly authenticate?: EdgeParts["authenticate"];
  readonly limiter?: EdgeParts["limiter"];
  readonly schema?: Schema;
  readonly limits?: Partial<ListenerLimits>;
  readonly corsOrigins?: readonly string[];
  readonly tls?: TlsSettings;
  readonly trustedProxies?: readonly string[];
  readonly oldest?: Readonly<Record<string, string>>;
  readonly deprecated?: Readonly<Record<string, string>>;
  readonly upgradeUrls?: Readonly<Record<string, string>>;
  readonly flags?: Readonly<Record<string, boolean>>;
  /** Default: the real one. */
  readonly clock?: Clock;
  /** Leave it starting. */
  readonly closed?: boolean;
}

/** Closed when the test ends. */
export async function startEdge(script: Script = {}): Promise<Started> {
  const lines: LogLine[] = [];
  const counts: string[] = [];
  const edge = createEdge({
    clock: script.clock ?? clock,
    logger: recordingLogger(lines, {}),
    version: "0.0.0-test",
    receiptDays: 90,
    tombstoneDays: 30,
    mutationBytesMax: 1_048_576,
    corsOrigins: script.corsOrigins ?? ["*"],
    limits: { ...listenerDefaults, ...script.limits },
    tls: script.tls,
    trustedProxies: readTrustedProxies(script.trustedProxies ?? []),
    clientVersions: createClientVersions({
      oldest: new Map(Object.entries(script.oldest ?? {})),
      deprecated: new Map(Object.entries(script.deprecated ?? {})),
      upgradeUrls: new Map(Object.entries(script.upgradeUrls ?? {})),
    }),
    featureFlags: new Map(Object.entries(script.flags ?? {})),
    metrics: {
      count: (name, labels) => void counts.push([name, ...Object.values(labels ?? {})].join(" ")),
    },
    waitingFor: () => (script.closed ? ["the database"] : []),
  });
  onTestFinished(() => edge.close(200));
  const port = await edge.listen(0, "127.0.0.1");
  if (!script.closed) edge.open(await scriptedParts(script));
  return { edge, port, url: `${script.tls ? "https" : "http"}://127.0.0.1:${port}`, lines, counts };
}

export async function scriptedParts(script: Script): Promise<EdgeParts> {
  const schema = script.schema ?? (await demoSchema());
  return {
    schema,
    limiter: script.limiter ?? noLimits,
    authenticate:
      script.authenticate ?? createAuthenticator({ schema, devMode: true, tokenSecret: SECRET, clock }),
    pull: {
      openFlow: flowsOf(script.pull?.pullChanges ?? async function* () {}),
      listChanges: async () => ({
        frames: [],
        cursor: { subscription: "s", position: 0, checkpoint: 0 },
      }),
      drain() {},
      ...script.pull,
    },
    push: { pushMutations: async () => ({ receipts: [], commitClock: 0n }), ...script.push },
    receipts: {
      getReceipt: () => Promise.reject(new SyncError("NOT_FOUND", "no receipt")),
      listReceipts: async () => ({ entries: [], nextPageToken: "" }),
      ...script.receipts,
    },
  };
}

function recordingLogger(lines: LogLine[], bound: object): Logger {
  const log = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields: { ...bound, ...fields }, message });
  };
  return {
    debug: log("debug"),
    info: log("info"),
    warn: log("warn"),
    error: log("error"),
    child: (fields) => recordingLogger(lines, { ...bound, ...fields }),
  };
}

export const asAna = { headers: { authorization: "Bearer dev-ana" } };

/** Every protocol, codec and HTTP version a client may speak. */
export const transports: Readonly<Record<string, (baseUrl: string) => Transport>> = {
  "gRPC proto h2c": (baseUrl) => createGrpcTransport({ baseUrl }),
  "gRPC JSON h2c": (baseUrl) => createGrpcTransport({ baseUrl, useBinaryFormat: false }),
  "gRPC-web proto h2c": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
  "gRPC-web proto HTTP/1.1": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  "gRPC-web JSON HTTP/1.1": (baseUrl) =>
    createGrpcWebTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
  "Connect proto h2c": (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: true }),
  "Connect JSON h2c": (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: false }),
  "Connect proto HTTP/1.1": (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: true }),
  "Connect JSON HTTP/1.1": (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
  "Connect GET JSON": (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false, useHttpGet: true }),
  "Connect GET proto h2c": (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: true, useHttpGet: true }),
};

export const transportNames = Object.keys(transports);

export function clientOf(url: string, transport = "gRPC proto h2c") {
  const make = transports[transport];
  if (make === undefined) throw new Error(`no transport ${transport}`);
  return createClient(SyncService, make(url));
}
