// Tokens to principals: what is accepted, what each refusal is called, and what claims grant.
import { SignJWT } from "jose";
import { expect, test } from "vitest";
import { type AuthenticatorOptions, createAuthenticator } from "../../src/access/authenticate.ts";
import { issueToken } from "../../src/access/issue-token.ts";
import type { Clock } from "../../src/model/clock.ts";
import { schemaGranting } from "./access-fixture.ts";

const SECRET = "a secret of more than thirty-two bytes, for tests";
const NOW_MS = 1_800_000_000_000;
const clock: Clock = { nowMs: () => NOW_MS, sleep: () => Promise.resolve() };
const OWN = '{scope: "user:{sub}"}, {scope: "team:{teams}", access: ACCESS_READ}';
const PUBLIC = '{scope: "public", access: ACCESS_READ, anonymous: true}';

async function authenticator(options: Partial<AuthenticatorOptions> = {}, grants = OWN) {
  const schema = await schemaGranting(grants);
  return createAuthenticator({ schema, devMode: false, tokenSecret: SECRET, clock, ...options });
}

function token(claims: Record<string, unknown> = {}, ttlSeconds = 60): Promise<string> {
  return issueToken({ secret: SECRET, principal: "ana", claims, ttlSeconds, nowMs: NOW_MS });
}

test("access: a signed token → the principal with what its claims grant, its device and its end", async () => {
  const authenticate = await authenticator();
  const who = await authenticate(`Bearer ${await token({ teams: ["red", "blue"] })}`, "ios/1.0; device=d1");
  expect(who.id).toBe("ana");
  expect(who.device).toBe("d1");
  expect(Object.fromEntries(who.claimGrants)).toEqual({
    "user:ana": "READ_WRITE",
    "team:red": "READ",
    "team:blue": "READ",
  });
  expect(who.expiresAtMs).toBe(NOW_MS + 60_000 + 30_000);
});

test.each([
  [{}, false],
  [{ tidemark_service: true }, true],
  [{ tidemark_service: "true" }, false],
  [{ tidemark_service: 1 }, false],
  [{ tidemark_service: [true] }, false],
])("access: the claims %j → a service: %s", async (claims, isService) => {
  const who = await (await authenticator())(`Bearer ${await token(claims)}`, undefined);
  expect(who.isService).toBe(isService);
});

test("access: neither a dev principal nor a caller without a token is a service", async () => {
  const authenticate = await authenticator({ devMode: true }, `${OWN}, ${PUBLIC}`);
  expect((await authenticate("Bearer dev-tidemark_service", undefined)).isService).toBe(false);
  expect((await authenticate(undefined, undefined)).isService).toBe(false);
});

test("access: claims can't replace sub or exp of an issued token", async () => {
  const authenticate = await authenticator();
  const who = await authenticate(`bearer ${await token({ sub: "bob", exp: 1 })}`, undefined);
  expect(who.id).toBe("ana");
});

test("access: expired within the tolerance → accepted; beyond → TOKEN_EXPIRED", async () => {
  const authenticate = await authenticator();
  expect((await authenticate(`Bearer ${await token({}, -29)}`, undefined)).id).toBe("ana");
  await expect(authenticate(`Bearer ${await token({}, -31)}`, undefined)).rejects.toMatchObject({
    reason: "TOKEN_EXPIRED",
  });
});

test("access: a principal's end is the instant its token is no longer accepted", async () => {
  let nowMs = NOW_MS;
  const authenticate = await authenticator({ clock: { ...clock, nowMs: () => nowMs } });
  const authorization = `Bearer ${await token()}`;
  const { expiresAtMs } = await authenticate(authorization, undefined);
  nowMs = (expiresAtMs ?? 0) - 1000;
  expect((await authenticate(authorization, undefined)).id).toBe("ana");
  nowMs = expiresAtMs ?? 0;
  await expect(authenticate(authorization, undefined)).rejects.toMatchObject({ reason: "TOKEN_EXPIRED" });
});

test("access: a token without exp → a principal without end", async () => {
  const authenticate = await authenticator();
  const endless = await new SignJWT({ sub: "ana" }).setProtectedHeader({ alg: "HS256" }).sign(key(SECRET));
  expect(await authenticate(`Bearer ${endless}`, undefined)).toMatchObject({
    id: "ana",
    expiresAtMs: undefined,
  });
});

function key(secret: string): Uint8Array {
  return new TextEncoder().encode(secret);
}

test.each([
  "Basic YTpi",
  "Bearer",
  "Bearer ",
  "token",
  "Bearer one two",
  "Bearer ü",
  `Bearer ${"a".repeat(20_000)}`,
])("access: authorization %s → TOKEN_INVALID", async (header) => {
  await expect((await authenticator())(header, undefined)).rejects.toMatchObject({
    reason: "TOKEN_INVALID",
    details: { metadata: { fault: "malformed" } },
  });
});

test("access: no token → TOKEN_MISSING, unless the schema grants something to everybody", async () => {
  const strict = await authenticator();
  await expect(strict(undefined, undefined)).rejects.toMatchObject({ reason: "TOKEN_MISSING" });
  await expect(strict(" ", undefined)).rejects.toMatchObject({ reason: "TOKEN_MISSING" });
  const open = await authenticator({}, `${OWN}, ${PUBLIC}`);
  const anonymous = await open(undefined, "web/1.0");
  expect(anonymous).toMatchObject({ id: "", device: "", expiresAtMs: undefined });
  expect(Object.fromEntries(anonymous.claimGrants)).toEqual({ public: "READ" });
  await expect(open("Bearer nonsense", undefined)).rejects.toMatchObject({ reason: "TOKEN_INVALID" });
});

test("access: dev mode takes dev-<principal> and, with a key, tokens too", async () => {
  const authenticate = await authenticator({ devMode: true });
  expect(await authenticate("Bearer dev-ana", undefined)).toMatchObject({
    id: "ana",
    expiresAtMs: undefined,
  });
  expect((await authenticate(`Bearer ${await token()}`, undefined)).id).toBe("ana");
  for (const nobody of ["dev-", `dev-${"a".repeat(257)}`, "dev-a\u0085"]) {
    const call = authenticate(`Bearer ${nobody}`, undefined);
    await expect(call).rejects.toMatchObject({ details: { metadata: { fault: "subject" } } });
  }
});

test("access: without a key no token is accepted", async () => {
  const authenticate = await authenticator({ devMode: true, tokenSecret: undefined });
  const call = authenticate(`Bearer ${await token()}`, undefined);
  await expect(call).rejects.toMatchObject({ reason: "TOKEN_INVALID" });
});

test("access: a malformed client header → INVALID_REQUEST, before the token is looked at", async () => {
  const call = (await authenticator())("Bearer nonsense", "ios");
  await expect(call).rejects.toMatchObject({ reason: "INVALID_REQUEST" });
});
