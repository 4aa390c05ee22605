// ReceiptService: what became of mutations, as past-receipts.ts tells it to this caller.
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { GetReceiptRequestSchema, GetReceiptResponseSchema } from "#gen/tidemark/v1/get_receipt_pb.js";
import {
  type ListReceiptsRequest,
  ListReceiptsRequestSchema,
  ListReceiptsResponseSchema,
} from "#gen/tidemark/v1/list_receipts_pb.js";
import { Outcome as OutcomeEnum } from "#gen/tidemark/v1/receipt_pb.js";
import type { ReceiptService } from "#gen/tidemark/v1/receipt_service_pb.js";
import type { ListReceipts, PastReceipts } from "../push/past-receipts.ts";
import { principalOf } from "./call.ts";
import { type Codec, codecOf, recordFormOf } from "./codec.ts";
import { ledgerEntryMessage } from "./ledger-entries.ts";
import { validate } from "./validate.ts";

export function createReceiptService(receipts: PastReceipts): ServiceImpl<typeof ReceiptService> {
  return {
    async getReceipt(request, context) {
      validate(GetReceiptRequestSchema, request);
      const mutationId = request.mutationId.toLowerCase();
      const recordForm = recordFormOf(request.recordForm, codecOf(context));
      const asked = { mutationId, recordForm };
      const entry = await receipts.getReceipt(principalOf(context), asked, context.signal);
      context.signal.throwIfAborted();
      return create(GetReceiptResponseSchema, { entry: ledgerEntryMessage(entry) });
    },

    async listReceipts(request, context) {
      validate(ListReceiptsRequestSchema, request);
      const asked = listReceiptsFrom(request, codecOf(context));
      const principal = principalOf(context);
      const { entries, nextPageToken } = await receipts.listReceipts(principal, asked, context.signal);
      context.signal.throwIfAborted();
      return create(ListReceiptsResponseSchema, { entries: entries.map(ledgerEntryMessage), nextPageToken });
    },
  };
}

const PAGE_SIZE = 50;

/** Validation has been: collection and record id come together. */
function listReceiptsFrom(request: ListReceiptsRequest, codec: Codec): ListReceipts {
  const { principal, device, collection, recordId, pageToken } = request;
  return {
    principal,
    device,
    record: collection === "" ? undefined : { collection, recordId },
    outcomes: request.outcomes.flatMap(outcomeFrom),
    pageSize: request.pageSize || PAGE_SIZE,
    pageToken,
    recordForm: recordFormOf(request.recordForm, codec),
  };
}

const OUTCOMES = ["APPLIED", "MERGED", "CONFLICT", "REJECTED"] as const;

function outcomeFrom(asked: OutcomeEnum): ListReceipts["outcomes"] {
  return OUTCOMES.filter((outcome) => OutcomeEnum[outcome] === asked);
}
