// SyncService: each handler validates, translates to the model, calls, and translates back.
import { create } from "@bufbuild/protobuf";
import { ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import { ListChangesRequestSchema } from "#gen/tidemark/v1/list_changes_pb.js";
import {
  type PullChangesRequest,
  PullChangesRequestSchema,
  type PullChangesResponse,
} from "#gen/tidemark/v1/pull_changes_pb.js";
import {
  type PushMutationsRequest,
  PushMutationsRequestSchema,
  type PushMutationsResponse,
  PushMutationsResponseSchema,
} from "#gen/tidemark/v1/push_mutations_pb.js";
import type { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import type { Limiter } from "../access/limits/limiter.ts";
import type { Principal } from "../model/principal.ts";
import type { Pull } from "../pull/pull.ts";
import type { Push } from "../push/push.ts";
import type { Schema } from "../schema/schema.ts";
import { type CallContext, callOf, principalOf } from "./call.ts";
import { codecOf, frameMessage, recordFormOf } from "./codec.ts";
import { auditReceipts, frameAuditor } from "./denials.ts";
import { CACHE_CONTROL, failureOf } from "./gate.ts";
import { meterSent } from "./metering.ts";
import { mutationsFrom } from "./mutations.ts";
import { cursorMessage, listRequestFrom, pullRequestFrom } from "./pull-requests.ts";
import { receiptMessage } from "./receipts.ts";
import { validate } from "./validate.ts";
import { frameWire } from "./wire/envelopes.ts";

export interface SyncParts {
  readonly schema: Pick<Schema, "collections">;
  readonly pull: Pick<Pull, "openFlow" | "listChanges">;
  readonly push: Pick<Push, "pushMutations">;
  readonly limiter: Limiter;
}

export function createSyncService({
  schema,
  pull,
  push,
  limiter,
}: SyncParts): ServiceImpl<typeof SyncService> {
  return {
    pullChanges: (request: PullChangesRequest, context: HandlerContext) =>
      noMessages(startPull(request, context)),

    async listChanges(request, context) {
      validate(ListChangesRequestSchema, request);
      const codec = codecOf(context);
      const principal = principalOf(context);
      const page = await pull.listChanges(principal, listRequestFrom(request, codec), context.signal);
      context.signal.throwIfAborted();
      frameAuditor(callOf(context))(page.frames.filter(({ isPersonal }) => isPersonal));
      const bytes = page.frames.reduce((sum, frame) => sum + frame.bytes.length, 0);
      meterSent(callOf(context), { frames: page.frames.length, bytes }, limiter);
      const collections = request.selections.map(({ collection }) => collection);
      if (isForEverybody(collections, principal)) context.responseHeader.delete(CACHE_CONTROL);
      return {
        frames: page.frames.map((frame) => frameMessage(frame.bytes, codec)),
        cursor: cursorMessage(page.cursor),
      };
    },

    pushMutations: createPushHandler({ push, limiter }),
  };

  /** Leaves the frames to the writer of streams. */
  async function startPull(request: PullChangesRequest, context: HandlerContext): Promise<void> {
    validate(PullChangesRequestSchema, request);
    const codec = codecOf(context);
    const call = callOf(context);
    const principal = principalOf(context);
    const asked = pullRequestFrom(request, codec);
    const audit = frameAuditor(call);
    const slot = await limiter.openStream(call);
    call.streamAnswer = {
      wireOf: frameWire[codec],
      trailer: context.responseTrailer,
      timeoutMs: context.timeoutMs(),
      open: (reader) => pull.openFlow(principal, asked, reader),
      onPersonal: audit,
      onSent: (frames, bytes) => meterSent(call, { frames, bytes }, limiter),
      failureOf: (error) => failureOf(error, call),
      onEnd(outcome) {
        call.outcome = outcome instanceof ConnectError ? outcome.code : outcome;
        slot.release();
      },
    };
  }

  /** A page of public collections is the same for all anonymous callers; a cursor is always its principal's own. */
  function isForEverybody(collections: readonly string[], principal: Principal): boolean {
    const isPublic = (name: string) => schema.collections.get(name)?.isPublic === true;
    return principal.id === "" && collections.length > 0 && collections.every(isPublic);
  }
}

/** As of SyncService; for calls of either way. */
export function createPushHandler({ push, limiter }: Pick<SyncParts, "push" | "limiter">) {
  return async (request: PushMutationsRequest, context: CallContext): Promise<PushMutationsResponse> => {
    validate(PushMutationsRequestSchema, request);
    const call = callOf(context);
    const mutations = mutationsFrom(request.mutations);
    const recordForm = recordFormOf(request.recordForm, codecOf(context));
    const { atomic } = request;
    await limiter.countMutations(call, mutations.length);
    const done = await push.pushMutations(
      principalOf(context),
      { mutations, atomic, recordForm },
      context.signal,
    );
    auditReceipts(call, mutations, done.receipts);
    return create(PushMutationsResponseSchema, {
      receipts: done.receipts.map(receiptMessage),
      commitClock: done.commitClock,
    });
  };
}

/** The answer of a handler that leaves its messages to the writer. */
async function* noMessages(start: Promise<void>): AsyncGenerator<PullChangesResponse, void, undefined> {
  await start;
  yield* [];
}
