// How large one mutation may be: in both forms, record and base together; told with the limit, its value, and what was
// sent.
import { create as message, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MUTATION_BYTES_MAX, type MutationKind } from "../../src/model/mutation.ts";
import type { RecordForm } from "../../src/model/record-form.ts";
import { MUTATION_FIELDS_MAX } from "../../src/push/mutation-size.ts";
import { create, mutation, type PushFixture, pushFixture, send, sendOne, update } from "./push-fixture.ts";

const BYTES_MAX = 1_000;

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture({ mutationBytesMax: BYTES_MAX });
  await fixture.notes.insertOne({ _id: "there", ...ofAna });
});
afterAll(() => fixture.close());

const ofAna = { title: "tea", ownerId: "ana" };

const sizeOf = (record: RecordForm): number =>
  record.form === "PROTO" ? record.bytes.length : Buffer.byteLength(JSON.stringify(record.json));

/** A note whose body makes it that large, to the byte. */
function noteOf(form: RecordForm["form"], bytes: number): RecordForm {
  const collection = fixture.schema.collections.get("notes");
  if (collection === undefined) throw new Error("the schema has notes");
  const made = (length: number): RecordForm => {
    const json = { ...ofAna, body: "é".repeat(Math.floor(length / 2)) + "x".repeat(length % 2) };
    if (form === "JSON") return { form, json };
    return { form, bytes: toBinary(collection.message, message(collection.message, json)) };
  };
  const fixed = sizeOf(made(200)) - 200;
  const record = made(bytes - fixed);
  if (sizeOf(record) !== bytes) throw new Error(`made ${sizeOf(record)} bytes instead of ${bytes}`);
  return record;
}

const kinds: [string, (form: RecordForm["form"], bytes: number) => MutationKind][] = [
  ["create", (form, bytes) => ({ case: "create", record: noteOf(form, bytes) })],
  [
    "update",
    (form, bytes) => ({
      case: "update",
      record: noteOf(form, bytes - 400),
      changed: form === "PROTO" ? [3] : [],
      base: noteOf(form, 400),
    }),
  ],
  ["delete", (form, bytes) => ({ case: "delete", base: noteOf(form, bytes) })],
];
const both = kinds.flatMap(([name, make]) =>
  (["PROTO", "JSON"] as const).map((form) => ({ name, form, make: (bytes: number) => make(form, bytes) })),
);

test.each(both)(
  "push: a $name of the most bytes, in $form form → taken; of one more → TOO_LARGE, unrecorded",
  async ({ name, form, make }) => {
    const fits = await sendOne(fixture, mutation(`fits-${name}-${form}`, make(BYTES_MAX)));
    expect(fits.rejection).toBeUndefined();
    const one = mutation(`large-${name}-${form}`, make(BYTES_MAX + 1));
    const told = await sendOne(fixture, one);
    expect(told).toMatchObject({
      outcome: "REJECTED",
      rejection: { reason: "TOO_LARGE", violations: [{ path: name, ruleId: "mutation_bytes_max" }] },
    });
    expect(told.rejection?.description).toContain(`${BYTES_MAX + 1} bytes, more than ${BYTES_MAX}`);
    expect(told.rejection?.description).toContain("mutation_bytes_max");
    expect(await fixture.ledger.receipts.findOne({ _id: one.mutationId })).toBeNull();
  },
);

test("push: more fields in JSON form than any record has → TOO_LARGE, naming limit and value", async () => {
  const wide = await pushFixture();
  const fields = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, null]));
  const over = await sendOne(wide, update("there", fields(MUTATION_FIELDS_MAX + 1)));
  expect(over.rejection).toMatchObject({
    reason: "TOO_LARGE",
    violations: [{ path: "update", ruleId: "mutation_fields_max" }],
  });
  expect(over.rejection?.description).toContain(
    `${MUTATION_FIELDS_MAX + 1} fields, more than ${MUTATION_FIELDS_MAX}`,
  );
  const inBase = await sendOne(wide, update("there", { body: "b" }, fields(MUTATION_FIELDS_MAX + 1)));
  expect(inBase.rejection).toMatchObject({ reason: "TOO_LARGE" });
  const unknown = await sendOne(wide, update("there", fields(MUTATION_FIELDS_MAX)));
  expect(unknown.rejection).toMatchObject({ reason: "INVALID" });
  await wide.close();
});

test("push: one of a request is too large → the others go through; in an atomic one they are NOT_ATTEMPTED", async () => {
  const large = mutation("large", { case: "create", record: noteOf("JSON", BYTES_MAX + 1) });
  const { receipts } = await send(fixture, [create("small-1", ofAna), large, create("small-2", ofAna)]);
  expect(receipts.map(({ outcome }) => outcome)).toEqual(["APPLIED", "REJECTED", "APPLIED"]);
  const atomic = await send(fixture, [create("small-3", ofAna), large], { atomic: true });
  expect(atomic.receipts.map(({ outcome }) => outcome)).toEqual(["NOT_ATTEMPTED", "REJECTED"]);
  expect(await fixture.notes.countDocuments({ _id: /^(small-3|large)/ })).toBe(0);
});

test("push: no limit set → the one of the model", async () => {
  const wide = await pushFixture();
  const told = await sendOne(wide, create("large", { ...ofAna, body: "x".repeat(MUTATION_BYTES_MAX) }));
  expect(told.rejection?.description).toContain(`more than ${MUTATION_BYTES_MAX}`);
  await wide.close();
});
