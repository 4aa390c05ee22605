// Who sees what: scopes of documents, memberships, grants by claims, and the feeds these open.
import { Decimal128, ObjectId, UUID } from "bson";
import { expect, test } from "vitest";
import { SyncError } from "../../src/model/sync-error.ts";
import { encodeDocument } from "../../src/schema/encode-document.ts";
import { feedsHeld, grantsOfClaims } from "../../src/schema/scopes.ts";
import { canGive, parseTemplate } from "../../src/schema/template.ts";
import { acme, collection, unfit } from "./acme.ts";

const scopes = (name: string, document: object) =>
  encodeDocument(collection(name), { _id: "a", ...document }).scopes;
const membership = (name: string, document: object) =>
  encodeDocument(collection(name), { _id: "a", ...document }).membership;

test("scopes: fields fill templates, lists give several, sorted and each once", () => {
  expect(scopes("everything", { ownerId: "u1", deskIds: ["z", "b", "z"] })).toEqual([
    ...["desk:b", "desk:z", "public", "user:u1"],
  ]);
});

test("scopes: empty and absent values → none", () => {
  expect(scopes("everything", { ownerId: "", deskIds: ["", "b"] })).toEqual(["desk:b", "public"]);
  expect(scopes("everything", { ownerId: null })).toEqual(["public"]);
});

test("scopes: ids and numbers by their texts on the wire", () => {
  const key = new UUID();
  expect(encodeDocument(collection("by_uuid"), { _id: key }).scopes).toEqual([`record:${key.toHexString()}`]);
  const numbered = (document: object) =>
    encodeDocument(collection("by_number"), { _id: 1n, ...document }).scopes;
  expect(numbered({ group: 5, level: "FIRST" })).toEqual(["group:5:level:FIRST"]);
  expect(numbered({ group: 0, level: 1 })).toEqual(["group:0:level:FIRST"]);
  expect(numbered({ group: 0, level: 9 })).toEqual(["group:0:level:9"]);
  expect(numbered({ level: "FIRST" })).toEqual([]);
  expect(numbered({ group: 5 })).toEqual([]);
});

test("scopes: a value that doesn't fit, too many scopes, one too long → unfit", () => {
  expect(unfit({ ownerId: 5 })).toMatch(/^ownerId: /);
  const many = (count: number) => Array.from({ length: count }, (_, index) => `d${index}`);
  expect(unfit({ deskIds: many(999) })).toBeUndefined();
  expect(unfit({ deskIds: many(1_000) })).toContain("more than 1000 scopes");
  expect(unfit({ deskIds: many(2_000) })).toContain("more than 1000 scopes");
  expect(unfit({ ownerId: "é".repeat(1_021) })).toBeUndefined();
  expect(unfit({ ownerId: "é".repeat(1_022) })).toContain("longer than 2048 bytes");
});

test("membership: who, to what and which right, from the document", () => {
  const document = { userId: "u1", teamId: "t1", access: "READ_WRITE" };
  expect(membership("memberships", document)).toEqual({
    principal: "u1",
    scope: "team:t1",
    access: "READ_WRITE",
  });
  expect(membership("memberships", { ...document, access: 1 })?.access).toBe("READ");
  expect(membership("guests", document)).toEqual({ principal: "u1", scope: "team:t1", access: "READ" });
});

test("membership: whatever characters tokens have in sub → the principal as it is; the scope as records have it", () => {
  const userId = "auth0|a:b/c %3A\u0000é😀";
  const row = { userId, teamId: "a:b c/%", access: "READ" };
  expect(membership("memberships", row)).toEqual({
    principal: userId,
    scope: "team:a%3Ab%20c%2F%25",
    access: "READ",
  });
  expect(scopes("memberships", row)).toEqual(["team:a%3Ab%20c%2F%25"]);
});

test("membership: anything left out → none", () => {
  const document = { userId: "u1", teamId: "t1", access: "READ" };
  for (const key of Object.keys(document)) {
    expect(membership("memberships", { ...document, [key]: null })).toBeUndefined();
  }
  expect(membership("memberships", { ...document, access: "UNSPECIFIED" })).toBeUndefined();
  expect(membership("memberships", { ...document, access: 77 })).toBeUndefined();
  expect(membership("everything", document)).toBeUndefined();
});

test("claims: templates are filled, lists give several, access as declared", () => {
  const claims = {
    sub: "ana",
    org: ["a", "b"],
    role: "dev",
    "https://acme.example/desks": ["north", "south"],
  };
  expect(grantsOfClaims(acme, claims)).toEqual(
    new Map([
      ["user:ana", "READ_WRITE"],
      ["org:a:dev", "READ_WRITE"],
      ["org:b:dev", "READ_WRITE"],
      ["staff:north", "READ"],
      ["staff:south", "READ"],
      ["public", "READ"],
    ]),
  );
});

test("claims: no token → what is anonymous alone", () => {
  expect(grantsOfClaims(acme, undefined)).toEqual(new Map([["public", "READ"]]));
});

test("claims: absent, empty, inherited and structured ones fill nothing", () => {
  const claims = { sub: "", org: [{}, null, ["x"]], role: { toString: () => "x" } };
  expect(grantsOfClaims(acme, claims)).toEqual(new Map([["public", "READ"]]));
  expect(grantsOfClaims(acme, { sub: 7, org: true, role: 1.5 })).toEqual(
    new Map([
      ["user:7", "READ_WRITE"],
      ["org:true:1.5", "READ_WRITE"],
      ["public", "READ"],
    ]),
  );
});

test("claims: numbers that JSON's reader rounds, and texts no database holds → nothing", () => {
  const unreadable = JSON.parse('{"sub": 9007199254740993, "org": [1e400, "\\ud800", -0, 12]}') as object;
  expect(grantsOfClaims(acme, { ...unreadable, role: false })).toEqual(
    new Map([
      ["org:0:false", "READ_WRITE"],
      ["org:12:false", "READ_WRITE"],
      ["public", "READ"],
    ]),
  );
});

test("claims: a value longer than any record's scope → nothing; one as long as one → granted", () => {
  expect(grantsOfClaims(acme, { sub: "é".repeat(1_022) }).size).toBe(1);
  expect(grantsOfClaims(acme, { sub: "é".repeat(1_021) }).size).toBe(2);
  expect(grantsOfClaims(acme, { sub: ":".repeat(682) }).size).toBe(1);
});

test("claims: one value many times over is one scope", () => {
  const org = Array.from({ length: 20_000 }, () => "a");
  expect(grantsOfClaims(acme, { org, role: "r" }).get("org:a:r")).toBe("READ_WRITE");
});

test("claims: lists that multiply beyond any bound → TOKEN_INVALID", () => {
  const many = Array.from({ length: 101 }, (_, index) => `x${index}`);
  expect(grantsOfClaims(acme, { org: many.slice(1), role: many.slice(1) }).size).toBe(10_001);
  const grants = () => grantsOfClaims(acme, { org: many, role: many });
  expect(grants).toThrow(SyncError);
  expect(grants).toThrow("more than 10000 scopes");
  expect(catching(grants)).toMatchObject({
    reason: "TOKEN_INVALID",
    details: { metadata: { fault: "claims" } },
  });
});

test("feeds: each scope held with each collection that can be in it", () => {
  const grants = new Map([
    ["user:ana", "READ_WRITE"],
    ["desk:7", "READ"],
    ["team:", "READ"],
    ["team:t1", "READ"],
    ["public", "READ"],
    ["elsewhere", "READ"],
  ] as const);
  expect(feedsHeld(acme, grants).sort()).toEqual([
    ...["by_object_id/public", "everything/desk:7", "everything/public", "everything/user:ana"],
    ...["guests/team:t1", "memberships/team:t1"],
  ]);
  expect(feedsHeld(acme, grants, ["guests", "guests", "nothing"])).toEqual(["guests/team:t1"]);
  expect(feedsHeld(acme, new Map())).toEqual([]);
});

test("feeds: whatever scope a document is in, its grant opens the feed", () => {
  const documents = [
    { ownerId: "a:b{c}", deskIds: ["::", "x"] },
    { ownerId: "user:user:", deskIds: [] },
    { ownerId: "%3A", deskIds: ["a/b", " ", "\u202e", "😀"] },
  ];
  for (const document of documents) {
    for (const scope of scopes("everything", document)) {
      expect(feedsHeld(acme, new Map([[scope, "READ"]]), ["everything"])).toEqual([`everything/${scope}`]);
    }
  }
});

test.each([
  ["public", "public", true],
  ["public", "public2", false],
  ["{a}", "x", true],
  ["{a}", "", false],
  ["a:{x}", "a:", false],
  ["a:{x}", "b:x", false],
  ["{x}:a", ":a", false],
  ["{x}:a", "x:a", true],
  ["a:{x}:b:{y}", "a:1:b:2", true],
  ["a:{x}:b:{y}", "a::b:2", false],
  ["a:{x}:b:{y}", "a::b:b:2", false],
  ["a:{x}:b:{y}", "a:1:b:2:3", false],
  ["a:{x}", "a:1:private", false],
  ["a:{x}:private", "a:1:private", true],
  ["{x}", "public", true],
  ["a::{x}:", "a::1:", true],
  ["a::{x}:", "a::1", false],
  ["a:{x}:b:{y}", "a:1:b:", false],
  ["a:{x}:{y}:z", "a:1:2:z", true],
  ["a:{x}:{y}:z", "a:1:z", false],
])("template %s → %s: %s", (text, scope, wanted) => {
  const template = parseTemplate(text);
  expect(typeof template !== "string" && canGive(template, scope)).toBe(wanted);
});

test("collections: public only if a caller without a token holds a scope of every record", () => {
  expect(collection("by_object_id").isPublic).toBe(true);
  expect(collection("everything").isPublic).toBe(true);
  expect(collection("by_uuid").isPublic).toBe(false);
  expect(collection("by_object_id").writable).toBe(false);
  expect(collection("everything").writable).toBe(true);
});

test("scopes: a field of no scope may hold anything that fits it", () => {
  expect(unfit({ price: Decimal128.fromString("1"), objectId: new ObjectId() })).toBeUndefined();
});

function catching(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error;
  }
}
