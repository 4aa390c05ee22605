// Past receipts, told to who may know: principals their own, services anybody's. What the sides of a conflict were is
// told to principals only while READ covers the scopes the record is in now; hidden fields are told to nobody, also
// where they were hidden since, at whatever depth. Nothing is written.
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { findReceipts, type Ledger } from "../ledger/ledger.ts";
import { type RecordName, readReceipts } from "../ledger/read-receipts.ts";
import { pageTokenOf, positionOf } from "../ledger/receipt-position.ts";
import type { StoredConflict, StoredReceipt } from "../ledger/stored-receipt.ts";
import { readGrants } from "../log/grants.ts";
import type { Log } from "../log/log.ts";
import type { CommitClock } from "../model/commit-clock.ts";
import type { LedgerConflict, LedgerEntry, NamedField } from "../model/ledger-entry.ts";
import { type Grants, grantsHeld, type Principal } from "../model/principal.ts";
import type { RecordForm } from "../model/record-form.ts";
import { SyncError } from "../model/sync-error.ts";
import { readDocuments, type Source, type SourceKey } from "../mongo/source-document.ts";
import { sourceReadOptions } from "../schema/bson-value.ts";
import type { Collection } from "../schema/collection.ts";
import { isBeyondJson } from "../schema/json-limits.ts";
import { keyOf, recordIdOf } from "../schema/record-id.ts";
import { recordToJson } from "../schema/record-json.ts";
import type { Schema } from "../schema/schema.ts";
import type { IsPresent } from "./call.ts";
import { viewOf } from "./decide.ts";

export interface PastReceiptsOptions {
  readonly client: Source["client"];
  readonly sourceDb: string;
  readonly log: Log;
  readonly ledger: Ledger;
  readonly schema: Schema;
  /** Asked before values of conflicts are told. Default: always. */
  readonly isPresent?: IsPresent;
}

export interface GetReceipt {
  readonly mutationId: string;
  /** Of the values in conflicts. */
  readonly recordForm: RecordForm["form"];
}

export interface ListReceipts {
  /** Empty: the caller's own, or, where a service names a record, everybody's. */
  readonly principal: string;
  /** Empty: the caller's own; for services: any. */
  readonly device: string;
  /** Its id in any form a client may write; undefined: any record. */
  readonly record: RecordName | undefined;
  /** Empty: any. */
  readonly outcomes: readonly StoredReceipt["outcome"][];
  /** Entries in a page, at most. */
  readonly pageSize: number;
  /** Empty: the first page. */
  readonly pageToken: string;
  /** Of the values in conflicts. */
  readonly recordForm: RecordForm["form"];
}

export interface ReceiptList {
  /** The latest first. */
  readonly entries: readonly LedgerEntry[];
  /** Empty: this was the last page. */
  readonly nextPageToken: string;
}

/** The signal is obeyed between reads. */
export interface PastReceipts {
  /** @throws SyncError NOT_FOUND if there is none, or none for this principal to see; FORBIDDEN. */
  getReceipt(principal: Principal, request: GetReceipt, signal: AbortSignal): Promise<LedgerEntry>;
  /** @throws SyncError FORBIDDEN, INVALID_REQUEST for a token this server didn't give, REQUEST_TOO_LARGE. */
  listReceipts(principal: Principal, request: ListReceipts, signal: AbortSignal): Promise<ReceiptList>;
}

/** Values in one page, in their binary form: a page with more of them ends early. */
const VALUES_BYTES_MAX = 2 ** 20;

export function createPastReceipts(options: PastReceiptsOptions): PastReceipts {
  const { client, sourceDb, ledger } = options;
  const source: Source = { client, databaseName: sourceDb, readOptions: sourceReadOptions };
  return {
    async getReceipt(principal, { mutationId, recordForm }, signal) {
      const parts: Parts = { ...options, source, signal };
      refuseAnonymous(principal);
      const { receipts, readAt } = await findReceipts(ledger, [mutationId]);
      const stored = receipts.get(mutationId);
      if (stored === undefined || !(principal.isService || stored.principal === principal.id)) {
        throw new SyncError("NOT_FOUND", "there is no receipt of this mutation, or it is not yours to see");
      }
      const visible = await visibleRecords(parts, principal, [stored]);
      return entryOf({ schema: parts.schema, visible, readAt, recordForm }, stored);
    },

    async listReceipts(principal, request, signal) {
      const parts: Parts = { ...options, source, signal };
      const query = {
        ...whose(principal, request),
        record: request.record && canonical(parts.schema, request.record),
        outcomes: request.outcomes,
        after: request.pageToken === "" ? undefined : positionOf(request.pageToken),
        max: request.pageSize,
      };
      const { receipts, next, readAt } = await readReceipts(ledger, query);
      const page = cutByValues(receipts);
      const visible = await visibleRecords(parts, principal, page);
      const telling = { schema: parts.schema, visible, readAt, recordForm: request.recordForm };
      const last = page.length < receipts.length ? page.at(-1) : next;
      return {
        entries: page.map((stored) => entryOf(telling, stored)),
        nextPageToken: last ? pageTokenOf(last) : "",
      };
    },
  };
}

interface Parts extends PastReceiptsOptions {
  readonly source: Source;
  readonly signal: AbortSignal;
}

function refuseAnonymous({ id }: Principal): void {
  if (id === "") throw new SyncError("FORBIDDEN", "send a token: callers without one have no receipts");
}

/** Whose receipts this caller gets that asks so. */
function whose(
  caller: Principal,
  { principal, device, record }: ListReceipts,
): { principal: string | undefined; device: string | undefined } {
  refuseAnonymous(caller);
  if (caller.isService) {
    const everybody = principal === "" && record !== undefined;
    return { principal: everybody ? undefined : principal || caller.id, device: device || undefined };
  }
  if (principal !== "" && principal !== caller.id) {
    throw new SyncError("FORBIDDEN", "another principal's receipts are for services to see: leave it out");
  }
  if (device !== "" && device !== caller.device) {
    throw new SyncError("FORBIDDEN", "another device's receipts are for services to see: leave it out");
  }
  return { principal: caller.id, device: caller.device };
}

/** A collection the schema no longer has keeps its ids as they were recorded. */
function canonical({ collections }: Schema, { collection: name, recordId }: RecordName): RecordName {
  const collection = collections.get(name);
  const key = collection && keyOf(collection, recordId);
  const id = key === undefined ? undefined : collection && recordIdOf(collection, key);
  return { collection: name, recordId: id ?? recordId };
}

/** As many of them, the first always, as keep a response small. */
function cutByValues(receipts: readonly StoredReceipt[]): readonly StoredReceipt[] {
  let bytes = 0;
  const end = receipts.findIndex(({ conflicts }) => {
    const before = bytes;
    for (const { base, current, proposed } of conflicts) {
      bytes += (base?.length ?? 0) + (current?.length ?? 0) + (proposed?.length ?? 0);
    }
    return before > 0 && bytes > VALUES_BYTES_MAX;
  });
  return end < 0 ? receipts : receipts.slice(0, end);
}

type IsVisible = (receipt: StoredReceipt) => boolean;

/** Documents read at once: they may be large. */
const DOCUMENTS_PER_READ_MAX = 100;

/** Of which of these receipts the principal may know the values. */
async function visibleRecords(
  parts: Parts,
  principal: Principal,
  receipts: readonly StoredReceipt[],
): Promise<IsVisible> {
  const { schema, isPresent = () => true } = parts;
  const isTold = ({ collection: name, conflicts }: StoredReceipt) => {
    const collection = schema.collections.get(name);
    return conflicts.length > 0 && collection !== undefined && isPresent(collection);
  };
  if (principal.isService) return isTold;
  const concerned = receipts.filter(isTold);
  if (concerned.length === 0) return () => false;
  parts.signal.throwIfAborted();
  const grants = await currentGrants(parts, principal);
  const visible = new Map<string, ReadonlySet<string>>();
  for (const [name, some] of Map.groupBy(concerned, ({ collection }) => collection)) {
    const collection = parts.schema.collections.get(name);
    if (collection) visible.set(name, await visibleIn(parts, collection, { some, grants }));
  }
  return ({ collection, recordId }) => visible.get(collection)?.has(recordId) ?? false;
}

async function visibleIn(
  { source, signal }: Parts,
  collection: Collection,
  { some, grants }: { readonly some: readonly StoredReceipt[]; readonly grants: Grants },
): Promise<ReadonlySet<string>> {
  const idOf = (key: unknown) => recordIdOf(collection, key);
  const keys = new Map<string, SourceKey>();
  for (const { recordId } of some) {
    const key = keyOf(collection, recordId);
    if (key !== undefined) keys.set(recordId, key as SourceKey);
  }
  const all = [...keys];
  const visible = new Set<string>();
  for (let i = 0; i < all.length; i += DOCUMENTS_PER_READ_MAX) {
    signal.throwIfAborted();
    const wanted = new Map(all.slice(i, i + DOCUMENTS_PER_READ_MAX));
    for (const [recordId, document] of await readDocuments(source, {
      collection: collection.name,
      wanted,
      idOf,
    })) {
      if (viewOf({ collection, recordId }, document, grants).visible) visible.add(recordId);
    }
  }
  return visible;
}

async function currentGrants({ log, schema }: Parts, principal: Principal): Promise<Grants> {
  const fromMemberships = [...schema.collections.values()].some(({ grant }) => grant !== undefined);
  return grantsHeld(principal, fromMemberships ? await readGrants(log, principal.id) : undefined);
}

interface Telling {
  readonly schema: Schema;
  readonly visible: IsVisible;
  readonly readAt: CommitClock;
  readonly recordForm: RecordForm["form"];
}

function entryOf({ schema, visible, readAt, recordForm }: Telling, stored: StoredReceipt): LedgerEntry {
  const { mutationId, recordId, outcome, recordAbsent, rejection } = stored;
  const collection = schema.collections.get(stored.collection);
  const told = visible(stored) ? stored.conflicts : [];
  const conflicts = collection ? told.flatMap((sides) => conflictOf(collection, sides, recordForm)) : [];
  const isCommitted = outcome === "APPLIED" || outcome === "MERGED";
  return {
    receipt: {
      mutationId,
      recordId,
      outcome,
      commitClock: isCommitted ? readAt : 0n,
      replayed: true,
      record: undefined,
      recordAbsent,
      conflicts: conflicts.map(({ field, name }) => ({ field, name })),
      rejection,
    },
    principal: stored.principal,
    device: stored.device,
    receivedAtMs: stored.atMs,
    madeAtMs: stored.madeAtMs,
    collection: stored.collection,
    kind: stored.kind,
    fields: stored.fields.flatMap((number) => shownField(collection, number)),
    conflicts,
  };
}

/** None if the schema has lost or hidden it. */
function shownField(collection: Collection | undefined, number: number): NamedField[] {
  const field = collection?.fieldsByNumber.get(number);
  return field && field.access !== "HIDDEN" ? [{ field: number, name: field.name }] : [];
}

function conflictOf(
  collection: Collection,
  { field: number, base, current, proposed }: StoredConflict,
  form: RecordForm["form"],
): LedgerConflict[] {
  const told = (value: Uint8Array | undefined) => value && valueAsNow(collection, value, form);
  return shownField(collection, number).map(({ field, name }) => ({
    field,
    name,
    base: told(base),
    current: told(current),
    proposed: told(proposed),
  }));
}

/**
 * A value kept long ago as the schema reads it now: without what was hidden or dropped inside it since. Undefined if it
 * can't be read any more, the field having another type, or if the form can't carry it.
 */
function valueAsNow(
  collection: Collection,
  value: Uint8Array,
  form: RecordForm["form"],
): RecordForm | undefined {
  try {
    const message = fromBinary(collection.message, value, { readUnknownFields: false });
    const bytes = toBinary(collection.message, message);
    if (form === "PROTO") return { form, bytes };
    return isBeyondJson(collection, bytes) ? undefined : { form, json: recordToJson(collection, bytes) };
  } catch {
    return undefined;
  }
}
