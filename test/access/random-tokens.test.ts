// Anything at all as a token, a claim or a key set: a principal or a refusal comes of it, never a fault of the server.
// A failure prints its seed and path; fast-check replays by them.
import { createHmac } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createAuthenticator } from "../../src/access/authenticate.ts";
import { KeySetError, readKeySet } from "../../src/access/key-set.ts";
import type { KeySource } from "../../src/access/key-source.ts";
import { SyncError } from "../../src/model/sync-error.ts";
import { FakeClock } from "../pull/fake-clock.ts";
import { schemaGranting } from "./access-fixture.ts";
import { jwks } from "./issuer-fixture.ts";
import { accepted, known, settings } from "./token-cases.ts";

const clock = new FakeClock();

async function outcomes() {
  const keys = readKeySet(jwks(...known));
  const source: KeySource = { find: ({ header }) => keys.find(header) };
  const schema = await schemaGranting('{scope: "user:{sub}"}, {scope: "team:{teams}"}');
  const rules = { ...settings, tokenAgeSecondsMax: 600, deviceClaim: "device" };
  const authenticate = createAuthenticator({ schema, devMode: false, ...rules, clock, keySources: [source] });
  return async (token: string) => {
    try {
      return await authenticate(`Bearer ${token}`, undefined);
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      expect(error.reason).toMatch(/^TOKEN_(INVALID|EXPIRED)$/);
      expect(error.details.metadata?.["fault"]).toBeDefined();
      return undefined;
    }
  };
}

const part = (of: string) => Buffer.from(of).toString("base64url");
const signed = (text: string) =>
  `${text}.${createHmac("sha256", settings.tokenSecret).update(text).digest("base64url")}`;
const headers = fc.dictionary(
  fc.constantFrom("alg", "kid", "crit", "b64", "jwk", "jku", "typ", "zip"),
  fc.jsonValue(),
);

test("random: any text as a token → refused", async () => {
  const outcome = await outcomes();
  const texts = fc.oneof(
    fc.string(),
    fc.base64String(),
    fc.array(fc.string().map(part), { maxLength: 5 }).map((parts) => parts.join(".")),
  );
  await fc.assert(
    fc.asyncProperty(texts, async (text) => {
      expect(await outcome(text)).toBeUndefined();
    }),
    { numRuns: 500 },
  );
});

test("random: any header, rightly signed → a principal or a refusal", async () => {
  const outcome = await outcomes();
  const claims = part(JSON.stringify({ sub: "ana" }));
  const property = fc.asyncProperty(headers, async (header) => {
    for (const alg of [{}, { alg: "HS256" }])
      await outcome(signed(`${part(JSON.stringify({ ...header, ...alg }))}.${claims}`));
  });
  await fc.assert(property, { numRuns: 500 });
});

test("random: any claims, rightly signed → a principal with a sane id and device, or a refusal", async () => {
  const outcome = await outcomes();
  const names = fc.constantFrom(
    "sub",
    "aud",
    "iss",
    "exp",
    "nbf",
    "iat",
    "teams",
    "device",
    "tidemark_service",
  );
  const now = clock.nowMs() / 1_000;
  const good = { sub: "ana", iss: settings.tokenIssuer, aud: "sync", iat: now - 1, exp: now + 60 };
  let served = 0;
  const property = fc.asyncProperty(fc.dictionary(names, fc.jsonValue(), { maxKeys: 2 }), async (over) => {
    const who = await outcome(
      signed(`${part('{"alg":"HS256"}')}.${part(JSON.stringify({ ...good, ...over }))}`),
    );
    if (!who) return;
    served++;
    expect(who.id).toMatch(/^\P{Cc}{1,256}$/u);
    expect(who.device).toMatch(/^[\x21-\x7e]{0,128}$/);
    expect(who.isService).toBe(over["tidemark_service"] === true);
  });
  await fc.assert(property, { numRuns: 1_000 });
  expect(served).toBeGreaterThan(100);
});

test("random: a good token with any one character changed → refused", async () => {
  const outcome = await outcomes();
  const tokens = await Promise.all(Object.values(accepted).map((make) => make(clock.nowMs())));
  const property = fc.asyncProperty(
    fc.constantFrom(...tokens),
    fc.nat(),
    fc.constantFrom(..."AZaz09-_.=~ "),
    async (token, at, other) => {
      // The last character of a signature has bits that mean nothing.
      const index = at % (token.length - 1);
      fc.pre(token[index] !== other);
      expect(await outcome(`${token.slice(0, index)}${other}${token.slice(index + 1)}`)).toBeUndefined();
    },
  );
  await fc.assert(property, { numRuns: 1_000 });
});

test("random: any JSON as a key set, or as a key → read, or refused by a sentence", async () => {
  const members = fc.constantFrom(
    "kty",
    "kid",
    "alg",
    "use",
    "n",
    "e",
    "crv",
    "x",
    "y",
    "d",
    "ext",
    "key_ops",
    "oth",
  );
  const values = fc.oneof(fc.jsonValue(), fc.constantFrom("RSA", "EC", "OKP", "sig", "ES256", "P-256"));
  const key = fc.dictionary(members, values).map((over) => ({ ...known[1]?.jwk, ...over }));
  const sets = fc.oneof(
    fc.jsonValue(),
    fc.array(key).map((keys) => ({ keys })),
  );
  const property = fc.asyncProperty(sets, async (set) => {
    try {
      await readKeySet(JSON.stringify(set)).find({ alg: "ES256", kid: "ec" });
    } catch (error) {
      if (!(error instanceof SyncError)) expect(error).toBeInstanceOf(KeySetError);
    }
  });
  await fc.assert(property, { numRuns: 2_000 });
});
