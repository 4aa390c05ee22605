// Ledger entries, from the model to the wire.
import { create } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type LedgerConflict as LedgerConflictMessage,
  LedgerConflictSchema,
  type LedgerEntry as LedgerEntryMessage,
  LedgerEntrySchema,
  MutationKind,
} from "#gen/tidemark/v1/ledger_entry_pb.js";
import type { LedgerConflict, LedgerEntry } from "../model/ledger-entry.ts";
import { receiptMessage } from "./receipts.ts";
import { recordMessage } from "./records.ts";

export function ledgerEntryMessage(entry: LedgerEntry): LedgerEntryMessage {
  const madeAt = entry.madeAtMs === undefined ? undefined : timestampIn(entry.madeAtMs);
  return create(LedgerEntrySchema, {
    receipt: receiptMessage(entry.receipt),
    principal: entry.principal,
    device: entry.device,
    receivedAt: timestampFromMs(entry.receivedAtMs),
    ...(madeAt && { madeAt }),
    collection: entry.collection,
    kind: kinds[entry.kind],
    fields: entry.fields.map(({ field, name }) => ({ field, name })),
    conflicts: entry.conflicts.map(conflictMessage),
  });
}

const kinds = {
  create: MutationKind.CREATE,
  update: MutationKind.UPDATE,
  delete: MutationKind.DELETE,
} as const;

function conflictMessage({ field, name, base, current, proposed }: LedgerConflict): LedgerConflictMessage {
  return create(LedgerConflictSchema, {
    field,
    name,
    ...(base && { base: recordMessage(base) }),
    ...(current && { current: recordMessage(current) }),
    ...(proposed && { proposed: recordMessage(proposed) }),
  });
}

/** The years 1 to 9999. */
const TIMESTAMP_MS_MIN = -62_135_596_800_000;
const TIMESTAMP_MS_MAX = 253_402_300_799_999;

/** A client's clock says what it likes; JSON has no form for times beyond these. */
function timestampIn(ms: number): Timestamp | undefined {
  return ms >= TIMESTAMP_MS_MIN && ms <= TIMESTAMP_MS_MAX ? timestampFromMs(ms) : undefined;
}
