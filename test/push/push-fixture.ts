// A push on fresh databases, with a schema that has a field of every kind push treats in a way of its own.
// Mutations are written by hand, in JSON form unless the test says otherwise.
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { Collection, Document } from "mongodb";
import { compileProtos } from "../../src/generate/compile-protos.ts";
import { type Ledger, openLedger } from "../../src/ledger/ledger.ts";
import { type Log, openLog } from "../../src/log/log.ts";
import { realClock } from "../../src/main.ts";
import type { Clock } from "../../src/model/clock.ts";
import type { Logger } from "../../src/model/logger.ts";
import { silentLogger } from "../../src/model/logger.ts";
import { MUTATION_BYTES_MAX, type Mutation, type MutationKind } from "../../src/model/mutation.ts";
import type { Principal } from "../../src/model/principal.ts";
import type { Receipt } from "../../src/model/receipt.ts";
import type { JsonObject, RecordForm } from "../../src/model/record-form.ts";
import { openSessionPool, type SessionPool } from "../../src/mongo/session-pool.ts";
import type { PushRequest } from "../../src/push/call.ts";
import { createPush, PUSH_SESSIONS, type Push, type PushResult } from "../../src/push/push.ts";
import { readSchema, type Schema } from "../../src/schema/schema.ts";
import { grantsOfClaims } from "../../src/schema/scopes.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";

export const NOW_MS = Date.now();

export interface PushFixture {
  readonly database: TestDatabase;
  readonly schema: Schema;
  readonly log: Log;
  readonly ledger: Ledger;
  readonly push: Push;
  readonly sessions: SessionPool;
  /** The time by the node's clock; a test may move it. */
  readonly time: { nowMs: number };
  readonly notes: Collection<Document & { _id: string }>;
  close(): Promise<void>;
}

let schema: Promise<Schema> | undefined;

function pushSchema(): Promise<Schema> {
  schema ??= compileProtos(fileURLToPath(new URL("protos", import.meta.url))).then(readSchema);
  return schema;
}

export async function pushFixture(
  options: {
    readonly database?: TestDatabase;
    readonly logger?: Logger;
    readonly mutationBytesMax?: number;
  } = {},
): Promise<PushFixture> {
  const database = options.database ?? (await testDatabase());
  const { client, sourceDb, tidemarkDb } = database;
  const time = { nowMs: NOW_MS };
  const clock: Clock = { nowMs: () => time.nowMs, sleep: () => Promise.resolve() };
  const log = await openLog(client, tidemarkDb);
  const ledger = await openLedger(client, tidemarkDb);
  const sessions = await openSessionPool({
    client,
    db: log.db,
    clock: realClock,
    nodeId: "test",
    size: PUSH_SESSIONS,
  });
  const parts = { client, sourceDb, log, ledger, schema: await pushSchema(), clock, sessions };
  const { logger = silentLogger, mutationBytesMax = MUTATION_BYTES_MAX } = options;
  const push = createPush({ ...parts, logger, mutationBytesMax });
  const close = async () => {
    await push.close();
    await sessions.close();
    await database.drop();
  };
  return { ...parts, database, push, time, notes: database.source.collection("notes"), close };
}

/** @param device one per principal by default. */
export async function principal(
  id: string,
  claims: Record<string, unknown> = {},
  device = `${id}'s phone`,
): Promise<Principal> {
  const claimGrants = grantsOfClaims(await pushSchema(), id === "" ? undefined : { sub: id, ...claims });
  return { id, claimGrants, device, isService: false, expiresAtMs: undefined };
}

type Sent = Partial<Omit<Mutation, "kind">>;

export function create(recordId: string, json: JsonObject, sent: Sent = {}): Mutation {
  return mutation(recordId, { case: "create", record: { form: "JSON", json } }, sent);
}

export function update(recordId: string, json: JsonObject, base?: JsonObject, sent: Sent = {}): Mutation {
  const kind = { case: "update", record: { form: "JSON", json }, changed: [], base: formOf(base) } as const;
  return mutation(recordId, kind, sent);
}

export function remove(recordId: string, base?: JsonObject, sent: Sent = {}): Mutation {
  return mutation(recordId, { case: "delete", base: formOf(base) }, sent);
}

export function mutation(recordId: string, kind: MutationKind, sent: Sent = {}): Mutation {
  return {
    mutationId: randomUUID(),
    collection: "notes",
    recordId,
    madeAtMs: undefined,
    madeAfter: 0n,
    expectedVersion: 0,
    kind,
    ...sent,
  };
}

function formOf(json: JsonObject | undefined): RecordForm | undefined {
  return json && { form: "JSON", json };
}

export interface Sending extends Partial<Omit<PushRequest, "mutations">> {
  /** `ana` by default. */
  readonly as?: string;
  /** `<id>'s phone` by default. */
  readonly device?: string;
  readonly signal?: AbortSignal;
}

export async function send(
  { push }: PushFixture,
  mutations: readonly Mutation[],
  { as = "ana", device, signal = new AbortController().signal, ...request }: Sending = {},
): Promise<PushResult> {
  const whole = { mutations, atomic: false, recordForm: "JSON", ...request } as const;
  return await push.pushMutations(await principal(as, {}, device), whole, signal);
}

export async function sendOne(fixture: PushFixture, one: Mutation, sending: Sending = {}): Promise<Receipt> {
  const { receipts } = await send(fixture, [one], sending);
  const [receipt] = receipts;
  if (receipt === undefined || receipts.length > 1) throw new Error("one mutation has one receipt");
  return receipt;
}

export function grantTeam(log: Log, user: string, access: "READ" | "READ_WRITE"): Promise<unknown> {
  const _id = { c: "members", k: `${user}@red` };
  return log.grants.insertOne({ _id, principal: user, scope: "team:red", access });
}
