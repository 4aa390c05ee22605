// Who may write what: a record's scopes before and after, which scopes a write may add or take away, who may hand out
// rights, and what services may. Ana holds `user:ana` and, where a case says so, teams and a seat at a desk.
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import type { Mutation } from "../../src/model/mutation.ts";
import type { Principal } from "../../src/model/principal.ts";
import type { Receipt } from "../../src/model/receipt.ts";
import type { JsonObject } from "../../src/model/record-form.ts";
import { create, type PushFixture, principal, pushFixture, remove, update } from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
});
afterAll(() => fixture.close());

const paper = { collection: "papers" };
const seat = { collection: "seats" };
const RED = { teams: ["red"] };
const BOTH = { teams: ["red", "blue"] };

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

const NOWHERE = "the record is in no scope the caller may write";
const HOMELESS =
  "the record would be in no scope the caller may write: see owner_id, team_id, reader_ids, desk, seats";
const ENTERS = (fields: string) => `the record would enter a scope the caller may not write: see ${fields}`;
const LEAVES = (fields: string) => `the record would leave a scope the caller may not write: see ${fields}`;

interface Case {
  readonly what: string;
  readonly claims?: Record<string, unknown>;
  /** Undefined: it is created. */
  readonly before?: JsonObject;
  readonly after: JsonObject;
  /** Of the update; absent: blind. */
  readonly base?: JsonObject;
  /** Why it is refused; absent: it is written. */
  readonly refused?: string;
}

const cases: readonly Case[] = [
  { what: "a create in one's own scope", after: { owner_id: "ana" } },
  { what: "a create in another's scope", after: { owner_id: "bob" }, refused: HOMELESS },
  { what: "a create in none but everyone's", after: { title: "x" }, refused: HOMELESS },
  {
    what: "a create in one's own and a team's scope",
    claims: RED,
    after: { owner_id: "ana", team_id: "red" },
  },
  {
    what: "a create in one's own and a strange team's scope",
    claims: RED,
    after: { owner_id: "ana", team_id: "blue" },
    refused: ENTERS("team_id"),
  },
  {
    what: "a create in a team's scope held to read only",
    claims: { guest_of: "red" },
    after: { owner_id: "ana", team_id: "red" },
    refused: ENTERS("team_id"),
  },
  {
    what: "a create in a team's scope for another",
    claims: RED,
    after: { owner_id: "bob", team_id: "red" },
    refused: ENTERS("owner_id"),
  },
  { what: "a create shared with others by a list", after: { owner_id: "ana", reader_ids: ["bob", "cy"] } },
  { what: "a create seen only by a list one is in", after: { reader_ids: ["ana", "bob"] } },
  {
    what: "a create at one's desk and seat",
    claims: { desk: "d1", seat: "s1" },
    after: { desk: "d1", seats: ["s1"] },
  },
  {
    what: "a create at others' seats too",
    claims: { desk: "d1", seat: "s1" },
    after: { desk: "d1", seats: ["s1", "s2"] },
    refused: ENTERS("desk, seats"),
  },
  { what: "an edit of one's own", before: { ownerId: "ana" }, after: { title: "x" } },
  {
    what: "an edit of a team's",
    claims: RED,
    before: { ownerId: "bob", teamId: "red" },
    after: { title: "x" },
  },
  {
    what: "an edit of what one may only read",
    claims: { guest_of: "red" },
    before: { ownerId: "bob", teamId: "red" },
    after: { title: "x" },
    refused: NOWHERE,
  },
  { what: "an edit of everyone's", before: { ownerId: "bob" }, after: { title: "x" }, refused: NOWHERE },
  { what: "into a team of one's own", claims: RED, before: { ownerId: "ana" }, after: { team_id: "red" } },
  {
    what: "into a strange team",
    before: { ownerId: "ana" },
    after: { team_id: "red" },
    refused: ENTERS("team_id"),
  },
  {
    what: "from one team of one's own into the other",
    claims: BOTH,
    before: { teamId: "red" },
    after: { team_id: "blue" },
  },
  {
    what: "from a strange team into one of one's own",
    claims: RED,
    before: { ownerId: "ana", teamId: "blue" },
    after: { team_id: "red" },
    refused: LEAVES("team_id"),
  },
  {
    what: "out of a strange team",
    before: { ownerId: "ana", teamId: "blue" },
    after: { team_id: "" },
    refused: LEAVES("team_id"),
  },
  {
    what: "out of a team of one's own",
    claims: RED,
    before: { ownerId: "ana", teamId: "red" },
    after: { team_id: "" },
  },
  { what: "out of every scope", before: { ownerId: "ana" }, after: { owner_id: "" }, refused: HOMELESS },
  {
    what: "one's own to another",
    claims: RED,
    before: { ownerId: "ana", teamId: "red" },
    after: { owner_id: "bob" },
    refused: ENTERS("owner_id"),
  },
  {
    what: "another's to oneself",
    claims: RED,
    before: { ownerId: "bob", teamId: "red" },
    after: { owner_id: "ana" },
    refused: LEAVES("owner_id"),
  },
  {
    what: "one's own to a reader who sees it already",
    before: { ownerId: "ana", readerIds: ["bob"] },
    after: { owner_id: "bob", reader_ids: ["ana"] },
    refused: ENTERS("owner_id"),
  },
  { what: "readers added", before: { ownerId: "ana" }, after: { reader_ids: ["bob"] } },
  {
    what: "readers taken away",
    before: { ownerId: "ana", readerIds: ["bob", "cy"] },
    after: { reader_ids: ["cy"] },
  },
  {
    what: "oneself taken from the readers of another's",
    before: { ownerId: "bob", readerIds: ["ana", "cy"] },
    after: { reader_ids: ["cy"] },
    refused: HOMELESS,
  },
  {
    what: "a seat added at one's desk",
    claims: { desk: "d1", seat: "s1" },
    before: { desk: "d1", seats: ["s1"] },
    after: { seats: ["s1", "s2"] },
  },
  {
    what: "seats kept, taken to another desk",
    claims: { desk: ["d1"], seat: "s1" },
    before: { ownerId: "ana", desk: "d1", seats: ["s1"] },
    after: { desk: "d2" },
    refused: ENTERS("desk, seats"),
  },
  {
    what: "seats given to a desk that had none",
    before: { ownerId: "ana", desk: "d2" },
    after: { seats: ["s1"] },
    refused: ENTERS("desk, seats"),
  },
  {
    what: "a merge whose result keeps the server's strange team",
    before: { ownerId: "ana", teamId: "blue", title: "theirs" },
    base: { title: "old" },
    after: { title: "mine" },
  },
  {
    what: "a merge in which the edit's strange team is the last writer's",
    claims: RED,
    before: { ownerId: "ana", teamId: "red" },
    base: { team_id: "" },
    after: { team_id: "blue" },
    refused: ENTERS("team_id"),
  },
  {
    what: "a hidden field's scope stays as it is",
    before: { ownerId: "ana", vault: "v" },
    after: { title: "x" },
  },
  {
    what: "another's name that looks like one's own scope",
    before: { ownerId: "x:ana" },
    after: { title: "x" },
    refused: NOWHERE,
  },
];

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
