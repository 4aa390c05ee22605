// Fields clients may not set, by every way of naming them: a HIDDEN one, at whatever depth and in whatever part of a
// mutation, is answered as one nobody ever declared, and what it holds stays; a READ_ONLY one is FORBIDDEN by each name.
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Mutation, MutationKind } from "../../src/model/mutation.ts";
import type { Receipt } from "../../src/model/receipt.ts";
import type { JsonObject } from "../../src/model/record-form.ts";
import { create, mutation, type PushFixture, pushFixture, remove, sendOne, update } from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
});
afterAll(() => fixture.close());

const paper = { collection: "papers" };
const stored = {
  title: "t",
  ownerId: "ana",
  vault: "kept-1",
  printedBy: "press",
  cover: { color: "red", cost: "kept-2" },
  covers: [{ color: "red", cost: "kept-3" }],
  coversByName: { a: { color: "red", cost: "kept-4" } },
};

async function paperOf(more: object = {}): Promise<string> {
  const id = randomUUID();
  await papers().insertOne({ _id: id, ...stored, ...more });
  return id;
}

function papers() {
  return fixture.database.source.collection<{ _id: string }>("papers");
}

function allOf(receipt: Receipt): string {
  return JSON.stringify(receipt, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
}

/** What a client is told, without what it sent itself. */
function told({ outcome, rejection, record, conflicts }: Receipt, ...own: readonly string[]): string {
  const text = JSON.stringify({ outcome, rejection, conflicts, record: record !== undefined });
  return own.reduce((rest, name) => rest.replaceAll(name, "?"), text);
}

const textField = (number: number, value: string) => bytesField(number, Buffer.from(value));

function bytesField(number: number, value: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(...varint((number << 3) | 2), ...varint(value.length)), value]);
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >> 7)];
}

/** Places for a field of Cover, of which `cost` is hidden: number 2. */
const inProto: ReadonlyArray<readonly [where: string, changed: number, of: (cover: Buffer) => Buffer]> = [
  ["in a message", 9, (cover) => bytesField(9, cover)],
  ["in a list", 11, (cover) => bytesField(11, cover)],
  ["in a map", 12, (cover) => bytesField(12, Buffer.concat([textField(1, "a"), bytesField(2, cover)]))],
  ["in a oneof", 13, (cover) => bytesField(13, cover)],
];
const inJson: ReadonlyArray<readonly [where: string, of: (cover: JsonObject) => JsonObject]> = [
  ["in the record", (cover) => cover],
  ["in a message", (cover) => ({ cover })],
  ["in a list", (cover) => ({ covers: [{ color: "x" }, cover] })],
  ["in a map", (cover) => ({ coversByName: { a: cover } })],
  ["in a oneof", (cover) => ({ hard: cover })],
];

const protoKinds = (bytes: Uint8Array, changed: number): ReadonlyArray<readonly [string, MutationKind]> => {
  const record = { form: "PROTO", bytes } as const;
  const own = { form: "PROTO", bytes: new Uint8Array([...textField(3, "ana")]) } as const;
  return [
    ["a create", { case: "create", record: { form: "PROTO", bytes: Buffer.concat([own.bytes, bytes]) } }],
    ["an update", { case: "update", record, changed: [changed], base: undefined }],
    ["a base", { case: "update", record: own, changed: [2], base: record }],
    ["a delete's base", { case: "delete", base: record }],
  ];
};

describe("push: a HIDDEN field in PROTO form → as a number nobody declared", () => {
  it.each(inProto)("%s", async (_, changed, of) => {
    const id = await paperOf();
    const before = await papers().findOne({ _id: id });
    const hidden = protoKinds(of(textField(2, "new")), changed);
    const unknown = protoKinds(of(textField(77, "new")), changed);
    for (const [index, [what, kind]] of hidden.entries()) {
      const other = unknown[index]?.[1] ?? kind;
      const receipt = await sendOne(fixture, mutation(id, kind, paper));
      expect(receipt.rejection?.reason, what).toBe("INVALID");
      expect(told(receipt, "#2", "number 2")).toBe(
        told(await sendOne(fixture, mutation(id, other, paper)), "#77", "number 77"),
      );
    }
    expect(await papers().findOne({ _id: id })).toEqual(before);
  });

  it("named in `changed` alone, or of a oneof → INVALID", async () => {
    const id = await paperOf({ sealed: "kept-5" });
    for (const [number, form] of [
      [8, "vault"],
      [15, "sealed"],
    ] as const) {
      const record = { form: "PROTO", bytes: new Uint8Array() } as const;
      const kind = { case: "update", record, changed: [number], base: undefined } as const;
      const receipt = await sendOne(fixture, mutation(id, kind, paper));
      expect(receipt.rejection?.reason).toBe("INVALID");
      expect(allOf(receipt)).not.toContain(form);
    }
  });
});

describe("push: a HIDDEN field in JSON form → as a key nobody declared", () => {
  it.each(inJson)("%s", async (where, of) => {
    const id = await paperOf();
    const before = await papers().findOne({ _id: id });
    const name = where === "in the record" ? "vault" : "cost";
    const sent = (key: string): Mutation[] => [
      create(randomUUID(), { ownerId: "ana", ...of({ [key]: "new" }) }, paper),
      update(id, of({ [key]: "new" }), undefined, paper),
      update(id, of({ [key]: null }), undefined, paper),
      update(id, { title: "x" }, of({ [key]: "kept-2" }), paper),
      remove(id, of({ [key]: "kept-2" }), paper),
    ];
    const unknown = sent("nonsense");
    for (const [index, one] of sent(name).entries()) {
      const receipt = await sendOne(fixture, one);
      expect(receipt.rejection?.reason, String(index)).toBe("INVALID");
      const other = await sendOne(fixture, unknown[index] ?? one);
      expect(told(receipt, name)).toBe(told(other, "nonsense"));
    }
    expect(await papers().findOne({ _id: id })).toEqual(before);
  });
});

describe("push: what hides inside a value that is replaced", () => {
  it("a message's own fields change or it goes → the hidden ones stay", async () => {
    const id = await paperOf();
    expect(await sendOne(fixture, update(id, { cover: { color: "blue" } }, undefined, paper))).toMatchObject({
      outcome: "APPLIED",
    });
    expect(await papers().findOne({ _id: id })).toMatchObject({ cover: { color: "blue", cost: "kept-2" } });
    await sendOne(fixture, update(id, { cover: null }, undefined, paper));
    expect((await papers().findOne({ _id: id })) as object).toMatchObject({ cover: { cost: "kept-2" } });
  });

  it.each([
    ["an element of a list", { covers: [] }],
    ["an element's visible field", { covers: [{ color: "blue" }] }],
    ["an entry of a map", { coversByName: {} }],
  ])("%s → refused, without a word of what is there", async (_, change) => {
    const id = await paperOf();
    const before = await papers().findOne({ _id: id });
    const receipt = await sendOne(fixture, update(id, change, undefined, paper));
    expect(receipt.rejection?.reason).toBe("UNDECLARED_DATA");
    expect(allOf(receipt)).not.toMatch(/cost|kept-/);
    expect(await papers().findOne({ _id: id })).toEqual(before);
  });

  it("a oneof whose hidden member is set → refused, the member not named", async () => {
    const id = await paperOf({ sealed: "kept-5" });
    const receipt = await sendOne(fixture, update(id, { soft: "x" }, undefined, paper));
    expect(receipt.rejection?.reason).toBe("FORBIDDEN");
    expect(allOf(receipt)).not.toMatch(/sealed|kept-/);
    expect(await papers().findOne({ _id: id })).toMatchObject({ sealed: "kept-5" });
  });
});

describe("push: a READ_ONLY field", () => {
  it.each([
    ["by its JSON name", { printedBy: "me" }],
    ["by its proto name", { printed_by: "me" }],
    ["set to what it is", { printedBy: "press" }],
    ["cleared", { printedBy: null }],
  ])("%s → FORBIDDEN, in updates and creates", async (_, change) => {
    const id = await paperOf();
    const refused = { outcome: "REJECTED", rejection: { reason: "FORBIDDEN" } };
    expect(await sendOne(fixture, update(id, change, undefined, paper))).toMatchObject(refused);
    expect(await papers().findOne({ _id: id })).toMatchObject({ printedBy: "press" });
    const made = { ownerId: "ana", ...change };
    const isNamed = !Object.values(change).includes(null as never);
    const receipt = await sendOne(fixture, create(randomUUID(), made, paper));
    expect(receipt.outcome).toBe(isNamed ? "REJECTED" : "APPLIED");
  });

  it("in `base`, as its client saw it → taken, and decides nothing", async () => {
    const id = await paperOf();
    const base = { title: "t", printedBy: "an older one" };
    expect(await sendOne(fixture, update(id, { title: "x" }, base, paper))).toMatchObject({
      outcome: "APPLIED",
    });
  });
});
