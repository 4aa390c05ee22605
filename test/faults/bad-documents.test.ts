// Documents written directly that no record can stand for: each is quarantined alone, with its reason and without its
// values, nobody else notices, the log stays calm, and the next good write heals it.
import { randomUUID } from "node:crypto";
import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import {
  Binary,
  BSON,
  BSONRegExp,
  BSONSymbol,
  Code,
  Decimal128,
  type Document,
  Double,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  Timestamp,
} from "mongodb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MutationSchema } from "#gen/tidemark/v1/mutation_pb.js";
import { Outcome, RejectionReason } from "#gen/tidemark/v1/receipt_pb.js";
import type { Tidemark } from "../../src/main.ts";
import { Follower } from "../support/follower.ts";
import { type KeptLog, keptLog } from "../support/log-lines.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { insertRaw, withBytes, withDate } from "../support/raw-documents.ts";
import { asPrincipal, startServer, syncClient } from "../support/server.ts";

/** In values of documents that are refused: may be nowhere but in the documents. */
const SECRET = "S3CRET";
const ofAna = { ownerId: "ana", title: SECRET };

interface Source {
  readonly database: TestDatabase;
  readonly server: Tidemark;
  readonly log: KeptLog;
  readonly follower: Follower;
}

async function startSource(database: TestDatabase): Promise<Source> {
  const log = keptLog();
  const server = await startServer(database, {}, log.logger);
  const follower = new Follower(server.url, "ana", { selections: [{ collection: "todos" }] });
  return { database, server, log, follower };
}

async function stop({ server, follower }: Source): Promise<void> {
  await follower[Symbol.asyncDispose]();
  await server.close();
}

function todosOf({ source }: TestDatabase) {
  return source.collection<Document>("todos");
}

/** The ids put, and those removed with a minus, up to a write made now. */
async function delivered(source: Source, sentinel: string): Promise<string[]> {
  const session = source.database.client.startSession();
  const write = { _id: sentinel, ownerId: "ana", title: "sentinel" } as Document;
  await todosOf(source.database).insertOne(write, { session });
  const { changes } = await source.follower.checkpoint(session.operationTime);
  await session.endSession();
  return changes.map(({ recordId, kind }) => `${kind.case === "remove" ? "-" : ""}${recordId}`).sort();
}

async function quarantineOf({ client, tidemarkDb }: TestDatabase): Promise<string[]> {
  const rows = await client.db(tidemarkDb).collection("quarantine").find().toArray();
  const reasons = rows.map(({ reason }) => String(reason)).sort();
  expect(reasons.join("\n")).not.toContain(SECRET);
  return reasons;
}

function expectCalm({ log }: Source): void {
  expect(log.troubles()).toEqual([]);
  expect(JSON.stringify(log.lines)).not.toContain(SECRET);
}

/** As a driver without checks writes it. */
function regExp(pattern: string, options: string): BSONRegExp {
  return Object.assign(Object.create(BSONRegExp.prototype), { pattern, options });
}

/** Old binary data says its length twice; here the two differ. */
function wrongLength(document: Document): Uint8Array {
  return withBytes(document, "\x0c\x00\x00\x00\x02\x08", [12, 0, 0, 0, 2, 7]);
}

function nested(levels: number): unknown {
  return levels === 0 ? SECRET : [nested(levels - 1)];
}

const NOT_UTF8 = [0xff, 0xfe];
const DAY = new Date(86_400_000);
const OLD_BINARY = new Binary(Buffer.from(SECRET.padEnd(8)), 2);

/** By record id: odd in what no client gets to see, or in a way that text can hold. */
const records: Readonly<Record<string, Uint8Array>> = {
  "deep-undeclared": BSON.serialize({ _id: "deep-undeclared", ...ofAna, more: nested(150) }),
  "text-not-utf8": withBytes({ _id: "text-not-utf8", ownerId: "ana", title: "##" }, "##", NOT_UTF8),
  "key-not-utf8": withBytes({ _id: "key-not-utf8", ...ofAna, "##": 1 }, "##", NOT_UTF8),
  "key-twice": withBytes({ _id: "key-twice", ...ofAna, other: "b" }, "other", [...Buffer.from("title")]),
  symbol: BSON.serialize({ _id: new BSONSymbol("symbol"), ...ofAna }),
};

const NOT_DECODED = "it can't be decoded: The regular expression option [g] is not supported";

/** By record id: why it is quarantined. */
const unfit: Readonly<Record<string, readonly [raw: Uint8Array, reason: string]>> = {
  "regexp-flag": [
    BSON.serialize({ _id: "regexp-flag", ownerId: "ana", title: regExp(SECRET, "g") }),
    `title: ${NOT_DECODED}`,
  ],
  "regexp-flag-undeclared": [
    BSON.serialize({ _id: "regexp-flag-undeclared", ...ofAna, more: [{ deep: regExp("a", "g") }] }),
    `more: ${NOT_DECODED}`,
  ],
  "old-binary": [
    wrongLength({ _id: "old-binary", ownerId: "ana", title: OLD_BINARY }),
    "title: it can't be decoded: Binary type with subtype 0x02 contains too short binary size",
  ],
  "date-beyond": [
    withDate({ _id: "date-beyond", ...ofAna, due: DAY }, DAY, 2n ** 62n),
    "due: the date is not between the years 1 and 9999, as a Timestamp must be",
  ],
  "deep-array": [
    BSON.serialize({ _id: "deep-array", ...ofAna, tags: nested(150) }),
    "tags[0]: an array doesn't fit a string",
  ],
};

const withId = (_id: unknown): Uint8Array => BSON.serialize({ _id, ...ofAna } as Document);
const DECIMAL =
  "_id: a Decimal128 doesn't fit a string; if it always is one, declare bson_type: BSON_TYPE_DECIMAL128";
const OBJECT_ID =
  "_id: an ObjectId doesn't fit a string; if it always is one, declare bson_type: BSON_TYPE_OBJECT_ID";
const NO_ID = "_id: a value that no record id can stand for";

const oddIds: readonly (readonly [raw: Uint8Array, reason: string])[] = [
  [withId(0), "_id: a number doesn't fit a string"],
  [withId(1.5), "_id: a number doesn't fit a string"],
  [withId(Number.NaN), "_id: a number doesn't fit a string"],
  [withId(Long.MAX_VALUE), "_id: a 64-bit integer doesn't fit a string"],
  [withId(Decimal128.fromString("1E400")), DECIMAL],
  [withId(Decimal128.fromString("0.1")), DECIMAL],
  [withId(""), "_id: an id must not be empty or longer than 1024 bytes"],
  [withId("i".repeat(1025)), "_id: an id must not be empty or longer than 1024 bytes"],
  [withId(null), "_id: null doesn't fit a string"],
  [withId(true), "_id: a boolean doesn't fit a string"],
  [withId(DAY), "_id: a date doesn't fit a string"],
  [withId(new ObjectId()), OBJECT_ID],
  [withId({}), "_id: a document doesn't fit a string"],
  [withId({ user: "ana", day: new Double(1) }), "_id: a document doesn't fit a string"],
  [withId(new Timestamp({ t: 1, i: 1 })), "_id: a Timestamp doesn't fit a string"],
  [withId(new Code("x")), "_id: a Code doesn't fit a string"],
  [withId(new MinKey()), "_id: a MinKey doesn't fit a string"],
  [withId(new MaxKey()), "_id: a MaxKey doesn't fit a string"],
  [withId(new Binary(Buffer.from("b"))), "_id: binary data of subtype 0 doesn't fit a string"],
  // What JavaScript can't hold, or not so that it would write the same again.
  [wrongLength({ _id: OLD_BINARY, ...ofAna }), NO_ID],
  [withId({ a: regExp("a", "g") }), NO_ID],
  [withId({ a: regExp("(?i)a", "") }), NO_ID],
  [withId(new Code("x", { a: regExp("a", "g") })), NO_ID],
  [withId(new Map(Object.entries({ b: 1 }).concat([["1", 2]]))), NO_ID],
  [withDate({ _id: DAY, ...ofAna }, DAY, 2n ** 62n), NO_ID],
  [withDate({ _id: DAY, ...ofAna }, DAY, 2n ** 62n + 1n), NO_ID],
  [withBytes({ _id: "id##", ...ofAna }, "##", NOT_UTF8), NO_ID],
  [withBytes({ _id: "id##", ...ofAna }, "##", [0xff, 0xfd]), NO_ID],
];

describe("documents JavaScript can't hold, and _ids of every type", () => {
  const reasons = [...Object.values(unfit), ...oddIds].map(([, reason]) => reason).sort();
  let live: Source;

  beforeAll(async () => {
    const database = await testDatabase();
    live = await startSource(database);
    await delivered(live, "before");
  });

  afterAll(async () => {
    await stop(live);
    await live.database.drop();
  });

  it("written live → each quarantined alone, the rest delivered", async () => {
    const raw = [...Object.values(records), ...[...Object.values(unfit), ...oddIds].map(([bytes]) => bytes)];
    await insertRaw(live.database, "todos", raw);
    expect(await delivered(live, "live")).toEqual([...Object.keys(records), "live"].sort());
    expect(await quarantineOf(live.database)).toEqual(reasons);
    expectCalm(live);
  });

  it("written again → nothing changes", async () => {
    await todosOf(live.database).updateMany({}, { $set: { undeclared: 1 } });
    expect(await delivered(live, "again")).toEqual(["again"]);
    expect(await quarantineOf(live.database)).toEqual(reasons);
    expectCalm(live);
  });

  it("there from the start → the same", async () => {
    const database = { ...live.database, tidemarkDb: `${live.database.tidemarkDb}-2` };
    const loaded = await startSource(database);
    const expected = [...Object.keys(records), "before", "live", "again", "loaded"].sort();
    expect(await delivered(loaded, "loaded")).toEqual(expected);
    expect(await quarantineOf(database)).toEqual(reasons);
    expectCalm(loaded);
    await stop(loaded);
    await database.client.db(database.tidemarkDb).dropDatabase();
  });

  it("pushed to → as if absent, but for the id not being free; the document stays", async () => {
    const json = (value: JsonObject) => ({ record: { form: { case: "json" as const, value } } });
    const kinds: NonNullable<MessageInitShape<typeof MutationSchema>["kind"]>[] = [
      { case: "create", value: json({ title: "mine", ownerId: "ana" }) },
      { case: "update", value: json({ notes: "mine" }) },
      { case: "delete", value: {} },
    ];
    const mutations = Object.keys(unfit).flatMap((recordId) =>
      kinds.map((kind) => ({ mutationId: randomUUID(), collection: "todos", recordId, kind })),
    );
    const sync = syncClient(live.server.url);
    const { receipts } = await sync.pushMutations({ mutations }, { headers: asPrincipal("ana") });
    const told = receipts.map(({ outcome, rejection, recordAbsent }) => [
      Outcome[outcome],
      rejection ? RejectionReason[rejection.reason] : recordAbsent,
    ]);
    const each = [
      ["REJECTED", "ID_TAKEN"],
      ["CONFLICT", true],
      ["APPLIED", false],
    ];
    expect(told).toEqual(Object.keys(unfit).flatMap(() => each));
    expect(
      await todosOf(live.database).countDocuments({ _id: { $in: Object.keys(unfit) } } as Document),
    ).toBe(Object.keys(unfit).length);
    expectCalm(live);
  });

  it("mended or deleted → healed, nothing left in quarantine", async () => {
    const todos = todosOf(live.database);
    const good = { ownerId: "ana", title: "good" };
    for (const _id of Object.keys(unfit)) await todos.replaceOne({ _id } as Document, good);
    await todos.deleteMany({ title: SECRET });
    await todos.deleteMany({ _id: "key-twice" } as Document);
    const gone = Object.keys(records).filter((recordId) => recordId !== "text-not-utf8");
    const expected = [...Object.keys(unfit), ...gone.map((recordId) => `-${recordId}`), "loaded", "mended"];
    expect(await delivered(live, "mended")).toEqual(expected.sort());
    expect(await quarantineOf(live.database)).toEqual([]);
    expectCalm(live);
  });
});

it("more _ids in a row that JavaScript can't hold than a page of the load → passed over", async () => {
  const database = await testDatabase();
  const odd = Array.from({ length: 2_100 }, (_, n) =>
    withBytes({ _id: `m${n}##`, ...ofAna }, "##", NOT_UTF8),
  );
  await insertRaw(database, "todos", odd);
  await todosOf(database).insertMany(["a", "z"].map((_id) => ({ _id, ...ofAna }) as Document));
  const loaded = await startSource(database);
  expect(await delivered(loaded, "after")).toEqual(["a", "after", "z"]);
  expectCalm(loaded);
  await stop(loaded);
  await database.drop();
});

const kinds = {
  string: SECRET,
  int: 7,
  long: Long.fromString("1099511627776"),
  double: 1.5,
  decimal: Decimal128.fromString("NaN"),
  bool: true,
  date: DAY,
  array: [SECRET],
  document: { a: SECRET },
  objectId: new ObjectId(),
  binary: new Binary(Buffer.from(SECRET)),
  regExp: new BSONRegExp(SECRET),
  timestamp: new Timestamp({ t: 1, i: 1 }),
  code: new Code(SECRET),
  minKey: new MinKey(),
  maxKey: new MaxKey(),
  null: null,
};
type Kind = keyof typeof kinds;

/** What each field of a todo takes, besides null. */
const takes: Readonly<Record<string, readonly Kind[]>> = {
  title: ["string"],
  notes: ["string"],
  done: ["bool"],
  priority: ["int"],
  due: ["date"],
  tags: ["array"],
  votes: ["int"],
  place: ["document"],
  "place.name": ["string"],
  "place.lat": ["int", "double", "decimal", "long"],
  createdAt: ["date"],
};

it("every field with a value of every type → quarantined where it doesn't fit; healed by the next good write", async () => {
  const source = await startSource(await testDatabase());
  await delivered(source, "before");
  const todos = todosOf(source.database);
  const fits: string[] = [];
  const misfits = new Map<string, string>();
  for (const [path, taken] of Object.entries(takes)) {
    for (const [kind, value] of Object.entries(kinds)) {
      const _id = `${path}=${kind}`;
      await todos.updateOne(
        { _id } as Document,
        { $set: { ownerId: "ana", [path]: value } },
        { upsert: true },
      );
      if (kind === "null" || taken.includes(kind as Kind)) fits.push(_id);
      else misfits.set(_id, path);
    }
  }
  expect(await delivered(source, "written")).toEqual([...fits, "written"].sort());
  const { client, tidemarkDb } = source.database;
  const rows = await client.db(tidemarkDb).collection("quarantine").find().toArray();
  expect(rows.map(({ _id }) => (_id as unknown as { k: string }).k).sort()).toEqual(
    [...misfits.keys()].sort(),
  );
  for (const { _id, reason } of rows) {
    const path = misfits.get((_id as unknown as { k: string }).k) ?? "";
    expect(reason.slice(0, path.length), reason).toBe(path);
    expect(reason).not.toContain(SECRET);
  }

  await todos.updateMany({ _id: { $in: [...misfits.keys()] } } as Document, [{ $project: { ownerId: 1 } }]);
  expect(await delivered(source, "mended")).toEqual([...misfits.keys(), "mended"].sort());
  expect(await quarantineOf(source.database)).toEqual([]);
  expectCalm(source);
  await stop(source);
  await source.database.drop();
});
