// Receipts, from the model to the wire.
import { create } from "@bufbuild/protobuf";
import {
  Outcome as OutcomeEnum,
  type Receipt as ReceiptMessage,
  ReceiptSchema,
  RejectionReason as RejectionReasonEnum,
} from "#gen/tidemark/v1/receipt_pb.js";
import type { Receipt } from "../model/receipt.ts";
import { recordMessage } from "./records.ts";

export function receiptMessage(receipt: Receipt): ReceiptMessage {
  const { record, rejection } = receipt;
  return create(ReceiptSchema, {
    mutationId: receipt.mutationId,
    recordId: receipt.recordId,
    outcome: OutcomeEnum[receipt.outcome],
    commitClock: receipt.commitClock,
    replayed: receipt.replayed,
    recordAbsent: receipt.recordAbsent,
    conflicts: receipt.conflicts.map(({ field, name }) => ({ field, name })),
    ...(record && { record: recordMessage(record) }),
    ...(rejection && {
      rejection: {
        reason: RejectionReasonEnum[rejection.reason],
        description: rejection.description,
        violations: rejection.violations.map(({ path, ruleId, message }) => ({ path, ruleId, message })),
      },
    }),
  });
}
