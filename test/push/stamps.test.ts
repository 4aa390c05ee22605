// Stamps: times the server sets where a push writes, which clients neither set nor answer for.
import { Long } from "mongodb";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sourceReadOptions } from "../../src/schema/bson-value.ts";
import {
  create,
  NOW_MS,
  type PushFixture,
  pushFixture,
  remove,
  send,
  sendOne,
  update,
} from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
});
afterAll(() => fixture.close());

const inStamped = { collection: "stamped" };
const ofAna = { title: "tea", ownerId: "ana" };

function stampedAs(createdMs: number, writtenMs: number) {
  return {
    createdAt: new Date(createdMs),
    createdMs: BigInt(createdMs),
    writtenAt: new Date(writtenMs),
    w: BigInt(writtenMs),
    writtenDate: new Date(writtenMs),
  };
}

function storedOf(_id: string) {
  return fixture.database.source.collection<{ _id: string }>("stamped").findOne({ _id }, sourceReadOptions);
}

test("push: create → both stamps, each in its field's type, by the node's clock; update → WRITTEN_AT alone", async () => {
  fixture.time.nowMs = NOW_MS;
  expect(await sendOne(fixture, create("one", ofAna, inStamped))).toMatchObject({ outcome: "APPLIED" });
  expect(await storedOf("one")).toEqual({ _id: "one", ...ofAna, ...stampedAs(NOW_MS, NOW_MS) });
  fixture.time.nowMs = NOW_MS + 5;
  await sendOne(fixture, update("one", { title: "two" }, { title: "tea" }, inStamped));
  const twice = { ...ofAna, title: "two", ...stampedAs(NOW_MS, NOW_MS + 5) };
  expect(await storedOf("one")).toEqual({ _id: "one", ...twice });
  fixture.time.nowMs = NOW_MS + 9;
  const unmoved = [
    update("one", { title: "two" }, { title: "two" }, inStamped),
    update("one", { title: "two" }, { title: "tea" }, inStamped),
    update("one", { title: "two" }, undefined, inStamped),
    create("one", { ...ofAna, title: "two" }, inStamped),
  ];
  const { receipts } = await send(fixture, unmoved);
  expect(receipts.map(({ outcome }) => outcome)).toEqual(new Array(4).fill("APPLIED"));
  expect(await storedOf("one")).toEqual({ _id: "one", ...twice });
});

test("push: MERGED tells the record with its new stamp; a later mutation of the group sees it", async () => {
  fixture.time.nowMs = NOW_MS + 20;
  const stamped = fixture.database.source.collection<{ _id: string; title: string; ownerId: string }>(
    "stamped",
  );
  await stamped.insertOne({ _id: "told", ...ofAna, title: "theirs" });
  const { receipts } = await send(fixture, [
    update("told", { title: "mine" }, { title: "tea" }, inStamped),
    create("told", { ...ofAna, title: "other" }, inStamped),
  ]);
  const json = { title: "mine", writtenMs: String(NOW_MS + 20), writtenAt: expect.any(String) };
  expect(receipts).toMatchObject([
    { outcome: "MERGED", record: { json } },
    { outcome: "CONFLICT", record: { json }, conflicts: [{ name: "title" }] },
  ]);
  const record = receipts[0]?.record;
  expect(record?.form === "JSON" && new Date(String(record.json["writtenAt"])).getTime()).toBe(NOW_MS + 20);
});

test.each([
  ["createdAt", "2026-01-01T00:00:00Z"],
  ["createdMs", "5"],
  ["writtenAt", "2026-01-01T00:00:00Z"],
  ["writtenMs", "5"],
  ["writtenDate", "5"],
])(
  "push: a client sets the stamp %s in a create or update, or clears it → FORBIDDEN",
  async (name, value) => {
    const all = [
      create("forbidden", { ...ofAna, [name]: value }, inStamped),
      update("forbidden", { [name]: value }, {}, inStamped),
      update("forbidden", { title: "x", [name]: null }, {}, inStamped),
    ];
    const { receipts } = await send(fixture, all);
    for (const receipt of receipts) {
      expect(receipt).toMatchObject({ outcome: "REJECTED", rejection: { reason: "FORBIDDEN" } });
    }
    expect(await storedOf("forbidden")).toBeNull();
  },
);

test("push: create of a record that differs in stamps alone → APPLIED", async () => {
  const stamped = fixture.database.source.collection("stamped");
  await stamped.insertOne({ _id: "equal", ...ofAna, ...stampedAs(1, 2), w: Long.fromNumber(7) } as never);
  expect(await sendOne(fixture, create("equal", ofAna, inStamped))).toMatchObject({
    outcome: "APPLIED",
    conflicts: [],
  });
  expect(await storedOf("equal")).toMatchObject({ w: 7n });
});

test("push: a delete whose base has other stamps, or none → not a conflict", async () => {
  await send(fixture, [create("gone-1", ofAna, inStamped), create("gone-2", ofAna, inStamped)]);
  const { receipts } = await send(fixture, [
    remove("gone-1", ofAna, inStamped),
    remove("gone-2", { ...ofAna, writtenMs: "3", createdAt: "1999-01-01T00:00:00Z" }, inStamped),
  ]);
  expect(receipts).toMatchObject([
    { outcome: "APPLIED", conflicts: [] },
    { outcome: "APPLIED", conflicts: [] },
  ]);
});
