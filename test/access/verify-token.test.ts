// Tokens are accepted for what they are, and refused with the fault that is theirs; what they claim about keys is never
// followed, and no refusal repeats any of it.
import { expect, onTestFinished, test } from "vitest";
import { type AuthenticatorOptions, createAuthenticator } from "../../src/access/authenticate.ts";
import { openKeySources } from "../../src/access/key-sources.ts";
import type { SyncError } from "../../src/model/sync-error.ts";
import { FakeClock } from "../pull/fake-clock.ts";
import { folderOf } from "../support/folder-of.ts";
import { keptLog } from "../support/log-lines.ts";
import { schemaGranting } from "./access-fixture.ts";
import { jwks, signer, startIssuer } from "./issuer-fixture.ts";
import { accepted, claimsAt, known, refused, settings, signedBySecret } from "./token-cases.ts";

const GRANTS = '{scope: "user:{sub}"}, {scope: "team:{teams}"}';

interface Options extends Partial<Omit<AuthenticatorOptions, "keySources" | "clock">> {
  readonly jwksUrl?: string;
  readonly jwksFile?: string;
}

async function authenticator(options: Options = {}) {
  const { jwksUrl, jwksFile, ...rules } = options;
  const clock = new FakeClock();
  const log = keptLog();
  const { sources, close } = await openKeySources({
    jwksUrl,
    jwksFile,
    jwksStaleSeconds: 60,
    tokenAudience: settings.tokenAudience,
    clock,
    logger: log.logger,
  });
  onTestFinished(close);
  const authenticate = createAuthenticator({
    schema: await schemaGranting(GRANTS),
    devMode: false,
    ...settings,
    ...rules,
    clock,
    keySources: sources,
  });
  const ask = (token: string) => authenticate(`Bearer ${token}`, "ios/1.0; device=told");
  const refusal = (token: string): Promise<SyncError> =>
    ask(token).then(
      () => expect.unreachable(),
      (error) => error,
    );
  return { ask, refusal, clock, log };
}

async function withKnownKeys(options: Options = {}) {
  return authenticator({ jwksUrl: (await startIssuer(...known)).url, ...options });
}

test.each(Object.entries(accepted))("access: a token %s → accepted", async (_, make) => {
  const { ask, clock } = await withKnownKeys();
  expect((await ask(await make(clock.nowMs()))).id).toMatch(/^(ana|ж+)$/);
});

const refusals = Object.entries(refused).map(([name, [fault, make]]) => [name, fault, make] as const);

test.each(refusals)("access: a token %s → %s", async (_, fault, make) => {
  const { refusal, clock } = await withKnownKeys();
  const token = await make(clock.nowMs());
  const error = await refusal(token);
  expect(error).toMatchObject({
    reason: fault === "expired" ? "TOKEN_EXPIRED" : "TOKEN_INVALID",
    details: { metadata: { fault } },
  });
  expect(error.cause).toBeUndefined();
  for (const part of token.split(".")) if (part.length > 3) expect(error.message).not.toContain(part);
  expect(error.message).not.toMatch(/\b(ana|bob)\b|issuer\.example/);
});

test("access: jku, x5u and x5c of a header → nobody is asked, and the token refused", async () => {
  const attacker = await signer("ec");
  const trap = await startIssuer(attacker);
  const { refusal, clock } = await withKnownKeys();
  for (const header of [
    { jku: trap.url },
    { x5u: trap.url },
    { jku: trap.url, kid: "new" },
    { x5c: ["MIIB"] },
  ]) {
    const error = await refusal(await attacker.sign(claimsAt(clock.nowMs()), header));
    expect(error.reason).toBe("TOKEN_INVALID");
  }
  expect(trap.asked).toBe(0);
});

test("access: no secret → HS256 is no algorithm of this server, whatever it is signed with", async () => {
  const { refusal, clock } = await withKnownKeys({ tokenSecret: undefined });
  const error = await refusal(await signedBySecret(claimsAt(clock.nowMs())));
  expect(error.details.metadata).toEqual({ fault: "algorithm" });
});

test("access: no key set → the algorithms of key sets are none of this server", async () => {
  const { refusal, clock } = await authenticator();
  const error = await refusal((await known[0]?.sign(claimsAt(clock.nowMs()))) ?? "");
  expect(error.details.metadata).toEqual({ fault: "algorithm" });
});

test("access: an algorithm that is taken away → refused; one left → accepted", async () => {
  const { ask, refusal, clock } = await withKnownKeys({ tokenAlgorithms: ["RS256"] });
  const [rsa, ec] = known;
  expect((await ask((await rsa?.sign(claimsAt(clock.nowMs()))) ?? "")).id).toBe("ana");
  for (const token of [ec?.sign(claimsAt(clock.nowMs())), signedBySecret(claimsAt(clock.nowMs()))]) {
    expect((await refusal((await token) ?? "")).details.metadata).toEqual({ fault: "algorithm" });
  }
});

test("access: neither issuer nor audience set → tokens of any, and of none", async () => {
  const { ask, clock } = await withKnownKeys({ tokenIssuer: undefined, tokenAudience: [] });
  const claims = claimsAt(clock.nowMs());
  expect((await ask(await signedBySecret({ ...claims, iss: "anybody", aud: "anything" }))).id).toBe("ana");
  expect((await ask(await signedBySecret({ sub: "ana" }))).id).toBe("ana");
});

test("access: a file and a URL → each key is found where it is; the file is asked first", async () => {
  const [inFile, atUrl, nowhere] = await Promise.all([
    signer("in-file"),
    signer("at-url"),
    signer("nowhere"),
  ]);
  const folder = await folderOf({ "keys.json": jwks(inFile) });
  const issuer = await startIssuer(atUrl);
  const { ask, refusal, clock } = await authenticator({
    jwksFile: `${folder}/keys.json`,
    jwksUrl: issuer.url,
  });
  const claims = claimsAt(clock.nowMs());
  expect((await ask(await atUrl.sign(claims))).id).toBe("ana");
  expect((await refusal(await nowhere.sign(claims))).details.metadata).toEqual({ fault: "unknown_key" });
  await issuer.stop();
  expect((await ask(await inFile.sign(claims))).id).toBe("ana");
});

test("access: a key in the file and at a URL that never answered → accepted, the issuer not waited for", async () => {
  const inBoth = await signer("in-both");
  const folder = await folderOf({ "keys.json": jwks(inBoth) });
  const issuer = await startIssuer(inBoth);
  issuer.answer(() => {});
  const { ask, clock } = await authenticator({ jwksFile: `${folder}/keys.json`, jwksUrl: issuer.url });
  expect((await ask(await inBoth.sign(claimsAt(clock.nowMs())))).id).toBe("ana");
});

test("access: a token without kid that fits a key of each → refused, not guessed", async () => {
  const [inFile, atUrl] = await Promise.all([signer("in-file"), signer("at-url")]);
  const folder = await folderOf({ "keys.json": jwks(inFile) });
  const issuer = await startIssuer(atUrl);
  const { refusal, clock } = await authenticator({ jwksFile: `${folder}/keys.json`, jwksUrl: issuer.url });
  const error = await refusal(await inFile.sign(claimsAt(clock.nowMs()), { kid: undefined }));
  expect(error.details.metadata).toEqual({ fault: "unknown_key" });
});

test("access: issuer never reached → ISSUER_UNAVAILABLE for its tokens; the secret's are accepted", async () => {
  const issuer = await startIssuer(...known);
  await issuer.stop();
  const { ask, refusal, clock } = await authenticator({ jwksUrl: issuer.url });
  expect((await ask(await signedBySecret(claimsAt(clock.nowMs())))).id).toBe("ana");
  const error = await refusal((await known[0]?.sign(claimsAt(clock.nowMs()))) ?? "");
  expect(error.reason).toBe("ISSUER_UNAVAILABLE");
  expect(error.details.retryAfterMs).toBeGreaterThan(0);
});

test("access: a key set without TIDEMARK_TOKEN_AUDIENCE → a warning", async () => {
  const issuer = await startIssuer(...known);
  const log = keptLog();
  const shared = { jwksUrl: issuer.url, jwksFile: undefined, jwksStaleSeconds: 60, clock: new FakeClock() };
  for (const tokenAudience of [["sync"], []]) {
    const keys = await openKeySources({ ...shared, tokenAudience, logger: log.logger });
    await keys.close();
    expect(log.troubles()).toHaveLength(tokenAudience.length === 0 ? 1 : 0);
  }
});

test.each([
  ["0 s", 0, 0],
  ["30 s", 30, 30],
])(
  "access: a tolerance of %s → exp and nbf hold that much longer",
  async (_, tokenToleranceSeconds, edge) => {
    const { ask, refusal, clock } = await authenticator({ tokenToleranceSeconds });
    const now = clock.nowMs() / 1_000;
    const at = (over: object) => signedBySecret(claimsAt(clock.nowMs(), { ...over }));
    expect((await ask(await at({ exp: now - edge + 1 }))).expiresAtMs).toBe(clock.nowMs() + 1_000);
    expect((await refusal(await at({ exp: now - edge }))).reason).toBe("TOKEN_EXPIRED");
    expect((await ask(await at({ nbf: now + edge }))).id).toBe("ana");
    expect((await refusal(await at({ nbf: now + edge + 1 }))).details.metadata).toEqual({
      fault: "not_yet_valid",
    });
  },
);

test.each([
  ["whole seconds", 100, {}, 100],
  ["half a second", 99.5, {}, 100],
  ["later than its age allows", 100, { tokenAgeSecondsMax: 120 }, 61],
  ["sooner than its age allows", 100, { tokenAgeSecondsMax: 3_600 }, 100],
])(
  "access: exp in %s → its principal's end is the first instant it is refused",
  async (_, exp, options, end) => {
    const { ask, refusal, clock } = await authenticator({ tokenToleranceSeconds: 0, ...options });
    const token = await signedBySecret(claimsAt(clock.nowMs(), { exp: clock.nowMs() / 1_000 + exp }));
    const { expiresAtMs = 0 } = await ask(token);
    expect(expiresAtMs - clock.nowMs()).toBe(end * 1_000);
    clock.advance(end * 1_000 - 1);
    expect((await ask(token)).id).toBe("ana");
    clock.advance(1);
    expect((await refusal(token)).reason).toBe("TOKEN_EXPIRED");
  },
);

test.each([
  ["without iat", { iat: undefined }, "claims"],
  ["with an iat that is a text", { iat: "now" }, "claims"],
  ["made tomorrow", { iat: 1_700_086_400 }, "not_yet_valid"],
  ["made long ago", { iat: 1_699_990_000 }, "expired"],
])("access: a greatest age is set; a token %s → %s", async (_, over, fault) => {
  const { refusal, clock } = await authenticator({ tokenAgeSecondsMax: 3_600 });
  const error = await refusal(await signedBySecret(claimsAt(clock.nowMs(), over)));
  expect(error.details.metadata).toEqual({ fault });
});

test("access: an exp beyond all numbers → no end, and no fault", async () => {
  const { ask, clock } = await authenticator();
  const claims = claimsAt(clock.nowMs(), { exp: 1e300 });
  expect((await ask(await signedBySecret(claims))).expiresAtMs).toBeGreaterThan(1e300);
});

test.each<[string, Record<string, unknown>, string]>([
  ["names one", { "https://app.example/device": "d-1" }, "d-1"],
  ["names none", {}, "told"],
  ["has null", { "https://app.example/device": null }, "told"],
  ["has an empty text", { "https://app.example/device": "" }, "told"],
])("access: the device claim %s → the device is %s", async (_, over, device) => {
  const { ask, clock } = await authenticator({ deviceClaim: "https://app.example/device" });
  expect((await ask(await signedBySecret(claimsAt(clock.nowMs(), over)))).device).toBe(device);
});

test.each<[string, unknown]>([
  ["a number", 7],
  ["a list", ["d-1"]],
  ["129 characters", "d".repeat(129)],
  ["a line break", "d\n1"],
  ["no ASCII", "gerät"],
  ["a quote", 'd"1'],
])("access: a device claim of %s → TOKEN_INVALID, claims", async (_, device) => {
  const { refusal, clock } = await authenticator({ deviceClaim: "device" });
  const error = await refusal(await signedBySecret(claimsAt(clock.nowMs(), { device })));
  expect(error).toMatchObject({ reason: "TOKEN_INVALID", details: { metadata: { fault: "claims" } } });
});

test("access: a device claim that isn't asked for → the client's own word counts", async () => {
  const { ask, clock } = await authenticator();
  expect((await ask(await signedBySecret(claimsAt(clock.nowMs(), { device: 7 })))).device).toBe("told");
});

test("access: claims that multiply out beyond bounds → TOKEN_INVALID, claims", async () => {
  const many = await schemaGranting('{scope: "team:{a}:{b}"}');
  const { refusal, clock } = await authenticator({ schema: many });
  const numbers = Array.from({ length: 200 }, (_, n) => n);
  const error = await refusal(await signedBySecret(claimsAt(clock.nowMs(), { a: numbers, b: numbers })));
  expect(error.details.metadata).toEqual({ fault: "claims" });
});

test("access: claims named like members of every object → nothing granted by them", async () => {
  const odd = await schemaGranting('{scope: "user:{constructor}"}, {scope: "team:{__proto__}"}');
  const { ask, clock } = await authenticator({ schema: odd, deviceClaim: "toString" });
  const who = await ask(await signedBySecret(claimsAt(clock.nowMs())));
  expect([who.claimGrants.size, who.device]).toEqual([0, "told"]);
});

test("access: a token of the secret, known from a call before → refused all the same once time is against it", async () => {
  const { ask, refusal, clock } = await authenticator();
  const now = Math.floor(clock.nowMs() / 1_000);
  const token = await signedBySecret(claimsAt(clock.nowMs(), { nbf: now, exp: now + 60 }));
  expect((await ask(token)).id).toBe("ana");
  expect((await ask(token)).id).toBe("ana");
  clock.advance(-40_000);
  expect((await refusal(token)).details.metadata).toMatchObject({ fault: "not_yet_valid" });
  clock.advance(40_000 + 89_000);
  expect((await ask(token)).id).toBe("ana");
  clock.advance(1_000);
  expect((await refusal(token)).reason).toBe("TOKEN_EXPIRED");
});
