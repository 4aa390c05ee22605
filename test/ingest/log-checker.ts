// The checker: whether the log, at one of its own instants, equals the source at the clock it claims. It knows nothing
// of how ingest works: it reads both databases at their times, encodes the source anew and compares.
import type { Document, MongoClient, Timestamp } from "mongodb";
import { type Entry, entryOf, type LeaverEntry, type MainEntry } from "../../src/log/entry.ts";
import type { Log } from "../../src/log/log.ts";
import { isSettled, type LogState, stateOf } from "../../src/log/state.ts";
import { snapshotSession } from "../../src/mongo/snapshot.ts";
import { sourceReadOptions } from "../../src/schema/bson-value.ts";
import type { Collection } from "../../src/schema/collection.ts";
import { type EncodedRecord, encodeDocument } from "../../src/schema/encode-document.ts";
import type { Schema } from "../../src/schema/schema.ts";
import { UnfitDocument } from "../../src/schema/unfit-document.ts";

export interface CheckedLog {
  readonly client: MongoClient;
  readonly sourceDb: string;
  readonly log: Log;
  readonly schema: Schema;
}

export interface LogContents {
  readonly state: LogState;
  readonly mains: readonly MainEntry[];
  readonly leavers: readonly LeaverEntry[];
  readonly grants: readonly Document[];
  readonly quarantined: readonly Document[];
}

/** All that the log holds, at a cluster time of its own (default: now). */
export async function readLog({ client, log }: CheckedLog, at?: Timestamp): Promise<LogContents> {
  const session = snapshotSession(client, at);
  try {
    const state = await log.states.findOne({ _id: "log" }, { session });
    if (!state) throw new Error("the log has no state");
    const entries: Entry[] = (await log.entries.find({}, { session }).toArray()).map(entryOf);
    return {
      state: stateOf(state),
      mains: entries.filter((entry) => entry.kind === "main"),
      leavers: entries.filter((entry) => entry.kind === "leaver"),
      grants: await log.grants.find({}, { session }).toArray(),
      quarantined: await log.quarantine.find({}, { session }).toArray(),
    };
  } finally {
    await session.endSession();
  }
}

/** What is wrong with the log; empty if nothing is. An unsettled log promises less, and less is checked. */
export async function faultsOf(checked: CheckedLog, at?: Timestamp): Promise<string[]> {
  const contents = await readLog(checked, at);
  const faults = [...faultsOfSeqs(contents), ...faultsOfLeavers(contents)];
  if (isSettled(contents.state)) faults.push(...(await differences(checked, contents)));
  return faults;
}

function faultsOfSeqs({ state, mains, leavers }: LogContents): string[] {
  const faults: string[] = [];
  const seqs = new Set<number>();
  for (const { seq, key } of [...mains, ...leavers]) {
    if (seqs.has(seq)) faults.push(`two entries have the seq ${seq}`);
    if (seq < 1 || seq > state.head)
      faults.push(`${JSON.stringify(key)} has the seq ${seq}, the head is ${state.head}`);
    seqs.add(seq);
  }
  for (const { key, since, seq, marks } of mains) {
    if (since > seq) faults.push(`${JSON.stringify(key)} is there since ${since}, after its seq ${seq}`);
    for (const [field, mark] of marks) {
      if (mark <= since || mark > seq)
        faults.push(`${JSON.stringify(key)} marks ${field} at ${mark}, outside (${since}, ${seq}]`);
    }
  }
  return faults;
}

function faultsOfLeavers({ mains, leavers }: LogContents): string[] {
  const present = new Map(mains.map((main) => [textOf(main.key), main]));
  return leavers.flatMap(({ key, recordId, seq }) => {
    const main = present.get(textOf({ c: key.c, k: key.k }));
    if (main?.feeds.includes(key.f)) return [`${recordId} has left ${key.f} and is in it`];
    return main && main.seq < seq ? [`${recordId} left ${key.f} after its main entry`] : [];
  });
}

async function differences(checked: CheckedLog, contents: LogContents): Promise<string[]> {
  const expected = new Map<string, EncodedRecord>();
  const unfit = new Set<string>();
  const grants = new Set<string>();
  for (const collection of checked.schema.collections.values()) {
    for (const document of await sourceAt(checked, collection.name, contents.state.clock)) {
      const text = textOf({ c: collection.name, k: document["_id"] });
      const encoded = encodeOrUndefined(collection, document);
      if (!encoded) unfit.add(text);
      else if (encoded.scopes.length > 0) expected.set(text, encoded);
      if (encoded?.membership) grants.add(`${text} ${grantText(encoded.membership)}`);
    }
  }
  const held = new Set(contents.grants.map((grant) => `${textOf(grant["_id"])} ${grantText(grant)}`));
  const quarantined = new Set(contents.quarantined.map(({ _id }) => textOf(_id)));
  return [
    ...faultsOfRecords(expected, contents.mains),
    ...faultsOfSets("grant", grants, held),
    ...faultsOfSets("quarantined", unfit, quarantined),
  ];
}

function faultsOfRecords(
  expected: ReadonlyMap<string, EncodedRecord>,
  mains: readonly MainEntry[],
): string[] {
  const faults: string[] = [];
  const found = new Map(mains.map((main) => [textOf(main.key), main]));
  for (const [text, { bytes, scopes, recordId }] of expected) {
    const main = found.get(text);
    if (!main) faults.push(`${text} is in the source, not in the log`);
    else if (Buffer.compare(main.record, bytes) !== 0) faults.push(`${text} differs from the source`);
    else if (main.recordId !== recordId) faults.push(`${text} is called ${main.recordId}`);
    else if (main.feeds.join() !== scopes.map((scope) => `${main.key.c}/${scope}`).join())
      faults.push(`${text} is in other feeds`);
  }
  for (const text of found.keys())
    if (!expected.has(text)) faults.push(`${text} is in the log, not in the source`);
  return faults;
}

function faultsOfSets(what: string, expected: ReadonlySet<string>, found: ReadonlySet<string>): string[] {
  const missing = [...expected]
    .filter((text) => !found.has(text))
    .map((text) => `${what} is missing: ${text}`);
  return [
    ...missing,
    ...[...found].filter((text) => !expected.has(text)).map((text) => `${what} is too many: ${text}`),
  ];
}

function encodeOrUndefined(collection: Collection, document: Document): EncodedRecord | undefined {
  try {
    return encodeDocument(collection, document);
  } catch (error) {
    if (error instanceof UnfitDocument) return undefined;
    throw error;
  }
}

async function sourceAt(
  { client, sourceDb }: CheckedLog,
  collection: string,
  at: Timestamp | undefined,
): Promise<Document[]> {
  const session = snapshotSession(client, at);
  try {
    return await client
      .db(sourceDb)
      .collection(collection)
      .find({}, { session, ...sourceReadOptions })
      .toArray();
  } finally {
    await session.endSession();
  }
}

function grantText(grant: Document): string {
  return `${grant["principal"]} ${grant["scope"]} ${grant["access"]}`;
}

/** Numbers compare by value in MongoDB; no test has keys that differ in less than their text. */
function textOf({ c, k }: { readonly c: string; readonly k: unknown }): string {
  return `${c}/${typeof k}`.replace("bigint", "number").concat(`/${String(k)}`);
}
