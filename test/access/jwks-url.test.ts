// The keys an issuer publishes: fetched once, found when they change, good for a while when it is away; and never asked
// for more often than the cooldown allows.
import { once } from "node:events";
import { createServer } from "node:https";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { gzipSync } from "node:zlib";
import { generate as generateCertificate } from "selfsigned";
import { expect, onTestFinished, test } from "vitest";
import { FETCH_MS_MAX } from "../../src/access/fetch-key-set.ts";
import { COOLDOWN_MS, JwksUrl, KEYS_AGE_MS, REFRESH_MS } from "../../src/access/jwks-url.ts";
import { KEY_SET_BYTES_MAX } from "../../src/access/key-set.ts";
import { FakeClock } from "../pull/fake-clock.ts";
import { type KeptLog, keptLog } from "../support/log-lines.ts";
import { waitFor } from "../support/wait-for.ts";
import { type Issuer, jwks, signer, startIssuer } from "./issuer-fixture.ts";

const STALE_MS = 3_600_000;
const [k1, k2] = await Promise.all([signer("k1"), signer("k2")]);

interface Fixture {
  readonly keys: JwksUrl;
  readonly clock: FakeClock;
  readonly log: KeptLog;
  /** What asking for a signer's key comes to: "found", "none", or the error's reason. */
  ask(kid: string, issuedAtMs?: number): Promise<string>;
}

function open(issuer: Pick<Issuer, "url">, staleMs = STALE_MS): Fixture {
  const clock = new FakeClock();
  const log = keptLog();
  const keys = new JwksUrl({ url: issuer.url, staleMs, clock, logger: log.logger });
  onTestFinished(() => keys.close());
  const ask: Fixture["ask"] = (kid, issuedAtMs) =>
    keys.find({ header: { alg: "ES256", kid }, issuedAtMs }).then(
      (key) => (key ? "found" : "none"),
      (error) => error.reason ?? String(error),
    );
  return { keys, clock, log, ask };
}

/** As calls do, until the answer has come in. */
const eventually = async (ask: () => Promise<string>, wanted: string) =>
  waitFor(async () => (await ask()) === wanted, { what: wanted });

test("jwks url: many calls at once before the first answer → one request, all find the key", async () => {
  const issuer = await startIssuer(k1, k2);
  const { ask } = open(issuer);
  const asked = await Promise.all(Array.from({ length: 50 }, (_, n) => ask(n % 2 === 0 ? "k1" : "k2")));
  expect(new Set(asked)).toEqual(new Set(["found"]));
  expect(issuer.asked).toBe(1);
});

test("jwks url: a new key → found by one more request; a key taken away → refused after the next", async () => {
  const issuer = await startIssuer(k1);
  const { ask, clock } = open(issuer);
  expect(await ask("k1")).toBe("found");
  issuer.publish(k1, k2);
  clock.advance(COOLDOWN_MS);
  expect(await ask("k2")).toBe("found");
  expect(issuer.asked).toBe(2);
  issuer.publish(k2);
  expect(await ask("k1")).toBe("found");
  clock.advance(REFRESH_MS);
  await eventually(() => ask("k1"), "none");
  expect(await ask("k2")).toBe("found");
  issuer.publish(k1);
  clock.advance(COOLDOWN_MS);
  expect(await ask("k1")).toBe("found");
  expect(await ask("k2")).toBe("none");
});

test("jwks url: 1,000 made-up keys → no request within the cooldown, one after it", async () => {
  const issuer = await startIssuer(k1);
  const { ask, clock } = open(issuer);
  expect(await ask("k1")).toBe("found");
  const makeUp = () => Promise.all(Array.from({ length: 1_000 }, (_, n) => ask(`made-up-${n}`)));
  expect(new Set(await makeUp())).toEqual(new Set(["none"]));
  expect(issuer.asked).toBe(1);
  clock.advance(COOLDOWN_MS - 1);
  await makeUp();
  expect(issuer.asked).toBe(1);
  clock.advance(1);
  await makeUp();
  expect(issuer.asked).toBe(2);
});

test("jwks url: an unknown key of a token issued after the last answer → ISSUER_UNAVAILABLE until asked again", async () => {
  const issuer = await startIssuer(k1);
  const { ask, clock, keys } = open(issuer);
  expect(await ask("k1")).toBe("found");
  issuer.publish(k1, k2);
  clock.advance(2_000);
  expect(await ask("k2", clock.nowMs() - 5_000)).toBe("none");
  expect(await ask("k2", clock.nowMs() - 1_000)).toBe("ISSUER_UNAVAILABLE");
  const refused = keys.find({ header: { alg: "ES256", kid: "k2" }, issuedAtMs: clock.nowMs() });
  await expect(refused).rejects.toMatchObject({ details: { retryAfterMs: COOLDOWN_MS - 2_000 } });
  clock.advance(COOLDOWN_MS - 2_000);
  expect(await ask("k2", clock.nowMs() - 8_000)).toBe("found");
  expect(issuer.asked).toBe(2);
});

test("jwks url: an iat of the far future → none, once asked again: a lying clock gains nothing", async () => {
  const issuer = await startIssuer(k1);
  const { ask, clock } = open(issuer);
  expect(await ask("k1")).toBe("found");
  clock.advance(COOLDOWN_MS);
  expect(await ask("made-up", clock.nowMs() + 1e12)).toBe("none");
});

test("jwks url: refreshed in the background, whether or not anybody calls", async () => {
  const issuer = await startIssuer(k1);
  const { ask, clock } = open(issuer);
  expect(await ask("k1")).toBe("found");
  for (let refreshes = 2; refreshes < 5; refreshes++) {
    clock.advance(REFRESH_MS);
    await waitFor(() => issuer.asked === refreshes);
    expect(await ask("k1")).toBe("found");
  }
});

test("jwks url: issuer away → keys stay good until they are stale, then ISSUER_UNAVAILABLE; back → found", async () => {
  const issuer = await startIssuer(k1);
  const { ask, clock, log } = open(issuer);
  expect(await ask("k1")).toBe("found");
  await issuer.stop();
  clock.advance(REFRESH_MS);
  await waitFor(() => log.troubles().length === 1);
  expect(log.lines.at(-1)).toMatchObject({
    level: "warn",
    message: "the issuer's keys can't be fetched: those of before stay good",
    fields: { goodUntil: new Date(clock.nowMs() - REFRESH_MS + KEYS_AGE_MS + STALE_MS).toISOString() },
  });
  clock.advance(KEYS_AGE_MS + STALE_MS - REFRESH_MS - 1);
  expect(await ask("k1")).toBe("found");
  expect(await ask("k2")).toBe("ISSUER_UNAVAILABLE");
  clock.advance(1);
  expect(await ask("k1")).toBe("ISSUER_UNAVAILABLE");
  clock.advance(COOLDOWN_MS);
  await waitFor(() => log.troubles().at(-1)?.endsWith("can't be checked"));
  expect(log.troubles()).toHaveLength(2);
  await issuer.start();
  clock.advance(COOLDOWN_MS);
  await eventually(() => ask("k1"), "found");
  expect(log.lines.at(-1)).toMatchObject({
    level: "info",
    message: "the issuer's keys can be fetched again",
  });
});

test("jwks url: no tolerance for stale keys → ISSUER_UNAVAILABLE as soon as their age is up", async () => {
  const issuer = await startIssuer(k1);
  const { ask, clock } = open(issuer, 0);
  expect(await ask("k1")).toBe("found");
  await issuer.stop();
  clock.advance(KEYS_AGE_MS - 1);
  expect(await ask("k1")).toBe("found");
  clock.advance(1);
  expect(await ask("k1")).toBe("ISSUER_UNAVAILABLE");
});

test("jwks url: never reached → ISSUER_UNAVAILABLE with the time to wait; calls don't ask within the cooldown", async () => {
  const issuer = await startIssuer(k1);
  issuer.answer((_, response) => response.writeHead(503).end());
  const { keys, ask, clock } = open(issuer);
  const call = keys.find({ header: { alg: "ES256", kid: "k1" }, issuedAtMs: undefined });
  await expect(call).rejects.toMatchObject({
    reason: "ISSUER_UNAVAILABLE",
    details: { retryAfterMs: COOLDOWN_MS },
  });
  await Promise.all(Array.from({ length: 100 }, () => ask("k1")));
  expect(issuer.asked).toBe(1);
  issuer.publish(k1);
  clock.advance(COOLDOWN_MS);
  await eventually(() => ask("k1"), "found");
  expect(issuer.asked).toBe(2);
});

const OVERSIZE = jwks(k1).replace("}", `${" ".repeat(KEY_SET_BYTES_MAX)}}`);
const faults: [string, (issuer: Issuer) => void, string][] = [
  [
    "500",
    (issuer) => issuer.answer((_, response) => response.writeHead(500).end(jwks(k1))),
    "it answered 500",
  ],
  ["204", (issuer) => issuer.answer((_, response) => response.writeHead(204).end()), "it answered 204"],
  ["a redirect to good keys", redirected, "redirects: name the final address"],
  ["no JSON", (issuer) => issuer.answer((_, response) => response.end("<html>")), "it is no JSON"],
  ["nothing", (issuer) => issuer.answer((_, response) => response.end()), "it is no JSON"],
  ["a list", (issuer) => issuer.answer((_, response) => response.end("[]")), "no JSON Web Key Set"],
  ["null", (issuer) => issuer.answer((_, response) => response.end("null")), "no JSON Web Key Set"],
  [
    "keys that are none",
    (issuer) => issuer.answer((_, response) => response.end('{"keys":[1,null]}')),
    "no public key",
  ],
  ["an empty set", (issuer) => issuer.publish(), "it holds no public key"],
  ["a set too large", (issuer) => issuer.answer((_, response) => response.end(OVERSIZE)), "bytes"],
  ["a body without end", endless, "bytes"],
  ["a little that unpacks to a lot", unpacking, "bytes"],
  ["half a body", (issuer) => issuer.answer(brokenOff), "it can't be reached"],
];

function redirected(issuer: Issuer): void {
  issuer.answer(({ url }, response) => {
    if (url === "/moved") response.end(jwks(k1));
    else response.writeHead(302, { location: "/moved" }).end();
  });
}

function endless(issuer: Issuer): void {
  issuer.answer((_, response) => {
    const more = () => {
      while (!response.destroyed && response.write(" ".repeat(65_536)));
    };
    response.on("drain", more);
    more();
  });
}

function unpacking(issuer: Issuer): void {
  const packed = gzipSync(OVERSIZE.repeat(50));
  issuer.answer((_, response) => response.writeHead(200, { "content-encoding": "gzip" }).end(packed));
}

const brokenOff: Parameters<Issuer["answer"]>[0] = (_, response) => {
  response.writeHead(200, { "content-length": "1000" });
  response.write("{", () => response.destroy());
};

test.each(faults)("jwks url: issuer answers %s → told; keys of before stay good", async (_, break_, says) => {
  const issuer = await startIssuer(k1);
  const { ask, clock, log } = open(issuer);
  expect(await ask("k1")).toBe("found");
  break_(issuer);
  clock.advance(REFRESH_MS);
  await waitFor(() => log.troubles().length > 0);
  expect(log.lines.at(-1)?.fields).toMatchObject({ fault: expect.stringContaining(says) });
  expect(await ask("k1")).toBe("found");
  expect(await ask("k2")).toBe("ISSUER_UNAVAILABLE");
  expect(issuer.asked).toBe(2);
});

test("jwks url: issuer never answers → given up after the time limit; known keys never wait for it", async () => {
  const issuer = await startIssuer(k1);
  const { ask, clock, log } = open(issuer);
  expect(await ask("k1")).toBe("found");
  issuer.answer(() => {});
  clock.advance(COOLDOWN_MS);
  const unknown = ask("k2");
  await waitFor(() => issuer.asked === 2);
  expect(await ask("k1")).toBe("found");
  clock.advance(FETCH_MS_MAX);
  expect(await unknown).toBe("ISSUER_UNAVAILABLE");
  expect(log.lines.at(-1)?.fields).toMatchObject({ fault: `it didn't answer within ${FETCH_MS_MAX} ms` });
});

test("jwks url: a body that never ends coming → given up after the time limit", async () => {
  const issuer = await startIssuer(k1);
  issuer.answer((_, response) => response.writeHead(200).write("{"));
  const { ask, clock } = open(issuer);
  const call = ask("k1");
  await waitFor(() => issuer.asked === 1);
  await clock.advanceUntil(call, FETCH_MS_MAX);
  expect(await call).toBe("ISSUER_UNAVAILABLE");
});

test("jwks url: closed in the middle of a request → ends at once, and says nothing", async () => {
  const issuer = await startIssuer(k1);
  issuer.answer(() => {});
  const { keys, ask, log } = open(issuer);
  const call = ask("k1");
  await waitFor(() => issuer.asked === 1);
  await keys.close();
  expect(await call).toBe("ISSUER_UNAVAILABLE");
  expect(log.lines).toEqual([]);
});

test("jwks url: the clock turned back → the cooldown isn't prolonged", async () => {
  const issuer = await startIssuer(k1);
  const { ask, clock } = open(issuer);
  expect(await ask("k1")).toBe("found");
  issuer.publish(k2);
  clock.advance(-86_400_000);
  expect(await ask("k2")).toBe("found");
});

test("jwks url: private and symmetric keys among good ones → left out, told once", async () => {
  const issuer = await startIssuer();
  const published = { keys: [k1.jwk, k2.privateJwk, { kty: "oct", kid: "k3", k: "c2VjcmV0" }] };
  issuer.answer((_, response) => response.end(JSON.stringify(published)));
  const { ask, clock, log } = open(issuer);
  expect(await ask("k1")).toBe("found");
  expect(await ask("k2")).toBe("none");
  clock.advance(REFRESH_MS);
  await waitFor(() => issuer.asked === 2);
  expect(await ask("k1")).toBe("found");
  expect(log.troubles()).toHaveLength(1);
});

test("jwks url: an outage → told when it begins and when it changes, not at each attempt", async () => {
  const issuer = await startIssuer(k1);
  const { ask, clock, log } = open(issuer);
  expect(await ask("k1")).toBe("found");
  issuer.answer((_, response) => response.writeHead(500).end());
  clock.advance(REFRESH_MS);
  for (let attempts = 2; attempts < 6; attempts++) {
    await waitFor(() => issuer.asked === attempts);
    await eventually(() => ask("k2"), "ISSUER_UNAVAILABLE");
    clock.advance(COOLDOWN_MS);
  }
  expect(log.troubles()).toHaveLength(1);
});

test("jwks url: https of a certificate nobody vouches for → told, no keys; vouched for → found", async () => {
  const { cert, private: key } = await generateCertificate([{ name: "commonName", value: "localhost" }]);
  const server = createServer({ cert, key }, (_, response) => response.end(jwks(k1)));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server.listen(0), "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const url = `https://localhost:${address.port}/keys`;
  const untrusting = open({ url });
  expect(await untrusting.ask("k1")).toBe("ISSUER_UNAVAILABLE");
  expect(untrusting.log.lines.at(-1)?.fields).toMatchObject({
    fault: expect.stringContaining("self-signed"),
  });

  const before = getCACertificates("default");
  onTestFinished(() => setDefaultCACertificates(before));
  setDefaultCACertificates([...before, cert]);
  expect(await open({ url }).ask("k1")).toBe("found");
});
