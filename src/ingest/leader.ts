// One node's time as leader: it claims the log with a new term, then one serial loop takes turns between the tail, a
// load if there is one, and upkeep, until it is told to stop or something fails. All it holds is lost with it and read
// again from the log by the next leader.
import type { ClientSession, MongoClient } from "mongodb";
import type { CommittedAppend } from "../log/append.ts";
import { type Log, readState } from "../log/log.ts";
import type { LogState } from "../log/state.ts";
import type { Clock } from "../model/clock.ts";
import type { Logger } from "../model/logger.ts";
import { classOf } from "../mongo/error-class.ts";
import type { Schema } from "../schema/schema.ts";
import { ChangeTail } from "./change-tail.ts";
import type { Position } from "./cluster-time.ts";
import type { Group } from "./group.ts";
import { createLoad, type Load } from "./load.ts";
import { type Commit, createLogWriter, type LogWriter } from "./log-writer.ts";
import { createRecordReader } from "./records.ts";
import { recallShown, rememberShown } from "./schema-memory.ts";
import { logFingerprint, planCollections, schemasWith, voidGrants } from "./schema-plan.ts";
import type { IngestSettings } from "./settings.ts";
import { createSourceReader } from "./source-reader.ts";
import type { StatusKeeper } from "./status.ts";
import { ingestGroup, type TailStepContext } from "./tail-step.ts";
import { createUpkeep } from "./upkeep.ts";

export interface LeaderOptions {
  readonly client: MongoClient;
  readonly sourceDb: string;
  readonly log: Log;
  readonly schema: Schema;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: IngestSettings;
  readonly status: StatusKeeper;
  /** For appends, one after the other: known to the lease. */
  readonly session: ClientSession;
  readonly onAppend: (committed: CommittedAppend) => void;
}

/** How often the history may be lost before the leader gives up and waits. */
const HISTORY_LOST_MAX = 2;

/** The server's least; and with nothing to do but wait for the stream to pass a look-up, about its speed. */
const AT_ONCE_MS = 1;
const SOON_MS = 5;

/**
 * A group of so many events is read while the append before it is on its way; a smaller one waits for that append and
 * takes along what arrives meanwhile, since a cycle's round trips cost the same however few records share them. Gained
 * a third of the live latency at 100 streams, and a tenth of what a single push costs in all.
 */
const READ_AHEAD_EVENTS_MIN = 200;

/**
 * Leads until the signal aborts; what is being committed then is committed.
 * @throws FencedError when another node has written; whatever the database throws.
 */
export async function lead(options: LeaderOptions, signal: AbortSignal): Promise<void> {
  const leader = await claim(options);
  try {
    await followOrStartOver(options, leader, signal);
  } finally {
    // The next leader appends in the same session. Whoever failed first says why.
    await leader.writer.flush().catch(() => {});
  }
}

async function followOrStartOver(options: LeaderOptions, leader: Leader, signal: AbortSignal): Promise<void> {
  for (let lost = 0; ; lost++) {
    try {
      return await follow(options, leader, signal);
    } catch (error) {
      if (classOf(error) !== "history-lost" || lost === HISTORY_LOST_MAX) throw error;
      options.logger.warn({ err: error }, "the change stream's history is lost: loading all collections");
      await startOver(options, leader);
    }
  }
}

interface Leader extends Omit<TailStepContext, "tail"> {
  /** Records went into quarantine, or out of it, since they were counted. */
  recount: boolean;
}

async function claim(options: LeaderOptions): Promise<Leader> {
  const { log, schema, client, sourceDb, settings, logger } = options;
  const source = createSourceReader(client.db(sourceDb));
  const state = await readState(log);
  const now = await source.now();
  const leader = { recount: true };
  let mayBeQuarantined = (await log.quarantine.findOne({}, { readConcern: "majority" })) !== null;
  const onCommit = (committed: CommittedAppend, { draft }: Commit) => {
    if (draft?.quarantines) leader.recount = mayBeQuarantined = true;
    tell(options, committed);
  };
  const position = beginning(options, state) ?? { time: now, token: undefined };
  const writer = createLogWriter({ ...options, state, position, onCommit });
  const { collections } = schema;
  const access = { log, source, collections, logger, mayBeQuarantined: () => mayBeQuarantined };
  const records = createRecordReader({ ...access, state: () => writer.state, written: writer.written });
  const load = createLoad({ log, schema, writer, source, records, settings, lookedUpAt: now });
  await writer.begin(await claimOf(options, { writer, load }));
  await writer.flush();
  logger.info({ term: writer.state.term, head: writer.state.head }, "leading");
  return Object.assign(leader, { writer, records, source, load, schema, settings });
}

/** A stream that watches other collections can't resume from a token, only at a time. */
function beginning({ schema, sourceDb }: LeaderOptions, state: LogState): Position | undefined {
  if (!state.clock || state.source !== sourceDb) return undefined;
  const sameStream = state.schemas.at(-1) === logFingerprint(schema);
  return { time: state.clock, token: sameStream ? state.resumeToken : undefined };
}

async function claimOf(
  { log, schema, sourceDb }: LeaderOptions,
  { writer, load }: { writer: LogWriter; load: Load },
): Promise<Commit> {
  const { state } = writer;
  const schemas = schemasWith(state.schemas, logFingerprint(schema));
  const claimed = { term: state.term + 1, source: sourceDb, schemas };
  const ofAnother = state.source !== sourceDb;
  const restarted = load.restart(ofAnother ? [...schema.collections.keys()] : [], "replaced");
  if (state.schemas.at(-1) === schemas.at(-1)) return { state: claimed, collections: restarted };
  await rememberShown(log, schema);
  const shown = await recallShown(
    log,
    state.collections.map(({ fingerprint }) => fingerprint),
  );
  const present = state.collections.map((collection) => restarted.get(collection.name) ?? collection);
  const planned = planCollections({ present, schema, shown, loadNumber: state.revision + 1 });
  const collections = new Map([...restarted, ...planned]);
  return { state: claimed, collections, voidGrants: voidGrants({ present, schema, shown }) };
}

/** A listener's fault must not stop ingest. */
function tell({ status, onAppend, logger }: LeaderOptions, committed: CommittedAppend): void {
  status.observe(committed.state);
  try {
    onAppend(committed);
  } catch (error) {
    logger.error({ err: error }, "a listener failed on an append");
  }
}

async function startOver({ schema }: LeaderOptions, { writer, load, source }: Leader): Promise<void> {
  writer.moveTo({ time: await source.now(), token: undefined });
  await writer.begin({ collections: load.restart([...schema.collections.keys()], "lost") });
}

async function follow(options: LeaderOptions, leader: Leader, signal: AbortSignal): Promise<void> {
  const { client, sourceDb, log, schema, settings } = options;
  const { writer, load } = leader;
  const watched = { sourceDb, collections: [...schema.collections.keys()], logDb: log.db.databaseName };
  const from = writer.position;
  const tail = await ChangeTail.open(client, watched, { from, eventsMax: settings.recordsMax });
  const context = { ...leader, tail };
  const upkeep = createUpkeep({ ...options, writer });
  let awaitMs = AT_ONCE_MS;
  try {
    while (!signal.aborted) {
      const group = await nextGroup(tail, writer);
      if (group) await ingestGroup(context, group);
      else await fill(tail, writer, awaitMs);
      awaitMs = settings.awaitMs;
      if (load.active) awaitMs = (await load.step()) ? AT_ONCE_MS : SOON_MS;
      await writer.persistIfDue();
      await upkeep.step();
      await report(options, leader);
    }
    await writer.flush();
  } finally {
    await tail.close();
  }
}

async function nextGroup(tail: ChangeTail, writer: LogWriter): Promise<Group | undefined> {
  const arrived = tail.peek();
  if (arrived === undefined || arrived.events.length >= READ_AHEAD_EVENTS_MIN) return arrived;
  await writer.flush();
  return tail.peek();
}

async function fill(tail: ChangeTail, writer: LogWriter, awaitMs: number): Promise<void> {
  await tail.fill(awaitMs);
  if (tail.reached) writer.moveTo(tail.reached);
  // With nothing else to do, a commit that failed must not go unnoticed.
  if (tail.waiting === 0) await writer.flush();
}

async function report({ status, log }: LeaderOptions, leader: Leader): Promise<void> {
  if (leader.recount) {
    leader.recount = false;
    status.count(await log.quarantine.estimatedDocumentCount());
  }
  for (const { name, load } of leader.writer.state.collections) {
    if (load && !status.isEstimated(name)) status.estimate(name, await leader.source.estimate(name));
  }
}
