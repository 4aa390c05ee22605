// Mutations no honest client sends, over real sockets: each is rejected with a reason and a sentence, nothing of the
// inside or of others' records leaks, and the server goes on serving.
import { randomUUID } from "node:crypto";
import type { Document } from "mongodb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Tidemark } from "../../src/main.ts";
import { type KeptLog, keptLog } from "../support/log-lines.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { startServer } from "../support/server.ts";
import { callJson } from "./call-server.ts";

let database: TestDatabase;
let server: Tidemark;
let log: KeptLog;

beforeAll(async () => {
  database = await testDatabase();
  await todos().insertOne({ _id: "ben's", title: "secret of ben", ownerId: "ben" } as Document);
  await todos().insertOne({ _id: "ana's", title: "mine", ownerId: "ana" } as Document);
  log = keptLog();
  server = await startServer(database, {}, log.logger);
});

afterAll(async () => {
  await server.close();
  await database.drop();
});

/** Whatever was sent before: the server still serves, and found nothing wrong with itself. */
async function expectUnharmed(): Promise<void> {
  const { receipts } = JSON.parse((await callJson(server.url, "PushMutations", pushOf({}))).text);
  expect(receipts[0]).toMatchObject({ outcome: "OUTCOME_APPLIED" });
  expect(log.troubles()).toEqual([]);
}

const todos = () => database.source.collection<Document>("todos");

const json = (record: object) => ({ record: { json: record } });
const proto = (bytes: readonly number[]) => ({ record: { proto: Buffer.from(bytes).toString("base64") } });
const good = { title: "T", ownerId: "ana" };

function mutationOf(over: object): object {
  const mutationId = randomUUID();
  return { mutationId, collection: "todos", recordId: mutationId, create: json(good), ...over };
}

function pushOf(over: object): object {
  return { mutations: [mutationOf(over)] };
}

/** A Place in a Place in a Place …: field 9 has no such message. */
const nestedPlaces = () => {
  let bytes: number[] = [];
  for (let level = 0; level < 40; level++) bytes = [0x4a, bytes.length, ...bytes];
  return [0x12, 1, 65, 0x52, 3, 97, 110, 97, ...bytes];
};
/** A push as text, where JSON.stringify would repair it. */
const pushText = (record: string) =>
  `{"mutations":[{"mutationId":"${randomUUID()}","collection":"todos","recordId":"x","create":{"record":{"json":${record}}}}]}`;

/** Mutations refused one by one: the rejection's reason, and a violation. */
const rejected: Readonly<Record<string, readonly [body: () => unknown, reason: string, violation?: object]>> =
  {
    "an unknown collection": [() => pushOf({ collection: "nope" }), "UNKNOWN_COLLECTION"],
    "a collection called __proto__": [() => pushOf({ collection: "__proto__" }), "UNKNOWN_COLLECTION"],
    "a SERVER_ONLY collection": [() => pushOf({ collection: "cities", create: json({}) }), "FORBIDDEN"],
    "a record for someone else": [() => pushOf({ create: json({ ...good, ownerId: "ben" }) }), "FORBIDDEN"],
    "moving one's own record to someone else": [
      () => pushOf({ recordId: "ana's", create: undefined, update: json({ ownerId: "ben" }) }),
      "FORBIDDEN",
    ],
    "a create on someone else's id": [() => pushOf({ recordId: "ben's" }), "ID_TAKEN"],
    "a string that is a number": [
      () => pushOf({ create: json({ ...good, title: 5 }) }),
      "INVALID",
      { path: "title", ruleId: "type" },
    ],
    "a bool that is a string": [
      () => pushOf({ create: json({ ...good, done: "yes" }) }),
      "INVALID",
      { path: "done", ruleId: "type" },
    ],
    "an int32 with a fraction": [
      () => pushOf({ create: json({ ...good, votes: 1.5 }) }),
      "INVALID",
      { path: "votes", ruleId: "type" },
    ],
    "an int32 beyond": [
      () => pushOf({ create: json({ ...good, votes: 2 ** 31 }) }),
      "INVALID",
      { path: "votes", ruleId: "type" },
    ],
    "a list that is none": [
      () => pushOf({ create: json({ ...good, tags: "a" }) }),
      "INVALID",
      { path: "tags", ruleId: "type" },
    ],
    "a message that is a list": [
      () => pushOf({ create: json({ ...good, place: [] }) }),
      "INVALID",
      { path: "place", ruleId: "type" },
    ],
    "an enum value there isn't": [
      () => pushOf({ create: json({ ...good, priority: "PRIORITY_NONE" }) }),
      "INVALID",
      { path: "priority", ruleId: "type" },
    ],
    "a time that is none": [
      () => pushOf({ create: json({ ...good, due: "never" }) }),
      "INVALID",
      { path: "due", ruleId: "type" },
    ],
    "an unknown key": [
      () => pushOf({ create: json({ ...good, nope: 1 }) }),
      "INVALID",
      { path: "nope", ruleId: "unknown_field" },
    ],
    "a key called __proto__": [
      () => pushText('{"title":"x","ownerId":"ana","__proto__":{"a":1}}'),
      "INVALID",
      { path: "__proto__", ruleId: "unknown_field" },
    ],
    "a field by both its names": [
      () => pushOf({ create: json({ ...good, owner_id: "ben" }) }),
      "INVALID",
      { path: "owner_id", ruleId: "duplicate_field" },
    ],
    "text that isn't Unicode": [
      () => pushText('{"title":"\\ud800","ownerId":"ana"}'),
      "INVALID",
      { path: "title", ruleId: "type" },
    ],
    "an id that isn't the record's": [
      () => pushOf({ create: json({ ...good, id: "other" }) }),
      "INVALID",
      { path: "create.record.id", ruleId: "record.id" },
    ],
    "PROTO: garbage": [
      () => pushOf({ create: proto([0xff, 0xff, 0xff, 1, 2]) }),
      "INVALID",
      { ruleId: "malformed" },
    ],
    "PROTO: cut short": [() => pushOf({ create: proto([0x12, 16, 65]) }), "INVALID", { ruleId: "malformed" }],
    "PROTO: text that isn't UTF-8": [
      () => pushOf({ create: proto([0x12, 2, 0xff, 0xfe]) }),
      "INVALID",
      { ruleId: "malformed" },
    ],
    "PROTO: 20,000 groups in each other": [
      () => pushOf({ create: proto(Array(20_000).fill(0x0b)) }),
      "INVALID",
      { ruleId: "malformed" },
    ],
    "PROTO: messages where none are": [
      () => pushOf({ create: proto(nestedPlaces()) }),
      "INVALID",
      { path: "place.#9", ruleId: "unknown_field" },
    ],
    "PROTO: an unknown number": [
      () => pushOf({ create: proto([0x12, 1, 65, 0xf8, 7, 1]) }),
      "INVALID",
      { path: "#127", ruleId: "unknown_field" },
    ],
    "PROTO: an unknown number as changed": [
      () => pushOf({ create: undefined, update: { ...proto([]), changed: [99] } }),
      "INVALID",
      { path: "update.changed", ruleId: "changed.unknown" },
    ],
    "PROTO: the id as changed": [
      () => pushOf({ create: undefined, update: { ...proto([]), changed: [1] } }),
      "INVALID",
      { path: "update.changed", ruleId: "changed.id" },
    ],
    "changed fields in JSON form": [
      () => pushOf({ create: undefined, update: { ...json({ title: "x" }), changed: [2] } }),
      "INVALID",
      { path: "update.changed", ruleId: "changed.json" },
    ],
    "an update of nothing": [() => pushOf({ create: undefined, update: json({}) }), "INVALID"],
    "an empty title": [
      () => pushOf({ create: json({ ownerId: "ana" }) }),
      "INVALID",
      { path: "title", ruleId: "string.min_len" },
    ],
    "an over-long title": [
      () => pushOf({ create: json({ ...good, title: "t".repeat(201) }) }),
      "INVALID",
      { path: "title", ruleId: "string.max_len" },
    ],
    "a record of 4 MB": [
      () => pushOf({ create: json({ ...good, notes: "n".repeat(4_000_000) }) }),
      "TOO_LARGE",
      { path: "create", ruleId: "mutation_bytes_max" },
    ],
    "notes beyond their limit": [
      () => pushOf({ create: json({ ...good, notes: "n".repeat(10_001) }) }),
      "INVALID",
      { path: "notes", ruleId: "string.max_len" },
    ],
    "too many tags": [
      () => pushOf({ create: json({ ...good, tags: Array(51).fill("a") }) }),
      "INVALID",
      { path: "tags", ruleId: "repeated.max_items" },
    ],
    "a latitude that is no number": [
      () => pushOf({ create: json({ ...good, place: { lat: "NaN" } }) }),
      "INVALID",
      { path: "place.lat" },
    ],
    "a create that expects a version": [() => pushOf({ expectedVersion: "5" }), "INVALID"],
    "made after a time long forgotten": [() => pushOf({ madeAfter: "1" }), "EXPIRED"],
  };

describe("pushed", () => {
  it.each(Object.entries(rejected))("%s → rejected", async (_, [body, reason, violation]) => {
    const { status, text } = await callJson(server.url, "PushMutations", body());
    expect(status).toBe(200);
    const [receipt] = JSON.parse(text).receipts;
    expect(receipt).toMatchObject({
      outcome: "OUTCOME_REJECTED",
      rejection: { reason: `REJECTION_REASON_${reason}` },
    });
    expect(receipt.rejection.description).toMatch(/\w+ \w+/);
    if (violation) expect(receipt.rejection.violations[0]).toMatchObject(violation);
    expect(text).not.toContain("secret of ben");
    await expectUnharmed();
  });

  it("changes of someone else's record → answered as if there was none, and none made", async () => {
    const kinds = [
      { update: json({ title: "stolen" }) },
      { delete: {} },
      { update: json({ ownerId: "ana" }) },
    ];
    const mutations = kinds.map((kind) => mutationOf({ recordId: "ben's", create: undefined, ...kind }));
    const { text } = await callJson(server.url, "PushMutations", { mutations });
    const { receipts } = JSON.parse(text);
    expect(receipts.map(({ outcome, recordAbsent }: Document) => [outcome, recordAbsent])).toEqual([
      ["OUTCOME_CONFLICT", true],
      ["OUTCOME_APPLIED", undefined],
      ["OUTCOME_CONFLICT", true],
    ]);
    expect(text).not.toContain("secret of ben");
    expect(await todos().findOne({ _id: "ben's" } as Document)).toMatchObject({ ownerId: "ben" });
  });

  it.each(["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])(
    "made at %s by a clock that lies → applied all the same",
    async (madeAt) => {
      const { text } = await callJson(
        server.url,
        "PushMutations",
        pushOf({ madeAt, madeAfter: "9223372036854775807" }),
      );
      expect(JSON.parse(text).receipts[0]).toMatchObject({ outcome: "OUTCOME_APPLIED" });
    },
  );
});
