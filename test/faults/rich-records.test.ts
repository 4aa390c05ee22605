// Every field of a rich schema with every kind of value, written directly: both forms carry the same records, or say what
// JSON form leaves out; what is hidden appears nowhere; what was too deep comes back whole.
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import {
  Binary,
  BSONRegExp,
  Code,
  DBRef,
  Decimal128,
  type Document,
  Double,
  Long,
  MinKey,
  ObjectId,
  Timestamp,
  UUID,
} from "mongodb";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ServerReflection } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { PullMode } from "#gen/tidemark/v1/pull_changes_pb.js";
import type { Tidemark } from "../../src/main.ts";
import { JsonClient } from "../support/json-client.ts";
import { type KeptLog, keptLog } from "../support/log-lines.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { PullClient } from "../support/pull-client.ts";
import { asPrincipal, startServer, syncClient } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";
import { callJson } from "./call-server.ts";

const PROTOS = `${import.meta.dirname}/../schema/protos`;
const SECRET = "S3CRET";

const lists = (levels: number): unknown => (levels === 0 ? 1 : [lists(levels - 1)]);
const parts = (levels: number): object => (levels === 0 ? { name: "n" } : { inner: parts(levels - 1) });

const values: Readonly<Record<string, unknown>> = {
  text: "x",
  empty: "",
  nul: "a\0b",
  emoji: "👩‍👩‍👧‍👦",
  replacement: "\ufffd",
  digits: "12",
  long: "l".repeat(100_000),
  name: "RED",
  int: 7,
  zero: 0,
  minusZero: new Double(-0),
  half: 1.5,
  nan: Number.NaN,
  infinity: Number.POSITIVE_INFINITY,
  int64: Long.MAX_VALUE,
  minInt64: Long.MIN_VALUE,
  uint32: Long.fromNumber(2 ** 32 - 1),
  decimal: Decimal128.fromString("1.50"),
  decimalNaN: Decimal128.fromString("NaN"),
  decimalMax: Decimal128.fromString("9.999999999999999999999999999999999E+6144"),
  decimalZero: Decimal128.fromString("-0E-6176"),
  uint64: Decimal128.fromString("18446744073709551615"),
  true: true,
  year1: new Date(-62_135_596_800_000),
  year9999: new Date(253_402_300_799_999),
  year10000: new Date(253_402_300_800_000),
  lastDate: new Date(8.64e15),
  null: null,
  list: [],
  texts: ["a", "b"],
  numbers: [1, 2],
  mixed: [1, "a", null, { a: 1 }],
  document: {},
  numberKeys: { "1": "a", "-1": "b", "01": "c" },
  boolKeys: { true: "a", TRUE: "b" },
  oddKeys: JSON.parse('{"__proto__":{"x":1},"constructor":"c","":"e","a.b":"d","$x":"e"}'),
  reference: new DBRef("c", new ObjectId()),
  part: { name: "n", count: 2, inner: { cost: SECRET }, cost: SECRET },
  parts: [{ name: "n", cost: SECRET }, {}],
  twoOfOneof: { width: 1, label: "x" },
  objectId: new ObjectId(),
  uuid: new UUID(),
  oldUuid: new Binary(Buffer.alloc(16, 1), 3),
  binary: new Binary(Buffer.from("b")),
  shortUuid: new Binary(Buffer.from("b"), 4),
  vector: new Binary(Buffer.from([3, 0, 1]), 9),
  regExp: new BSONRegExp("a", "i"),
  timestamp: new Timestamp({ t: 1, i: 1 }),
  code: new Code("x", { a: 1 }),
  minKey: new MinKey(),
  deepLists: lists(40),
  deeperLists: lists(48),
  deepestLists: lists(150),
  deepParts: parts(25),
  deeperParts: parts(90),
  deepestParts: parts(150),
};

const FREE_FORM = ["extra", "any", "list", "anything"];
const keys = [
  ...["text", "flag", "real", "single", "small", "large", "smallUnsigned", "largeUnsigned", "smallSigned"],
  ...["largeSigned", "smallFixed", "largeFixed", "smallSignedFixed", "largeSignedFixed", "data", "time"],
  ...["price", "objectId", "uuid", "numberText", "millis", "wide", "floating", "colour", "colourNumber"],
  ...["part", "texts", "numbers", "parts", "colours", "counts", "names", "answers", "partsByName"],
  ...["maybeNumber", "maybeText", "wrappedText", "wrappedNumber", "nothing", "choiceText", "choiceNumber"],
  ...["choicePart", "old-name", "readOnly", "constructor", "level", "times", "maybeColour", "deskIds"],
  ...["ownerId", ...FREE_FORM],
];

let database: TestDatabase;
let server: Tidemark;
let log: KeptLog;

beforeAll(async () => {
  database = await testDatabase();
  const documents = keys.flatMap((key) =>
    Object.entries(values)
      // Nothing in a free-form value is hidden.
      .filter(([kind]) => !FREE_FORM.includes(key) || !kind.startsWith("part"))
      .map(([kind, value]) => ({ _id: `${key}=${kind}`, secret: SECRET, [key]: value }) as Document),
  );
  await everything().insertMany(documents);
  log = keptLog();
  server = await startServer(database, { TIDEMARK_SCHEMA: PROTOS }, log.logger);
  await waitFor(() => server.status().isSettled);
});

afterAll(async () => {
  await server.close();
  await database.drop();
});

const everything = () => database.source.collection<Document>("everything");
const selections = [{ collection: "everything" }];

it("every field with every value → the same records in both forms, nothing hidden, the log calm", async () => {
  const proto = new PullClient();
  const request = { mode: PullMode.CATCH_UP, selections };
  for await (const frame of syncClient(server.url).pullChanges(request, { headers: asPrincipal("ana") }))
    proto.apply(frame);
  const json = new JsonClient(server.url, "everything");
  await Promise.race([json.following, waitFor(() => json.clock > 0n, { what: "a JSON client caught up" })]);
  await json.close();

  const ids = [...proto.records.keys()].map((key) => key.slice("everything/".length));
  expect([...json.records.keys(), ...json.tooLarge].sort()).toEqual(ids.sort());
  expect([...json.tooLarge].sort()).toEqual(
    [
      "any=deeperLists",
      "list=deeperLists",
      ...["choicePart", "part", "partsByName"].map((key) => `${key}=deeperParts`),
    ].sort(),
  );
  expect(ids.length).toBeGreaterThan(300);

  const bytes = [...proto.records.values()].map((record) => Buffer.from(record.bytes).toString("latin1"));
  expect(bytes.filter((record) => record.includes(SECRET))).toEqual([]);
  expect(JSON.stringify([...json.records.values()])).not.toContain(SECRET);
  const quarantined = await database.client.db(database.tidemarkDb).collection("quarantine").find().toArray();
  expect(JSON.stringify(quarantined)).not.toContain(SECRET);
  expect(JSON.stringify(quarantined)).not.toContain("the codec failed");
  expect(quarantined.length + ids.length).toBe(await everything().countDocuments());
  expect(log.troubles()).toEqual([]);
});

it("a record too deep for JSON form that gets shallower → comes back whole", async () => {
  const client = new JsonClient(server.url, "everything");
  const _id = "deep" as unknown as ObjectId;
  await everything().insertOne({ _id, text: "t", part: parts(3) });
  await waitFor(() => client.records.has("deep"));
  await everything().updateOne({ _id }, { $set: { part: parts(60) } });
  await waitFor(() => client.tooLarge.has("deep") && !client.records.has("deep"));
  await everything().updateOne({ _id }, { $set: { text: "still too deep" } });
  await everything().updateOne({ _id }, { $set: { part: { name: "flat" } } });
  await Promise.race([client.following, waitFor(() => client.records.has("deep"))]);
  expect(client.records.get("deep")).toEqual({ id: "deep", text: "still too deep", part: { name: "flat" } });
  await client.close();
});

it("hidden fields → named nowhere, and refused exactly as fields there never were", async () => {
  const push = async (key: string) => {
    const record = { json: { ownerId: "ana", [key]: "x" } };
    const mutation = {
      mutationId: crypto.randomUUID(),
      collection: "everything",
      recordId: "hidden",
      create: { record },
    };
    const { text } = await callJson(server.url, "PushMutations", { mutations: [mutation] });
    return JSON.parse(text).receipts[0].rejection;
  };
  expect(JSON.stringify(await push("secret")).replaceAll("secret", "nobody")).toBe(
    JSON.stringify(await push("nobody")),
  );

  const transport = createConnectTransport({ baseUrl: server.url, httpVersion: "2" });
  const asked = { messageRequest: { case: "fileContainingSymbol" as const, value: "acme.v1.Everything" } };
  async function* requests() {
    yield asked;
  }
  for await (const { messageResponse } of createClient(ServerReflection, transport).serverReflectionInfo(
    requests(),
  )) {
    if (messageResponse.case !== "fileDescriptorResponse") throw new Error("reflection knows the schema");
    const text = Buffer.concat(messageResponse.value.fileDescriptorProto).toString("latin1");
    expect(text).toContain("read_only");
    expect(text).not.toMatch(/secret|cost/);
  }
});
