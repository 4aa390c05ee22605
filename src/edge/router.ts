// All services behind one gate: which they are, who may call them, how large messages may be and what is compressed.
import type { DescMethod } from "@bufbuild/protobuf";
import { type ConnectRouter, createConnectRouter } from "@connectrpc/connect";
import { compressionGzip } from "@connectrpc/connect-node";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { ReceiptService } from "#gen/tidemark/v1/receipt_service_pb.js";
import { ServerService } from "#gen/tidemark/v1/server_service_pb.js";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import type { Authenticate } from "../access/authenticate.ts";
import type { ClientVersions } from "../access/client-versions.ts";
import type { Limiter } from "../access/limits/limiter.ts";
import type { Pull } from "../pull/pull.ts";
import type { PastReceipts } from "../push/past-receipts.ts";
import type { Push } from "../push/push.ts";
import type { Schema } from "../schema/schema.ts";
import { createGate, translateErrors } from "./gate.ts";
import { createHealth } from "./health.ts";
import { createReceiptService } from "./receipt-service.ts";
import { addReflection } from "./reflection.ts";
import { createServerService, type ServerFacts } from "./server-service.ts";
import type { Serving } from "./serving.ts";
import { createPushHandler, createSyncService } from "./sync-service.ts";

/** What the edge serves. The caller owns and closes them, after the edge. */
export interface EdgeParts {
  readonly schema: Schema;
  readonly authenticate: Authenticate;
  readonly limiter: Limiter;
  readonly pull: Pick<Pull, "openFlow" | "listChanges" | "drain">;
  readonly push: Pick<Push, "pushMutations">;
  readonly receipts: PastReceipts;
}

export interface RouterOptions extends EdgeParts {
  readonly facts: ServerFacts;
  readonly clientVersions: ClientVersions;
  readonly serving: Serving;
  /** Aborts the calls still in progress, with the error they end with. */
  readonly shutdownSignal: AbortSignal;
  readonly retryAfterMs: number;
}

/** The contract's 4 MiB, for a message as it arrives and once decompressed. */
export const REQUEST_BYTES_MAX = 4 * 1024 * 1024;
/** A bound on mistakes: receipts of 1,000 conflicts carry 1,000 records. */
const RESPONSE_BYTES_MAX = 64 * 1024 * 1024;

/** Services that ask for a principal. */
const GUARDED: ReadonlySet<string> = new Set([SyncService.typeName, ReceiptService.typeName]);

/** Those methods whose plain calls don't need Connect, and what they pass. */
export function createPlainRoad(options: RouterOptions) {
  const { pushMutations } = SyncService.method;
  const push = { method: pushMutations, handle: createPushHandler(options) };
  return {
    gate: createGate({ ...options, guarded: GUARDED }),
    readMaxBytes: REQUEST_BYTES_MAX,
    methods: new Map([[pathOf(pushMutations), push]]),
  };
}

export type PlainRoad = ReturnType<typeof createPlainRoad>;

function pathOf({ parent, name }: DescMethod): string {
  return `/${parent.typeName}/${name}`;
}

export function createRouter(options: RouterOptions): ConnectRouter {
  const { schema, serving } = options;
  const router = createConnectRouter({
    acceptCompression: [compressionGzip],
    readMaxBytes: REQUEST_BYTES_MAX,
    writeMaxBytes: RESPONSE_BYTES_MAX,
    interceptors: [translateErrors],
    requestGate: createGate({ ...options, guarded: GUARDED }),
    shutdownSignal: options.shutdownSignal,
  });
  const sync = createSyncService(options);
  router.rpc(SyncService.method.pullChanges, sync.pullChanges);
  router.rpc(SyncService.method.listChanges, sync.listChanges);
  router.rpc(SyncService.method.pushMutations, sync.pushMutations);
  router.service(ReceiptService, createReceiptService(options.receipts));
  router.service(ServerService, createServerService(schema, options.facts));
  const services = [SyncService, ReceiptService, ServerService, Health];
  const names = services.map(({ typeName }) => typeName);
  router.service(Health, createHealth(serving, names));
  addReflection(router, services, schema.files);
  return router;
}
