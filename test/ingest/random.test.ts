// Random: concurrent writers (transactions, deletes, re-creations, moves between scopes, undeclared and unfit values,
// drops and renames) while ingest runs, is stopped, killed and started again at random. At every settled instant of
// the log it must equal the source at its clock; clients that follow by since and marks must hold what it holds.
import { Binary, type ClientSession, MongoServerError, type Timestamp } from "mongodb";
import { beforeAll, expect, test } from "vitest";
import type { CommittedAppend } from "../../src/log/append.ts";
import { isSettled } from "../../src/log/state.ts";
import type { Schema } from "../../src/schema/schema.ts";
import { type Random, randomOf, seedOf } from "../support/random.ts";
import { waitFor } from "../support/wait-for.ts";
import { FeedClient } from "./feed-client.ts";
import { type IngestFixture, ingestFixture, type TestDocument } from "./ingest-fixture.ts";
import { faultsOf, readLog } from "./log-checker.ts";
import { testSchema } from "./test-schema.ts";

let schema: Schema;
beforeAll(async () => {
  schema = await testSchema();
});

const PEOPLE = ["ana", "bo", "cy"];
const STEPS = 100;
const WRITERS = 3;
/** Of all instants, evenly chosen: each check reads everything. */
const CHECKS = 40;

/** A source that is written at random beside ingest. */
interface World {
  readonly fixture: IngestFixture;
  /** By all nodes, in the order they were told. */
  readonly appends: CommittedAppend[];
  /** When a collection was last dropped or written over: what it was before can't be read any more. */
  replacedAt: Timestamp | undefined;
}

const runs = [
  { run: 1, replacing: false },
  { run: 2, replacing: false },
  { run: 3, replacing: true },
];

for (const { run, replacing } of runs) {
  const seed = seedOf(run);
  const collections = replacing ? "collections dropped and replaced" : "collections that stay";
  test(`random: ${collections} → the log equals the source at settled instants (TIDEMARK_SEED=${seed})`, async () => {
    const fixture = await ingestFixture(schema);
    const world: World = { fixture, appends: [], replacedAt: undefined };
    const writers = Array.from({ length: WRITERS }, (_, index) => randomOf(seed, `writer ${index}`));
    const written = Promise.all(writers.map((random) => write(world, random, replacing)));
    await runNodes(world, randomOf(seed, "nodes"), written);
    await fixture.settled();
    const terms = new Set(world.appends.map(({ state }) => state.term));
    expect(terms.size).toBeGreaterThan(1);
    expect(await faultsAlong(world)).toEqual([]);
  });
}

/** One node after the other, each for some appends, stopped or killed, until all is written. */
async function runNodes(
  { fixture, appends }: World,
  random: Random,
  written: Promise<unknown>,
): Promise<void> {
  let done = false;
  const end = () => {
    done = true;
  };
  written.then(end, end);
  for (;;) {
    const settings = { leaseMs: 100, recordsMax: random.of([1, 3, 50]) };
    const node = await fixture.start({ settings, onAppend: (append) => appends.push(append) });
    const until = appends.length + 3 + random.below(15);
    await waitFor(() => done || appends.length >= until);
    if (done) break;
    await (random.below(2) === 0 ? node.kill() : node.close());
  }
  await written;
}

/** Checks the log as it was after some of the appends, and follows them with clients. */
async function faultsAlong({ fixture, appends, replacedAt }: World): Promise<string[]> {
  const sorted = appends.toSorted((a, b) => a.state.revision - b.state.revision);
  const settled = sorted.filter(({ state }) => isSettled(state));
  const feeds = PEOPLE.flatMap((name) => [`todos/user:${name}`, `members/user:${name}`]);
  const clients = [...feeds, "todos/team:t1", "counters/public"].map((feed) => new FeedClient(feed));
  const faults: string[] = [];
  const every = Math.max(1, Math.floor(settled.length / CHECKS));
  for (const [index, { state, time }] of settled.entries()) {
    if (index % every !== 0) continue;
    const contents = await readLog(fixture, time);
    const found = clients.flatMap((client) => client.advance(contents));
    const readable = !replacedAt || state.clock?.greaterThanOrEqual(replacedAt);
    if (readable) found.push(...(await faultsOf(fixture, time)));
    faults.push(...found.map((fault) => `revision ${state.revision}: ${fault}`));
  }
  return faults;
}

async function write(world: World, random: Random, replacing: boolean): Promise<void> {
  for (let step = 0; step < STEPS; step++) {
    if (random.below(3) > 0) await change(world.fixture, random).catch(unlessDropped);
    else await changeTogether(world.fixture, random);
    if (replacing && random.below(40) === 0) await replace(world, random);
    if (random.below(3) > 0) continue;
    const { length } = world.appends;
    await waitFor(() => world.appends.length > length);
  }
}

/** A write under way in a collection that is dropped may be told so. */
function unlessDropped(error: unknown): void {
  if (!(error instanceof MongoServerError && error.code === QUERY_PLAN_KILLED)) throw error;
}

const QUERY_PLAN_KILLED = 175;

async function changeTogether(fixture: IngestFixture, random: Random): Promise<void> {
  const session = fixture.client.startSession();
  try {
    session.startTransaction({ readConcern: { level: "snapshot" }, writeConcern: { w: "majority" } });
    for (let count = 0; count < 2 + random.below(6); count++) await change(fixture, random, session);
    await session.commitTransaction();
  } catch {
    // A conflict with another writer: the transaction never happened.
  } finally {
    await session.endSession();
  }
}

async function change(
  { todos, members, counters }: IngestFixture,
  random: Random,
  session?: ClientSession,
): Promise<void> {
  const options = session ? { session, upsert: true } : { upsert: true };
  const key = { _id: `r${random.below(8)}` };
  switch (random.below(9)) {
    case 0:
      await todos.deleteOne(key, options);
      break;
    case 1:
      await todos.updateOne(key, { $set: { undeclared: random.below(100), secret: random.uuid() } }, options);
      break;
    case 2:
      await todos.updateOne(key, { $set: { votes: random.of<unknown>([1, 2, "many", null]) } }, options);
      break;
    case 3:
      await todos.updateOne(
        key,
        { $set: { ownerId: random.of(PEOPLE), watcherIds: people(random) } },
        options,
      );
      break;
    case 4:
      await members.updateOne(key, { $set: membership(random) }, options);
      break;
    case 5:
      await members.deleteOne(key, options);
      break;
    case 6:
      await counters.updateOne({ _id: random.below(5) }, { $set: { value: random.below(4) } }, options);
      break;
    case 7:
      await todos.updateOne(
        key,
        { $set: { title: `${random.below(3)}`, teamId: random.of(["t1", "t2", ""]) } },
        options,
      );
      break;
    default:
      await todos.replaceOne(key, whole(random), options);
  }
}

function people(random: Random): string[] {
  return PEOPLE.filter(() => random.below(2) === 0);
}

function membership(random: Random): Partial<TestDocument> {
  return {
    userId: random.of(PEOPLE),
    teamId: random.of(["t1", "t2"]),
    access: random.of(["READ", "READ_WRITE", ""]),
  };
}

function whole(random: Random): Omit<TestDocument, "_id"> {
  const when = random.of([{ day: "monday" }, { week: 3 }, {}]);
  return {
    title: `${random.below(3)}`,
    ownerId: random.of(PEOPLE),
    watcherIds: people(random),
    place: { lat: random.below(2) },
    ...when,
  };
}

/** The collection goes, or another takes its place. */
async function replace(world: World, random: Random): Promise<void> {
  const { source, todos } = world.fixture;
  const staging = source.collection<TestDocument>(`staging-${random.uuid()}`);
  await staging.insertMany([
    { _id: "r1", ...whole(random) },
    { _id: "r99", ...whole(random) },
  ]);
  switch (random.below(3)) {
    case 0:
      await todos.drop();
      break;
    case 1:
      await staging.rename("todos", { dropTarget: true });
      break;
    default:
      await staging.aggregate([{ $out: "todos" }]).toArray();
  }
  const { operationTime } = await source.command({ ping: 1 });
  world.replacedAt = operationTime;
}

const planted: ReadonlyArray<readonly [string, (fixture: IngestFixture) => Promise<unknown>]> = [
  [
    "a record of other content",
    ({ log }) => log.entries.updateOne({ id: "a" }, { $set: { record: new Binary(Buffer.from("x")) } }),
  ],
  ["a record too few", ({ log }) => log.entries.deleteOne({ id: "a" })],
  [
    "a feed too many",
    ({ log }) => log.entries.updateOne({ id: "a" }, { $push: { feeds: "todos/user:zoe" } }),
  ],
  ["a seq twice", ({ log }) => log.entries.updateOne({ id: "a" }, { $set: { seq: 3 } })],
  ["a mark before since", ({ log }) => log.entries.updateOne({ id: "a" }, { $set: { "marks.2": 1 } })],
  ["a grant too few", ({ log }) => log.grants.deleteOne({})],
  ["a quarantined document too few", ({ log }) => log.quarantine.deleteOne({})],
];

test("random: the checker finds planted faults, and nothing where there is none", async () => {
  for (const [name, plant] of planted) {
    const fixture = await ingestFixture(schema);
    await fixture.todos.insertMany([
      { _id: "a", title: "a", ownerId: "ana" },
      { _id: "b", title: "b", ownerId: "ana" },
      { _id: "misfit", title: 1 },
    ]);
    await fixture.members.insertOne({ _id: "m", userId: "ana", teamId: "t", access: "READ" });
    const node = await fixture.start();
    await fixture.settled();
    await node.close();
    expect(await faultsOf(fixture), name).toEqual([]);
    await plant(fixture);
    expect(await faultsOf(fixture), name).not.toEqual([]);
  }
});

test("random: the client finds a change that left no mark", async () => {
  const fixture = await ingestFixture(schema);
  await fixture.todos.insertOne({ _id: "a", title: "a", ownerId: "ana" });
  await fixture.start();
  await fixture.settled();
  const [careful, betrayed] = [new FeedClient("todos/user:ana"), new FeedClient("todos/user:ana")];
  const before = await readLog(fixture);
  expect([...careful.advance(before), ...betrayed.advance(before)]).toEqual([]);
  await fixture.todos.updateOne({ _id: "a" }, { $set: { title: "b" } });
  await fixture.settled();
  const after = await readLog(fixture);
  expect(careful.advance(after)).toEqual([]);
  const unmarked = after.mains.map((main) => ({ ...main, marks: new Map<number, number>() }));
  expect(betrayed.advance({ ...after, mains: unmarked })).toEqual([
    "a client of todos/user:ana holds another a",
  ]);
});
