// What a transaction reads is bounded, however few bytes its mutations have: documents too large to be read together are
// pushed one by one, and an atomic request about them is refused.
import { afterAll, beforeAll, expect, test } from "vitest";
import { DOCUMENTS_BYTES_MAX } from "../../src/push/facts.ts";
import { type PushFixture, pushFixture, send, update } from "./push-fixture.ts";

const DOCUMENT_BYTES = 14 * 2 ** 20;
const COUNT = Math.ceil(DOCUMENTS_BYTES_MAX / DOCUMENT_BYTES);

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
  // Undeclared: the records themselves are small.
  const undeclared = "u".repeat(DOCUMENT_BYTES);
  for (let n = 0; n < COUNT; n++) {
    await fixture.notes.insertOne({ _id: `large-${n}`, title: "tea", ownerId: "ana", undeclared });
  }
});
afterAll(() => fixture.close());

function edits(title: string) {
  return Array.from({ length: COUNT }, (_, n) => update(`large-${n}`, { title }));
}

async function titles(): Promise<Set<unknown>> {
  const found = await fixture.notes.find({}, { projection: { title: 1 } }).toArray();
  return new Set(found.map(({ title }) => title));
}

test("push: documents of more than a transaction reads → each alone, all APPLIED", async () => {
  const { receipts } = await send(fixture, edits("two"));
  expect(receipts.map(({ outcome }) => outcome)).toEqual(Array(COUNT).fill("APPLIED"));
  expect(new Set(receipts.map(({ commitClock }) => commitClock)).size).toBe(COUNT);
  expect(await titles()).toEqual(new Set(["two"]));
});

test("push: the same in an atomic request → REQUEST_TOO_LARGE with the bound, nothing written", async () => {
  const call = send(fixture, edits("three"), { atomic: true });
  await expect(call).rejects.toMatchObject({
    reason: "REQUEST_TOO_LARGE",
    message: expect.stringContaining(String(DOCUMENTS_BYTES_MAX)),
  });
  expect(await titles()).toEqual(new Set(["two"]));
});
