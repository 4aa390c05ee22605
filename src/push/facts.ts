// What a transaction reads before it decides on its mutations, all in its own snapshot: their receipts and the ledger's
// floor, the documents they mean, log entries where a version is expected, graves where a deleted record may come back,
// and what memberships grant. A fixed number of round trips, however many mutations there are.
import { readGraves } from "../ledger/graves.ts";
import { findReceiptsAndFloor } from "../ledger/ledger.ts";
import type { StoredReceipt } from "../ledger/stored-receipt.ts";
import type { MainEntry } from "../log/entry.ts";
import { readGrantsOfAll } from "../log/grants.ts";
import { readMainEntries } from "../log/read.ts";
import type { CommitClock } from "../model/commit-clock.ts";
import { type Grants, grantsHeld, type Principal } from "../model/principal.ts";
import {
  type Found,
  readDocuments,
  type Session,
  type SourceDocument,
  type SourceKey,
} from "../mongo/source-document.ts";
import { recordIdOf } from "../schema/record-id.ts";
import type { Schema } from "../schema/schema.ts";
import type { PushParts } from "./call.ts";
import { type RecordRef, recordRef, refOf, type Ticket } from "./ticket.ts";

export interface Facts {
  /** By mutation id. */
  readonly receipts: ReadonlyMap<string, StoredReceipt>;
  readonly floor: CommitClock;
  readonly documents: ReadonlyMap<RecordRef, Found>;
  /** Of records for which a mutation expects a version. */
  readonly entries: ReadonlyMap<RecordRef, MainEntry>;
  /** Of absent records which an update may bring back. */
  readonly graves: ReadonlyMap<RecordRef, SourceDocument>;
  /** What memberships grant, by principal. */
  readonly memberships: ReadonlyMap<string, Grants>;
}

/** Of the documents of one collection that a transaction reads at once. */
export const DOCUMENTS_BYTES_MAX = 64 * 2 ** 20;

/** @throws TooMuchToRead. */
export async function readFacts(
  parts: PushParts,
  tickets: readonly Ticket[],
  session: Session,
): Promise<Facts> {
  const ids = tickets.map(({ read }) => read.mutation.mutationId);
  const { receipts, floor } = await findReceiptsAndFloor(parts.ledger, ids, session);
  const documents = await readAllDocuments(parts, tickets, session);
  return {
    receipts,
    floor,
    documents,
    entries: await readExpected(parts, tickets, session),
    graves: await readNeededGraves(parts, tickets, { documents, session }),
    memberships: await readMemberships(parts, tickets, session),
  };
}

/** What a principal may see and write: by its claims, and by memberships. */
export function grantsOf({ memberships }: Pick<Facts, "memberships">, principal: Principal): Grants {
  return grantsHeld(principal, memberships.get(principal.id));
}

async function readAllDocuments(
  { source }: PushParts,
  tickets: readonly Ticket[],
  session: Session,
): Promise<Map<RecordRef, Found>> {
  const documents = new Map<RecordRef, Found>();
  for (const [collection, some] of Map.groupBy(tickets, ({ read }) => read.collection)) {
    const wanted = new Map<string, SourceKey>(some.map(({ read }) => [read.recordId, read.key]));
    const idOf = (key: unknown) => recordIdOf(collection, key);
    // One alone is as large as the database takes.
    const bytesMax = tickets.length > 1 ? DOCUMENTS_BYTES_MAX : Number.POSITIVE_INFINITY;
    const asked = { collection: collection.name, wanted, idOf, bytesMax };
    const found = await readDocuments(source, asked, session);
    for (const [recordId, document] of found) documents.set(recordRef(collection.name, recordId), document);
  }
  return documents;
}

async function readExpected(
  { log }: PushParts,
  tickets: readonly Ticket[],
  session: Session,
): Promise<Map<RecordRef, MainEntry>> {
  const expecting = tickets.filter(({ read }) => read.mutation.expectedVersion !== 0);
  if (expecting.length === 0) return new Map();
  const keys = expecting.map(({ read }) => ({ c: read.collection.name, k: read.key }));
  const entries = await readMainEntries(log, keys, session);
  return new Map(entries.map((entry) => [recordRef(entry.key.c, entry.recordId), entry]));
}

async function readNeededGraves(
  { ledger, source }: PushParts,
  tickets: readonly Ticket[],
  { documents, session }: { readonly documents: ReadonlyMap<RecordRef, Found>; readonly session: Session },
): Promise<Map<RecordRef, SourceDocument>> {
  const needed = tickets.filter(
    (ticket) =>
      ticket.read.collection.deletes === "EDIT_WINS" &&
      ticket.read.intent.kind === "update" &&
      documents.get(refOf(ticket)) === undefined,
  );
  if (needed.length === 0) return new Map();
  const refs = new Set(needed.map(refOf));
  return await readGraves(ledger, { refs: [...refs], readOptions: source.readOptions }, session);
}

async function readMemberships(
  { log, schema }: PushParts,
  tickets: readonly Ticket[],
  session: Session,
): Promise<ReadonlyMap<string, Grants>> {
  if (!grantsByMembership(schema)) return new Map();
  const principals = new Set(tickets.map(({ call }) => call.principal.id));
  return await readGrantsOfAll(log, [...principals], session);
}

function grantsByMembership({ collections }: Schema): boolean {
  return [...collections.values()].some(({ grant }) => grant !== undefined);
}
