// `tidemark why`, from end to end: a person asks in another terminal what became of a record.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import type { MutationSchema } from "#gen/tidemark/v1/mutation_pb.js";
import { whyCommand } from "../../src/cli/why.ts";
import { openLedger } from "../../src/ledger/ledger.ts";
import { openLog } from "../../src/log/log.ts";
import type { Tidemark } from "../../src/main.ts";
import { connectMongo } from "../../src/mongo/connect.ts";
import { describeProcess } from "../../src/mongo/embedded/process-table.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { asPrincipal, DEMO_SCHEMA, startServer, syncClient } from "../support/server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { waitFor } from "../support/wait-for.ts";

const ROOT = join(import.meta.dirname, "../..");

let database: TestDatabase;
let server: Tidemark;

beforeAll(async () => {
  database = await testDatabase();
  server = await startServer(database);
});
afterAll(async () => {
  await server?.close();
  await database?.drop();
});

async function spawnWhy(args: readonly string[], env: Record<string, string | undefined>) {
  const child = spawn(process.execPath, [join(ROOT, "src/cli/tidemark.ts"), "why", ...args], {
    env: { PATH: process.env["PATH"], ...env },
  });
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { out, err, code: child.exitCode };
}

/** In production's environment: no key of tokens is asked for. */
function settings(env: Record<string, string> = {}) {
  return {
    MONGODB_URI: database.uri,
    MONGODB_DB: database.sourceDb,
    TIDEMARK_DB: database.tidemarkDb,
    TIDEMARK_SCHEMA: DEMO_SCHEMA,
    NODE_ENV: "production",
    ...env,
  };
}

/** In this process; rejects as the command does. */
async function why(args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: whyCommand.options,
    allowPositionals: true,
  });
  const out = new PassThrough();
  const { signal } = new AbortController();
  const terminal = { out, err: new PassThrough(), isScreen: false, signal, env: settings(env) };
  await whyCommand.run({ values: values as Record<string, string | boolean>, positionals }, terminal);
  out.end();
  return await text(out);
}

const todos = () => database.source.collection<{ _id: string }>("todos");
const json = (value: JsonObject) => ({ form: { case: "json" as const, value } });

async function push(
  device: string,
  recordId: string,
  kind: NonNullable<MessageInitShape<typeof MutationSchema>["kind"]>,
): Promise<void> {
  const mutations = [{ mutationId: randomUUID(), collection: "todos", recordId, kind }];
  const headers = { ...asPrincipal("ana"), "tidemark-client": `ios/1.0; device=${device}` };
  await syncClient(server.url).pushMutations({ mutations }, { headers });
}

const created = (record: JsonObject) => ({ case: "create" as const, value: { record: json(record) } });
const updated = (record: JsonObject, base: JsonObject) => ({
  case: "update" as const,
  value: { record: json(record), base: json(base) },
});

/** Until the log has come to what was written last. */
async function told(record: string, part: string): Promise<string> {
  let out = "";
  await waitFor(
    async () => {
      out = await why([record]);
      return out.includes(part);
    },
    { what: part },
  );
  return out;
}

test("why: a record's whole story, its id with slashes → what it is, and what became of each mutation", async () => {
  const id = `lists/${randomUUID()}`;
  await push("phone", id, created({ title: "A", tags: ["x", "y"], votes: 2, ownerId: "ana" }));
  await todos().updateOne({ _id: id }, { $set: { title: "B", votes: 3, tags: ["x", "y", "z"] } });
  const base = { title: "A", votes: 2, tags: ["x", "y"] };
  await push("tablet", id, updated({ title: "C\u001b[31m", votes: 5, tags: ["y", "w"] }, base));
  await push("phone", id, updated({ title: "" }, { title: "C\u001b[31m" }));
  await told(`todos/${id}`, "and the log has it so");
  const { out, err, code } = await spawnWhy([`todos/${id}`], settings());
  expect([err, code]).toEqual(["", 0]);
  const lines = out.split("\n").map((line) => line.trimEnd());
  expect(lines[0]).toBe(`todos/${id}`);
  expect(out).toMatch(
    /In the log: version \d+; created, or new to a feed, at version \d+\.\n {2}In the feed todos\/user:ana\./,
  );
  expect(out).toMatch(/Changed since then: title at \d+, tags at \d+, votes at \d+\./);
  expect(out).toContain("The document: it is there, and the log has it so.");
  expect(out).toContain("3 mutations, the oldest first:");
  expect(lines.filter((line) => /^\d{4}-.*ana \((phone|tablet)\)$/.test(line))).toHaveLength(3);
  const inOrder = [
    "  asked to create it with title, tags, votes, owner_id",
    "  applied: created",
    "  asked to change title, tags, votes",
    "  merged: both sides had changed",
    '    title: "C\\u001b[31m" replaced "B", which the client had not seen',
    '    tags: added "w" and took away "x", on top of ["x","y","z"]',
    "    votes: counted 2 → 5 onto 3",
    "  asked to change title",
  ];
  expect(lines.filter((line) => inOrder.includes(line))).toEqual(inOrder);
  expect(out).toMatch(/ {2}rejected \(INVALID\): .*\n {4}title: /);
});

test("why: deleted, moved away, never there, quarantined, one the log hasn't seen", async () => {
  const [gone, moved, unfit] = [randomUUID(), randomUUID(), randomUUID()];
  for (const id of [gone, moved, unfit]) await push("phone", id, created({ title: "t", ownerId: "ana" }));
  await told(`todos/${unfit}`, "and the log has it so");
  await todos().deleteOne({ _id: gone });
  await todos().updateOne({ _id: moved }, { $set: { ownerId: "bob" } });
  await todos().updateOne({ _id: unfit }, { $set: { votes: "many" } });
  const deleted = await told(`todos/${gone}`, "In the log: gone.");
  expect(deleted).toMatch(/It was deleted from todos\/user:ana at \S+, version \d+\./);
  expect(deleted).toContain("The document: there is none, and the log has it so.");
  expect(await told(`todos/${moved}`, "todos/user:bob")).toMatch(/It left todos\/user:ana at /);
  const quarantined = await told(`todos/${unfit}`, "quarantined since");
  expect(quarantined).toMatch(/because votes: .*Clients see it as deleted/);
  expect(quarantined).toMatch(/The document: it is there, but no record: votes: .*, and the log has it so\./);
  const never = await why([`todos/${randomUUID()}`]);
  expect(never).toContain("In the log: no such record.");
  expect(never).toContain("No mutations: nobody pushed to it");
});

test("why: the log lags behind the document → said, with how far it has come", async () => {
  const id = randomUUID();
  await push("phone", id, created({ title: "t", ownerId: "ana" }));
  await told(`todos/${id}`, "and the log has it so");
  const entries = database.client
    .db(database.tidemarkDb)
    .collection<{ _id: { c: string; k: string } }>("entries");
  await entries.updateOne({ _id: { c: "todos", k: id } }, { $set: { feeds: ["todos/user:eve"] } });
  const out = await why([`todos/${id}`]);
  expect(out).toMatch(/The document: it is there; the log lags behind: it has come to \d{4}-/);
});

test("why: --limit and --json → the latest, how many are older, and the ledger's entries", async () => {
  const id = randomUUID();
  await push("phone", id, created({ title: "0", ownerId: "ana" }));
  for (const n of [1, 2, 3]) await push("phone", id, updated({ title: `${n}` }, { title: `${n - 1}` }));
  const out = await why([`todos/${id}`, "--limit", "2"]);
  expect(out).toContain("2 mutations, the oldest first; 2 older not shown (--limit):");
  expect(out).not.toContain("asked to create");
  const parsed = JSON.parse(await why([`todos/${id}`, "--limit=3", "--json"]));
  expect(parsed).toMatchObject({
    collection: "todos",
    recordId: id,
    document: "record",
    left: [],
    older: 1,
    mutations: [
      {},
      {},
      { principal: "ana", kind: "MUTATION_KIND_UPDATE", fields: [{ field: 2, name: "title" }] },
    ],
  });
});

test.each<{ what: string; args: string[]; env?: Record<string, string>; sentence: string }>([
  { what: "no record named", args: [], sentence: "name one record" },
  { what: "no id", args: ["todos"], sentence: "name one record" },
  { what: "two records", args: ["todos/a", "todos/b"], sentence: "name one record" },
  { what: "no number", args: ["todos/a", "--limit", "many"], sentence: "--limit takes a whole number" },
  { what: "an id too long", args: [`todos/${"a".repeat(1025)}`], sentence: "no record of todos can have" },
  { what: "no log", args: ["todos/a"], env: { TIDEMARK_DB: "nothing" }, sentence: "holds no change log" },
  { what: "another's log", args: ["todos/a"], env: { MONGODB_DB: "other" }, sentence: "not of other" },
  { what: "no MongoDB", args: ["todos/a"], env: { MONGODB_URI: "http://x" }, sentence: "MONGODB_URI" },
])("why: $what → said in a sentence", async ({ args, env, sentence }) => {
  await expect(why(args, env)).rejects.toThrow(sentence);
});

test("why: an unknown collection → exit code 1, and which there are", async () => {
  const { out, err, code } = await spawnWhy(["notes/a"], settings());
  expect([out, code]).toEqual(["", 1]);
  expect(err).toBe(
    'tidemark why: the schema has no collection "notes"; it has cities, lists, memberships, todos\n',
  );
});

test("why: the embedded database, run by a server or by nobody → read; the server's is left as it was", async () => {
  const folder = await temporaryFolder();
  const env = { TIDEMARK_DATA: folder, TIDEMARK_MONGOD: process.env["TIDEMARK_MONGOD"] };
  const nothing = await spawnWhy(["todos/a"], env);
  expect([nothing.code, nothing.err]).toEqual([
    1,
    expect.stringContaining(`there is no database in ${folder}`),
  ]);

  const program = fileURLToPath(new URL("../mongo/embedded-owner.ts", import.meta.url));
  const owner = spawn(process.execPath, [program, folder], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(async () => {
    owner.kill("SIGKILL");
    await waitFor(async () => (await describeProcess(mongod.pid)) === undefined);
  });
  const [line] = await once(createInterface(owner.stdout), "line");
  const mongod: { uri: string; pid: number } = JSON.parse(String(line));
  const client = await connectMongo(mongod.uri);
  await openLog(client, "tidemark");
  await openLedger(client, "tidemark");
  await client.close();

  const running = await spawnWhy(["todos/a"], env);
  expect([running.code, running.err]).toEqual([0, ""]);
  expect(running.out).toContain("In the log: no such record.");
  expect(await describeProcess(mongod.pid)).toBeDefined();

  owner.kill("SIGKILL");
  await waitFor(async () => (await describeProcess(mongod.pid)) === undefined);
  const alone = await spawnWhy(["todos/a"], env);
  expect([alone.code, alone.err, alone.out]).toEqual([0, "", running.out]);
});
