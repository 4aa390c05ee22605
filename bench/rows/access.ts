// What access costs: a first sync through 500 scopes against one through a single scope of the same records, and how
// long it takes until 1,000 clients have dropped what their memberships no longer grant.
import { join } from "node:path";
import type { Bench, RunningServer } from "../bench.ts";
import { type BenchCaller, startLoad } from "../load/start-load.ts";
import { type Measured, measured, percentile, type Row } from "../row.ts";

const SCHEMA = join(import.meta.dirname, "../teams-proto");
const NOTES = 50_000;
const TEAMS = 500;
const ROUNDS = 5;
const CROWD = 1_000;
const CROWD_NOTES = 20;
const CROWD_MS_MAX = 2_000;

const WIDE: BenchCaller = { principal: "wide" };
const NARROW: BenchCaller = { principal: "narrow", claims: { topic: "all" } };

export const access: Row = {
  name: "access",
  async run(bench) {
    await bench.reset();
    await insert(
      bench,
      "notes",
      Array.from({ length: NOTES }, (_, n) => noteOf(`n${n}`, `t${n % TEAMS}`)),
    );
    await insert(
      bench,
      "notes",
      Array.from({ length: CROWD_NOTES }, (_, n) => noteOf(`crowd${n}`, "crowd")),
    );
    const memberships = Array.from({ length: TEAMS }, (_, n) => memberOf("wide", `t${n}`));
    const crowd = Array.from({ length: CROWD }, (_, n) => `fan${n}`);
    await insert(bench, "members", [...memberships, ...crowd.map((user) => memberOf(user, "crowd"))]);
    // Of the two ways only the one scope is large enough for a pack, which is another row's matter.
    const server = await bench.startServer({ schema: SCHEMA, settings: { PACK_RECORDS_MIN: "0" } });
    await bench.logReaches(NOTES + CROWD_NOTES + TEAMS + CROWD);
    await bench.serverReady(server);
    const rows = [await manyScopes(server), await revocation(bench, server, crowd)];
    await server.stop();
    return rows;
  },
};

const TEXT =
  "The tide comes in and the tide goes out, and each time the line it leaves on the sand tells how far. ";

function noteOf(_id: string, team: string) {
  return { _id, team, topic: "all", title: `A note to be shared, ${_id}`, body: TEXT.repeat(2), done: false };
}

function memberOf(user: string, team: string) {
  return { _id: `${user}-${team}`, user, team };
}

async function insert(bench: Bench, name: string, documents: { _id: string }[]): Promise<void> {
  await bench.client
    .db(bench.sourceDb)
    .collection<{ _id: string }>(name)
    .insertMany(documents, { ordered: false });
}

async function manyScopes(server: RunningServer): Promise<Measured> {
  const rates = { wide: [] as number[], narrow: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    rates.narrow.push(await firstSync(server, NARROW));
    rates.wide.push(await firstSync(server, WIDE));
  }
  return measured({
    row: `catch-up of 50,000 records through ${TEAMS} scopes`,
    unit: "1/s",
    value: percentile(rates.wide, 0.5),
    reference: percentile(rates.narrow, 0.5),
    referenceName: "the same records through one scope",
    atLeast: 0.5,
  });
}

async function firstSync(server: RunningServer, caller: BenchCaller): Promise<number> {
  const load = await startLoad(server.url, { callers: [caller], collection: "notes", mode: "CATCH_UP" });
  const { ms, changes } = await load.done;
  await load.stop();
  if (changes < NOTES) throw new Error(`${caller.principal} got ${changes} records`);
  return (changes / ms) * 1000;
}

async function revocation(bench: Bench, server: RunningServer, crowd: readonly string[]): Promise<Measured> {
  const callers = crowd.map((principal) => ({ principal }));
  const load = await startLoad(server.url, { callers, collection: "notes", mode: "FOLLOW" });
  await load.following;
  const startMs = performance.timeOrigin + performance.now();
  await bench.client.db(bench.sourceDb).collection("members").deleteMany({ team: "crowd" });
  const settledMs = (await load.emptied) - startMs;
  await load.stop();
  return measured({
    row: `a revocation, until ${CROWD} online clients have dropped ${CROWD_NOTES} records each`,
    unit: "ms",
    value: settledMs,
    reference: CROWD_MS_MAX,
    referenceName: "two seconds",
    atMost: 1,
  });
}
