// What a changed schema asks of the log: loads, generations, and whether older entries must be withheld.
import { expect, test } from "vitest";
import {
  isOutdated,
  logFingerprint,
  planCollections,
  schemasWith,
  shownBy,
  voidGrants,
} from "../../src/ingest/schema-plan.ts";
import type { Schema } from "../../src/schema/schema.ts";
import { type SchemaParts, TODO_FIELDS, testSchema } from "./test-schema.ts";

const base = testSchema();

async function changeTo(parts: SchemaParts) {
  const [before, after] = [await base, await testSchema(parts)];
  const present = [...planned(before, []).values()].map((state) => ({ ...state, load: undefined }));
  const todos = planned(after, present, before).get("todos");
  return todos && [todos.generation, todos.oldestReadable, todos.load?.reason];
}

function planned(schema: Schema, present: Parameters<typeof planCollections>[0]["present"], before?: Schema) {
  const shown = new Map(
    [...(before?.collections.values() ?? [])].map((one) => [one.fingerprint, shownBy(one)]),
  );
  return planCollections({ present, schema, shown, loadNumber: 7 });
}

const replaced = (from: string, to: string): SchemaParts => {
  expect(TODO_FIELDS).toContain(from);
  return { todoFields: TODO_FIELDS.replace(from, to) };
};

test.each([
  ["nothing changed → nothing to do", {}, undefined],
  [
    "a field added → encoded anew, readable meanwhile",
    { todoFields: `${TODO_FIELDS} string notes = 11;` },
    [2, 1, "schema"],
  ],
  [
    "a field hidden → withheld",
    replaced("int32 votes = 5;", "int32 votes = 5 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];"),
    [2, 2, "schema"],
  ],
  [
    "a field shown → readable",
    replaced(" [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN]", ""),
    [2, 1, "schema"],
  ],
  ["a field removed → withheld", replaced("int32 votes = 5;", ""), [2, 2, "schema"]],
  ["a field of another type → withheld", replaced("int32 votes", "string votes"), [2, 2, "schema"]],
  [
    "a field under another key → withheld",
    replaced("int32 votes = 5;", `int32 votes = 5 [(tidemark.v1.field).bson = "v"];`),
    [2, 2, "schema"],
  ],
  ["scopes narrowed → withheld", { todoScopes: `["user:{owner_id}"]` }, [2, 2, "schema"]],
  [
    "scopes widened → withheld too, for what else it may be",
    { todoScopes: `["user:{owner_id}", "user:{watcher_ids}", "team:{team_id}", "public"]` },
    [2, 2, "schema"],
  ],
  [
    "a scope's field alone → its order doesn't matter",
    { todoScopes: `["team:{team_id}", "user:{owner_id}", "user:{watcher_ids}"]` },
    undefined,
  ],
] as const)("schema: %s", async (_, parts, expected) => {
  expect(await changeTo(parts)).toEqual(expected);
});

const member = (rule: string): SchemaParts => ({ memberRule: rule });

test.each([
  [
    "another field of the membership or of others → grants stay",
    { todoFields: `${TODO_FIELDS} string notes = 11;` },
    [],
  ],
  [
    "the grant's scope → void",
    member(`grant: {principal: "{user_id}" scope: "user:{team_id}" access_field: "access"}`),
    ["members"],
  ],
  [
    "the grant's principal → void",
    member(`grant: {principal: "{team_id}" scope: "team:{team_id}" access_field: "access"}`),
    ["members"],
  ],
  [
    "the grant's right → void",
    member(`grant: {principal: "{user_id}" scope: "team:{team_id}" access: ACCESS_READ}`),
    ["members"],
  ],
  ["no grant any more → void", member(""), ["members"]],
] as const)("schema: changed is %s", async (_, parts, expected) => {
  const [before, after] = [await base, await testSchema(parts)];
  const present = [...planned(before, []).values()];
  const shown = new Map([...before.collections.values()].map((one) => [one.fingerprint, shownBy(one)]));
  expect(voidGrants({ present, schema: after, shown })).toEqual(expected);
  expect(voidGrants({ present, schema: before, shown: new Map() })).toEqual([]);
});

test("schema: grants of a rule nobody remembers, or of a collection gone → void", async () => {
  const [before, after] = [await base, await testSchema({ ...member(""), counters: false })];
  const present = [...planned(before, []).values()];
  expect(voidGrants({ present, schema: after, shown: new Map() }).sort()).toEqual(["counters", "members"]);
});

test("schema: values were put into scopes in another way before → every collection withheld, every grant void", async () => {
  const now = await base;
  const earlier = [...now.collections.values()].map((one) => ({ one, fingerprint: `before ${one.name}` }));
  const shown = new Map(
    earlier.map(({ one, fingerprint }) => {
      const { fields, scopes } = shownBy(one);
      const plain = scopes.map((text) => JSON.stringify((JSON.parse(text) as unknown[]).slice(1)));
      return [fingerprint, { fields, scopes: plain, grant: undefined }] as const;
    }),
  );
  const present = [...planned(now, []).values()].map((state) => ({
    ...state,
    fingerprint: `before ${state.name}`,
    load: undefined,
  }));
  const states = [...planCollections({ present, schema: now, shown, loadNumber: 7 }).values()];
  expect(states.map(({ oldestReadable, load }) => [oldestReadable, load?.reason])).toEqual(
    states.map(() => [2, "schema"]),
  );
  expect(states).toHaveLength(3);
  expect(voidGrants({ present, schema: now, shown })).toContain("members");
});

test("schema: what an earlier schema showed is not known → withheld", async () => {
  const before = await base;
  const after = await testSchema({ todoFields: `${TODO_FIELDS} string notes = 11;` });
  const present = [...planned(before, []).values()];
  expect(planned(after, present).get("todos")?.oldestReadable).toBe(2);
});

test("schema: a collection gone → removed; back before that is done → loaded again", async () => {
  const [before, without] = [await base, await testSchema({ counters: false })];
  const present = [...planned(before, []).values()];
  const removed = planned(without, present, before).get("counters");
  expect([removed?.load?.reason, removed?.load?.phase]).toEqual(["removed", "entries"]);
  const states = present.map((state) => (state.name === "counters" && removed ? removed : state));
  expect(planned(without, states, before).size).toBe(0);
  const back = planned(before, states, without).get("counters");
  expect([back?.load?.reason, back?.load?.phase, back?.generation]).toEqual(["schema", "walk", 1]);
});

test("schema: one that led before a newer one is outdated; unknown and present ones are not", async () => {
  const fingerprint = logFingerprint(await base);
  expect(isOutdated([], fingerprint)).toBe(false);
  expect(isOutdated(["x", fingerprint], fingerprint)).toBe(false);
  expect(isOutdated([fingerprint, "x"], fingerprint)).toBe(true);
  expect(schemasWith([fingerprint, "x"], fingerprint)).toEqual(["x", fingerprint]);
});
