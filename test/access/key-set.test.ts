// Key sets: which keys can be used, and which one a token's header finds.
import { generateKeyPairSync } from "node:crypto";
import { exportJWK, type JWK } from "jose";
import { expect, test } from "vitest";
import { readKeySet } from "../../src/access/key-set.ts";
import { signer } from "./issuer-fixture.ts";

const [ec, rsa, ed, p521] = await Promise.all([
  signer("ec"),
  signer("rsa", "RS256"),
  signer("ed", "EdDSA"),
  signer("p521", "ES512"),
]);

const setOf = (...keys: unknown[]) => readKeySet(JSON.stringify({ keys }));
const without = ({ ...jwk }: JWK, ...names: (keyof JWK)[]) => {
  for (const name of names) delete jwk[name];
  return jwk;
};
const weak = await exportJWK(generateKeyPairSync("rsa", { modulusLength: 1_024 }).publicKey);

test.each([
  [{ alg: "ES256", kid: "ec" }, true],
  [{ alg: "RS256", kid: "rsa" }, true],
  [{ alg: "EdDSA", kid: "ed" }, true],
  [{ alg: "ES512", kid: "p521" }, true],
  [{ alg: "ES256" }, true],
  [{ alg: "ES256", kid: "rsa" }, false],
  [{ alg: "RS256", kid: "ec" }, false],
  [{ alg: "RS512", kid: "rsa" }, false],
  [{ alg: "ES256", kid: "EC" }, false],
  [{ alg: "ES256", kid: "" }, false],
])("key set: a token of %j → a key: %s", async (header, isFound) => {
  const { find } = setOf(ec.jwk, rsa.jwk, ed.jwk, p521.jwk);
  expect((await find(header)) !== undefined).toBe(isFound);
});

test("key set: a key that names no alg → fits those of its kind", async () => {
  const { find } = setOf(without(rsa.jwk, "alg"), without(ec.jwk, "alg"));
  for (const alg of ["RS256", "RS512", "PS256"]) expect(await find({ alg, kid: "rsa" })).toBeDefined();
  expect(await find({ alg: "ES256", kid: "rsa" })).toBeUndefined();
  expect(await find({ alg: "ES384", kid: "ec" })).toBeUndefined();
});

test("key set: a token without kid and several keys that fit → TOKEN_INVALID, unknown_key", async () => {
  const { find } = setOf(ec.jwk, { ...ec.jwk, kid: "ec2" });
  await expect(find({ alg: "ES256" })).rejects.toMatchObject({
    reason: "TOKEN_INVALID",
    details: { metadata: { fault: "unknown_key" } },
  });
});

test.each<[string, unknown]>([
  ["a private key", ec.privateJwk],
  ["a secret", { kty: "oct", kid: "s", k: "c2VjcmV0" }],
  ["RSA of 1,024 bits", { ...weak, kid: "weak" }],
  ["a key without its numbers", { kty: "RSA", kid: "n" }],
  ["a point beside the curve", { ...ec.jwk, x: ec.jwk.y }],
  ["a curve nobody knows", { ...ec.jwk, crv: "P-999" }],
  ["a kind nobody knows", { ...ec.jwk, kty: "XX" }],
  ["numbers for texts", { kty: 1, n: 2, e: 3 }],
])("key set: %s → left out, and counted", (_, jwk) => {
  const set = setOf(rsa.jwk, jwk);
  expect(set).toMatchObject({ size: 1, unfit: 1 });
});

test.each([{ use: "enc" }, { use: 7 }, { key_ops: ["encrypt"] }])(
  "key set: a key for something else, %j → passed over, nobody's mistake",
  (uses) => {
    expect(setOf(ec.jwk, { ...rsa.jwk, ...uses })).toMatchObject({ size: 1, unfit: 0 });
  },
);

test.each([
  { oth: {} },
  { ext: "yes" },
  { key_ops: "verify" },
  { x5c: [7] },
  { key_ops: ["verify", "verify"] },
])("key set: a good key with %j beside it → found, not stumbled over", async (more) => {
  expect(await setOf({ ...ec.jwk, ...more }).find({ alg: "ES256", kid: "ec" })).toBeDefined();
});

test.each([
  "",
  "{",
  "null",
  "7",
  '"keys"',
  "[]",
  "{}",
  '{"keys":{}}',
  '{"keys":[]}',
  '{"keys":[[]]}',
  "\ufeff{}",
])("key set: %j → refused", (text) => {
  expect(() => readKeySet(text)).toThrow(/^it (is no|holds no)/);
});

test("key set: 100,000 nested lists → refused, not a fault", () => {
  expect(() => readKeySet(`{"keys":${"[".repeat(100_000)}${"]".repeat(100_000)}}`)).toThrow("it");
});
