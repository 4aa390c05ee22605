// One run of devices, pullers and a direct writer against two servers that are killed again and again: what it was, and
// every fault found in it.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BSON } from "mongodb";
import { Outcome } from "#gen/tidemark/v1/receipt_pb.js";
import { commitClockOf } from "../../src/model/commit-clock.ts";
import { encodeDocument } from "../../src/schema/encode-document.ts";
import { recordToJson } from "../../src/schema/record-json.ts";
import type { TestDatabase } from "../support/mongo.ts";
import { randomOf } from "../support/random.ts";
import { waitFor } from "../support/wait-for.ts";
import { type Evidence, faultsOf, type LedgerRow } from "./push-check.ts";
import { Device, isFinal, startingKeys, type Telling } from "./push-device.ts";
import { type Fields, firstContent, HALL } from "./push-edits.ts";
import { Puller, type TakenBack } from "./push-puller.ts";
import { COLLECTIONS, type Collections, prepareSchema } from "./push-schema.ts";
import { Servers } from "./push-servers.ts";
import { Witness } from "./push-witness.ts";

const PRINCIPALS = ["ana", "ben", "cem"];
const DEVICES_EACH = 3;
/** Until a push is settled, whoever died of those it was sent to. */
const SLOWEST_MS_MAX = 15_000;

export interface RunOptions {
  readonly database: TestDatabase;
  readonly seed: string;
  readonly kills: number;
}

export interface Told {
  readonly faults: readonly string[];
  readonly counts: Readonly<Record<string, number>>;
}

export async function runKilledPushes(options: RunOptions): Promise<Told> {
  const { database, seed, kills } = options;
  const folder = await mkdtemp(join(tmpdir(), "tidemark-kills-"));
  const { collections, file } = await prepareSchema(folder);
  const servers = new Servers({ database, schemaFile: file, seed, kills });
  let witness: Witness | undefined;
  const pullers: Puller[] = [];
  try {
    await insertStart(database);
    witness = await Witness.start(database);
    await servers.start();
    const takenBack: TakenBack = { deletes: new Set(), tags: new Set() };
    for (const principal of PRINCIPALS) {
      const random = randomOf(seed, `puller of ${principal}`);
      pullers.push(new Puller({ principal, servers, collections, takenBack, random }));
    }
    await waitFor(() => pullers.every(({ checkpoints }) => checkpoints > 0), { what: "first checkpoints" });
    const devices = pullers.flatMap((puller) =>
      Array.from({ length: DEVICES_EACH }, (_, n) => {
        const name = `${puller.principal}-${n}`;
        return new Device({ name, puller, servers, takenBack, random: randomOf(seed, name) });
      }),
    );
    const direct = await workUntilKilled({ options, servers, devices });
    const behind = await pullersBehind(database, pullers);
    const evidence = await evidenceOf({ database, devices, witness, direct });
    const faults = [
      ...faultsOf(evidence),
      ...devices.flatMap((device) => device.faults),
      ...pullers.flatMap(({ effects }) => effects.faults),
      ...behind,
      ...(await divergences(database, collections, pullers)),
      ...slownessFaults(devices),
    ];
    for (const puller of pullers) await puller.close();
    const codes = await servers.stop();
    if (codes.some((code) => code !== 0)) faults.push(`servers ended with ${codes.join()}`);
    return { faults, counts: countsOf({ evidence, devices, pullers, servers, direct }) };
  } finally {
    await Promise.all(pullers.map((puller) => puller.close().catch(() => {})));
    await servers.end();
    await witness?.close();
    await rm(folder, { recursive: true });
  }
}

async function insertStart({ source }: TestDatabase): Promise<void> {
  for (const name of COLLECTIONS) {
    const keys = startingKeys.filter((key) => key.startsWith(`${name}/`));
    const ids = keys.map((key) => key.slice(name.length + 1));
    const documents = ids.map((_id) => ({ _id, ...firstContent(_id, "nobody", HALL) }));
    await source.collection<{ _id: string }>(name).insertMany(documents);
  }
}

interface Work {
  readonly options: RunOptions;
  readonly servers: Servers;
  readonly devices: readonly Device[];
}

/** All at once, until the last kill; then everything is sent once more. */
async function workUntilKilled({ options, servers, devices }: Work): Promise<DirectWrites> {
  let isOver = false;
  const killing = servers.killAll().finally(() => {
    isOver = true;
  });
  const answered = () => devices.reduce((sum, { counts }) => sum + counts.requests, 0);
  const writing = writeDirectly(options, { isOver: () => isOver, answered });
  await Promise.all([killing, writing, ...devices.map((device) => device.pushUntil(() => isOver))]);
  await Promise.all(devices.map((device) => device.pushAllAgain()));
  return await writing;
}

interface DirectWrites {
  readonly added: Map<string, { score: number; likes: number }>;
  readonly writes: number;
  readonly slowestMs: number;
}

interface Others {
  isOver(): boolean;
  /** Requests so far. */
  answered(): number;
}

/** Another program, on the same counters; at the devices' pace, since it could outrun them by far. */
async function writeDirectly(
  { database, seed }: RunOptions,
  { isOver, answered }: Others,
): Promise<DirectWrites> {
  const random = randomOf(seed, "direct writer");
  const added = new Map(startingKeys.map((key) => [key, { score: 0, likes: 0 }]));
  let writes = 0;
  let slowestMs = 0;
  while (!isOver()) {
    const key = random.of(startingKeys);
    const [name = "", _id = ""] = key.split("/");
    const [score, likes] = [1 + random.below(3), random.below(2)];
    const startedAt = performance.now();
    const source = database.source.collection<{ _id: string }>(name);
    await source.updateOne({ _id }, { $inc: { score, "tally.likes": likes } });
    slowestMs = Math.max(slowestMs, performance.now() - startedAt);
    writes++;
    const sum = added.get(key);
    if (sum) Object.assign(sum, { score: sum.score + score, likes: sum.likes + likes });
    const before = answered();
    await waitFor(() => answered() > before || isOver(), { what: "a push that is answered" });
  }
  return { added, writes, slowestMs };
}

/** Waits until a checkpoint has reached every receipt and this moment; tells where none comes. */
async function pullersBehind(database: TestDatabase, pullers: readonly Puller[]): Promise<string[]> {
  const session = database.client.startSession();
  await database.source.collection("items").findOne({}, { session });
  const time = session.operationTime;
  await session.endSession();
  if (time === undefined) throw new Error("a read in a session has an operation time");
  const isThere = ({ effects }: Puller) =>
    effects.waiting().length === 0 && effects.clock >= commitClockOf({ t: time.t - 1, i: 0 });
  await waitFor(() => pullers.every(isThere)).catch(() => {});
  return pullers
    .filter((puller) => !isThere(puller))
    .map(({ principal, effects }) => `no checkpoint of ${principal} reaches ${effects.waiting().join()}`);
}

/** P2, with the source at rest: each puller has what its principal may see, and nothing else. */
async function divergences(
  { source }: TestDatabase,
  collections: Collections,
  pullers: readonly Puller[],
): Promise<string[]> {
  const faults: string[] = [];
  for (const { principal, client } of pullers) {
    const want = new Map<string, string>();
    for (const name of COLLECTIONS) {
      const collection = collections.get(name);
      if (collection === undefined) throw new Error(`the schema has ${name}`);
      const documents = await source
        .collection(name)
        .find({}, { promoteValues: false, promoteLongs: false })
        .toArray();
      for (const document of documents) {
        const { scopes, recordId, bytes } = encodeDocument(collection, document);
        if (!scopes.some((scope) => scope === HALL || scope === `user:${principal}`)) continue;
        want.set(`${name}/${recordId}`, JSON.stringify(recordToJson(collection, bytes)));
      }
    }
    const has = new Map(
      [...client.records].map(([key, { bytes }]) => {
        const collection = collections.get(key.slice(0, key.indexOf("/")));
        return [key, collection ? JSON.stringify(recordToJson(collection, bytes)) : ""];
      }),
    );
    for (const key of new Set([...want.keys(), ...has.keys()])) {
      if (want.get(key) !== has.get(key))
        faults.push(`P2: ${principal} has ${key} as ${has.get(key)}, the source as ${want.get(key)}`);
    }
  }
  return faults;
}

interface EvidenceParts {
  readonly database: TestDatabase;
  readonly devices: readonly Device[];
  readonly witness: Witness;
  readonly direct: DirectWrites;
}

async function evidenceOf({ database, devices, witness, direct }: EvidenceParts): Promise<Evidence> {
  const tidemark = database.client.db(database.tidemarkDb);
  const start = new Map(
    startingKeys.map((key) => [key, firstContent(key.slice(key.indexOf("/") + 1), "nobody", HALL)]),
  );
  const end = new Map<string, Fields>();
  for (const name of COLLECTIONS) {
    for (const { _id, ...fields } of await database.source.collection(name).find().toArray())
      end.set(`${name}/${String(_id)}`, fields);
  }
  const graves = new Map<string, Fields>();
  for (const { _id, document } of await tidemark.collection("graves").find().toArray())
    graves.set(String(_id), BSON.deserialize(document.buffer));
  const rows = await tidemark.collection<{ _id: string }>("ledger").find().toArray();
  return {
    notes: devices.flatMap((device) => [...device.notes.values()]),
    ledger: rows.filter(({ _id }) => _id !== "floor").map(ledgerRow),
    commits: await witness.end(),
    start,
    end,
    graves,
    direct: direct.added,
  };
}

/** The numbers of the schema's fields that chains are checked of. */
const fieldNames = new Map([
  [8, "state"],
  [9, "lock"],
]);

function ledgerRow(row: { _id: string; [key: string]: unknown }): LedgerRow {
  const conflicts = Array.isArray(row["conflicts"]) ? row["conflicts"] : [];
  return {
    mutationId: row._id,
    outcome: String(row["outcome"]),
    conflicts: conflicts.map(({ field }) => fieldNames.get(field) ?? ""),
  };
}

function slownessFaults(devices: readonly Device[]): string[] {
  const slow = devices.filter(({ slowest }) => slowest.ms > SLOWEST_MS_MAX);
  return slow.map(({ slowest }) => `a push took ${slowest.ms} ms: ${slowest.story}`);
}

interface Counted {
  readonly evidence: Evidence;
  readonly devices: readonly Device[];
  readonly pullers: readonly Puller[];
  readonly servers: Servers;
  readonly direct: DirectWrites;
}

function countsOf({ evidence, devices, pullers, servers, direct }: Counted): Record<string, number> {
  const { notes, ledger, commits } = evidence;
  const total = <T>(of: readonly T[], what: (one: T) => number) =>
    of.reduce((sum, one) => sum + what(one), 0);
  const outcomes = Object.groupBy(ledger, ({ outcome }) => outcome);
  const withReceipts = commits.filter(({ receipts }) => receipts.length > 0);
  const deliveries = notes.flatMap(({ tellings }) => tellings);
  return {
    kills: servers.kills,
    aimed: servers.aimed,
    mutations: notes.length,
    requests: total(devices, ({ counts }) => counts.requests),
    unanswered: total(devices, ({ counts }) => counts.unanswered),
    toBothAtOnce: total(devices, ({ counts }) => counts.twice),
    sentAgainLate: total(devices, ({ counts }) => counts.late),
    givenUpEarly: total(devices, ({ counts }) => counts.givenUp),
    receiptsTold: deliveries.length,
    ofThemReplayed: deliveries.filter(({ replayed }) => replayed).length,
    committedUnanswered: notes.filter(({ tellings }) => !tellings.some(isFirst)).length,
    notAttempted: deliveries.filter(({ outcome }) => outcome === Outcome.NOT_ATTEMPTED).length,
    applied: outcomes["APPLIED"]?.length ?? 0,
    merged: outcomes["MERGED"]?.length ?? 0,
    conflict: outcomes["CONFLICT"]?.length ?? 0,
    rejected: outcomes["REJECTED"]?.length ?? 0,
    commits: withReceipts.length,
    directWrites: direct.writes,
    checkpoints: total(pullers, ({ checkpoints }) => checkpoints),
    p4Checked: total(pullers, ({ effects }) => effects.reached),
    pullersReconnected: total(pullers, ({ reconnects }) => reconnects),
    slowestPushMs: Math.max(...devices.map(({ slowest }) => slowest.ms)),
    slowestDirectWriteMs: Math.round(direct.slowestMs),
  };
}

/** Told by the delivery that did it. */
function isFirst({ outcome, replayed }: Telling): boolean {
  return isFinal(outcome) && !replayed;
}
