// Who may write what: a record's scopes before and after, which scopes a write may add or take away, who may hand out
// rights, and what services may. Ana holds `user:ana` and, where a case says so, teams and a seat at a desk.
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import type { Mutation } from "../../src/model/mutation.ts";
import type { Principal } from "../../src/model/principal.ts";
import type { Receipt } from "../../src/model/receipt.ts";
import type { JsonObject } from "../../src/model/record-form.ts";
import { create, type PushFixture, principal, pushFixture, remove, update } from "./push-fixture.ts";
import { cases, ENTERS, HOMELESS, LEAVES, NOWHERE, RED } from "./write-cases.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
});
afterAll(() => fixture.close());

const paper = { collection: "papers" };
const seat = { collection: "seats" };

async function pushed(
  who: Principal,
  mutations: readonly Mutation[],
  atomic = false,
): Promise<readonly Receipt[]> {
  const request = { mutations, atomic, recordForm: "JSON" } as const;
  return (await fixture.push.pushMutations(who, request, new AbortController().signal)).receipts;
}

async function pushOne(claims: Record<string, unknown>, one: Mutation): Promise<Receipt> {
  const [receipt] = await pushed(await principal("ana", claims), [one]);
  if (receipt === undefined) throw new Error("a receipt for each mutation");
  return receipt;
}

async function paperOf(document: JsonObject, collection = "papers"): Promise<string> {
  const id = randomUUID();
  await fixture.database.source.collection<{ _id: string }>(collection).insertOne({ _id: id, ...document });
  return id;
}

const found = (id: string, collection = "papers") =>
  fixture.database.source.collection<{ _id: string }>(collection).findOne({ _id: id });

describe.each(cases)("push: $what", ({ claims = {}, before, base, after, refused }) => {
  it(refused === undefined ? "→ written" : `→ FORBIDDEN: ${refused}`, async () => {
    const id = before === undefined ? randomUUID() : await paperOf({ title: "t", ...before });
    const was = await found(id);
    const one = before === undefined ? create(id, after, paper) : update(id, after, base, paper);
    const receipt = await pushOne(claims, one);
    if (refused === undefined) {
      expect(["APPLIED", "MERGED"]).toContain(receipt.outcome);
      expect(await found(id)).not.toEqual(was);
      return;
    }
    expect(receipt).toMatchObject({ outcome: "REJECTED", record: undefined, conflicts: [] });
    expect(receipt.rejection).toEqual({ reason: "FORBIDDEN", description: refused, violations: [] });
    expect(await found(id)).toEqual(was);
    expect(await pushOne(claims, one)).toEqual({ ...receipt, replayed: true });
  });
});

describe("push: deletes", () => {
  it("of a record in a scope one may write, and in others' → APPLIED; in none → FORBIDDEN", async () => {
    const [ours, theirs] = [
      await paperOf({ ownerId: "bob", teamId: "red" }),
      await paperOf({ ownerId: "bob" }),
    ];
    expect(await pushOne(RED, remove(ours, undefined, paper))).toMatchObject({ outcome: "APPLIED" });
    expect(await pushOne(RED, remove(theirs, undefined, paper))).toMatchObject({
      rejection: { reason: "FORBIDDEN", description: NOWHERE },
    });
    expect([await found(ours), (await found(theirs))?._id]).toEqual([null, theirs]);
  });

  it("an edit that brings a record back → judged by what it was and becomes", async () => {
    const gone = async () => {
      const id = await paperOf({ title: "t", ownerId: "ana", teamId: "red" });
      expect(await pushOne(RED, remove(id, undefined, paper))).toMatchObject({ outcome: "APPLIED" });
      return id;
    };
    const [kept, moved, strange] = [await gone(), await gone(), await gone()];
    expect(await pushOne(RED, update(kept, { title: "x" }, { title: "t" }, paper))).toMatchObject({
      outcome: "MERGED",
    });
    expect(await pushOne(RED, update(moved, { team_id: "blue" }, { team_id: "red" }, paper))).toMatchObject({
      rejection: { reason: "FORBIDDEN", description: ENTERS("team_id") },
    });
    expect(await pushOne({}, update(moved, { team_id: "" }, { team_id: "red" }, paper))).toMatchObject({
      rejection: { description: LEAVES("team_id") },
    });
    const [eves] = await pushed(await principal("eve"), [
      update(strange, { title: "x" }, { title: "t" }, paper),
    ]);
    expect(eves).toMatchObject({ outcome: "CONFLICT", recordAbsent: true });
    expect([await found(kept), await found(moved), await found(strange)]).toMatchObject([
      { title: "x" },
      {},
      {},
    ]);
    expect([await found(moved), await found(strange)]).toEqual([null, null]);
  });
});

describe("push: several mutations at once", () => {
  it("of one record, in a group → each is judged by what those before it made", async () => {
    const id = await paperOf({ title: "t", ownerId: "ana" });
    const receipts = await pushed(await principal("ana", RED), [
      update(id, { team_id: "red" }, undefined, paper),
      update(id, { owner_id: "" }, undefined, paper),
      update(id, { team_id: "blue" }, undefined, paper),
      update(id, { owner_id: "bob" }, undefined, paper),
      update(id, { team_id: "" }, undefined, paper),
      update(id, { title: "x" }, undefined, paper),
    ]);
    expect(receipts.map(({ rejection }) => rejection?.description)).toEqual([
      ...[undefined, undefined, HOMELESS, ENTERS("owner_id"), HOMELESS, undefined],
    ]);
    expect(await found(id)).toMatchObject({ ownerId: "", teamId: "red", title: "x" });
  });

  it("atomically → one that may not moves nothing, and names itself alone", async () => {
    const [mine, other] = [
      await paperOf({ title: "t", ownerId: "ana" }),
      await paperOf({ title: "t", ownerId: "ana" }),
    ];
    const who = await principal("ana", RED);
    const [first, second] = await pushed(
      who,
      [
        update(mine, { team_id: "red" }, undefined, paper),
        update(other, { team_id: "blue" }, undefined, paper),
      ],
      true,
    );
    expect(first).toMatchObject({ outcome: "NOT_ATTEMPTED" });
    expect(second).toMatchObject({ outcome: "REJECTED", rejection: { description: ENTERS("team_id") } });
    expect([await found(mine), await found(other)]).toEqual([
      { _id: mine, title: "t", ownerId: "ana" },
      { _id: other, title: "t", ownerId: "ana" },
    ]);
  });
});

describe("push: rights handed out by records", () => {
  const GRANTS = "the record would grant a scope the caller may not write: see team_id";
  const own = { user_id: "ana", team_id: "red", access: "ACCESS_READ_WRITE" };

  it("to a scope one may write → written; to another's → FORBIDDEN, by create and by update", async () => {
    expect(await pushOne(RED, create(randomUUID(), own, seat))).toMatchObject({ outcome: "APPLIED" });
    for (const claims of [{}, { guest_of: "red" }, { teams: "blue" }]) {
      const receipt = await pushOne(claims, create(randomUUID(), own, seat));
      expect(receipt.rejection).toMatchObject({ reason: "FORBIDDEN", description: GRANTS });
    }
    const id = await paperOf({ userId: "ana", teamId: "red", access: "READ" }, "seats");
    const refused = { rejection: { description: GRANTS } };
    expect(await pushOne({}, update(id, { access: "ACCESS_READ_WRITE" }, undefined, seat))).toMatchObject(
      refused,
    );
    expect(await pushOne({}, update(id, { team_id: "blue" }, undefined, seat))).toMatchObject(refused);
    expect(await pushOne({}, update(id, { note: "hi" }, undefined, seat))).toMatchObject({
      outcome: "APPLIED",
    });
    expect(await found(id, "seats")).toMatchObject({ teamId: "red", access: "READ", note: "hi" });
  });

  it("taken away from oneself → written; brought back by an edit of what was deleted → FORBIDDEN", async () => {
    const id = await paperOf({ userId: "ana", teamId: "red", access: "READ" }, "seats");
    expect(await pushOne({}, remove(id, undefined, seat))).toMatchObject({ outcome: "APPLIED" });
    const back = (claims: object) => pushOne({ ...claims }, update(id, { note: "x" }, { note: "" }, seat));
    expect(await back({})).toMatchObject({ rejection: { description: GRANTS } });
    expect(await back(RED)).toMatchObject({ outcome: "MERGED" });
  });
});

describe("push: services", () => {
  const service = async () => ({ ...(await principal("backend")), isService: true });

  it("write any record, in whatever scope or none, and hand out any right", async () => {
    const who = await service();
    const theirs = await paperOf({ title: "t", ownerId: "bob", vault: "v" });
    const unscoped = randomUUID();
    const receipts = await pushed(who, [
      update(theirs, { owner_id: "cy", team_id: "red" }, undefined, paper),
      create(unscoped, { title: "x" }, paper),
      create(randomUUID(), { user_id: "bob", team_id: "red", access: "ACCESS_READ" }, seat),
      create("pt", { name: "Portugal" }, { collection: "countries" }),
      remove(theirs, undefined, paper),
    ]);
    expect(receipts.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 5 }, () => "APPLIED"));
    expect(
      await fixture.database.source.collection<{ _id: string }>("countries").findOne({ _id: "pt" }),
    ).toMatchObject({
      name: "Portugal",
    });
  });

  it("a principal without the claim → SERVER_ONLY stays FORBIDDEN", async () => {
    const one = create("es", { name: "Spain" }, { collection: "countries" });
    expect(await pushOne({}, one)).toMatchObject({ rejection: { reason: "FORBIDDEN" } });
  });

  it("READ_ONLY and HIDDEN fields → refused as anybody's; a conflict's record holds nothing hidden", async () => {
    const who = await service();
    const id = await paperOf({ title: "t", ownerId: "bob", vault: "v", cover: { color: "red", cost: "9" } });
    const [printed, vault, conflict] = await pushed(who, [
      update(id, { printed_by: "yes" }, undefined, paper),
      create(randomUUID(), { title: "x", owner_id: "bob" }, paper),
      create(id, { title: "other" }, paper),
    ]);
    expect(printed).toMatchObject({ rejection: { reason: "FORBIDDEN" } });
    expect(vault).toMatchObject({ outcome: "APPLIED" });
    expect(conflict?.record).toEqual({
      form: "JSON",
      json: { id, title: "t", ownerId: "bob", cover: { color: "red" } },
    });
    const [hidden] = await pushed(who, [update(id, { vault: "w" }, undefined, paper)]);
    expect(hidden).toMatchObject({ rejection: { reason: "INVALID" } });
  });
});

test("push: a membership in the log gives rights as far as it says, by its maximum", async () => {
  const rows = [
    ["r1", "READ"],
    ["r2", "READ_WRITE"],
  ] as const;
  for (const [k, access] of rows)
    await fixture.log.grants.insertOne({
      _id: { c: "seats", k },
      principal: "ana",
      scope: "team:green",
      access,
    });
  const id = await paperOf({ title: "t", ownerId: "bob", teamId: "green" });
  const edit = (title: string) => pushOne({}, update(id, { title }, undefined, paper));
  expect(await edit("a")).toMatchObject({ outcome: "APPLIED" });
  await fixture.log.grants.deleteOne({ _id: { c: "seats", k: "r2" } });
  expect(await edit("b")).toMatchObject({ rejection: { reason: "FORBIDDEN" } });
  await fixture.log.grants.deleteOne({ _id: { c: "seats", k: "r1" } });
  expect(await edit("c")).toMatchObject({ outcome: "REJECTED" });
});
