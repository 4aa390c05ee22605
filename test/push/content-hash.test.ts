// The content hash is stored with each receipt for as long as receipts are kept: were it to come out otherwise after an
// upgrade, edits that were applied would be refused as another's. These hashes must never change.
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Mutation } from "../../src/model/mutation.ts";
import { readMutation } from "../../src/push/read-mutation.ts";
import {
  create as creation,
  mutation,
  type PushFixture,
  pushFixture,
  remove,
  update,
} from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
});
afterAll(() => fixture.close());

const title = { title: "tea", ownerId: "ana" };
const place = { place: { name: "home", lat: 1.5 }, labels: { b: "2", a: "1" } };

const pinned: [string, () => Mutation, string][] = [
  [
    "a create",
    () => creation("r", { ...title, ...place, tags: ["x"], rank: 0 }),
    "1b6efeaff5566c6f8fb14b1d487056764eecbeb7e0bf05f33a3b7c9019d9cf70",
  ],
  [
    "an update with base",
    () => update("r", { ...place, stars: 2 }, { stars: 1 }),
    "bf6369e94c31f51fe4d9aa605d347677805d6ab192b2a8bed940cb09b97f96a3",
  ],
  [
    "a blind update of a version",
    () => update("r", { body: "b" }, undefined, { expectedVersion: 7, madeAfter: 9n }),
    "fb21f8683aca9b18e70e59d6067cbb7c7b3814971ace0acc35020bcbb1e3263d",
  ],
  ["a delete", () => remove("r"), "f1b524d84c5eaad10925a19034607c3877410a5e2f168bf637539c1342114e0c"],
  [
    "a delete with base",
    () => remove("r", title),
    "cc374332cd330e9b19d9a505566686f83136ebd7ef58cb147c3befdf3092dcef",
  ],
];

function hashOf(one: Mutation): string {
  return Buffer.from(readMutation(fixture.schema, one).hash).toString("hex");
}

test.each(pinned)("content hash: %s → what it has always been", (_, make, hash) => {
  expect(hashOf(make())).toBe(hash);
});

test("content hash: the same in PROTO form", () => {
  const collection = fixture.schema.collections.get("notes");
  if (collection === undefined) throw new Error("the schema has notes");
  const bytes = toBinary(collection.message, create(collection.message, title));
  const one = mutation("r", { case: "create", record: { form: "PROTO", bytes } });
  expect(hashOf(one)).toBe(hashOf(creation("r", title)));
});
