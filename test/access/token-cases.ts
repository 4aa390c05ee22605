// Tokens a server must refuse, each with the fault it is to name, and some it must accept: shared by the tests of the
// verifier and those over the wire. The server knows two keys, a secret, an issuer and an audience.
import { createHmac, createPublicKey, type JsonWebKey } from "node:crypto";
import { SignJWT } from "jose";
import type { TokenFault } from "../../src/model/token-fault.ts";
import { type Signer, signer } from "./issuer-fixture.ts";

const [rsa, ec, stranger] = await Promise.all([
  signer("rsa", "RS256"),
  signer("ec"),
  signer("ec-of-a-stranger"),
]);

/** Whose keys the server knows. */
export const known: readonly Signer[] = [rsa, ec];

export const settings = {
  tokenSecret: "a secret of more than thirty-two bytes, for tests",
  tokenIssuer: "https://issuer.example/",
  tokenAudience: ["tidemark", "sync"],
} as const;

type Claims = Readonly<Record<string, unknown>>;

/** Claims that are accepted for the next minute, unless they are overridden; undefined takes one away. */
export function claimsAt(nowMs: number, over: Claims = {}): Record<string, unknown> {
  const now = Math.floor(nowMs / 1_000);
  const { tokenIssuer: iss } = settings;
  return { sub: "ana", iss, aud: "sync", iat: now - 60, exp: now + 60, ...over };
}

export function signedBySecret(claims: Claims, alg = "HS256", secret: string = settings.tokenSecret) {
  return new SignJWT({ ...claims }).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret));
}

type Make = (nowMs: number) => string | Promise<string>;

const with_ = (over: Claims) => (nowMs: number) => ec.sign(claimsAt(nowMs, over));
const seconds = (over: (now: number) => Claims) => (nowMs: number) =>
  ec.sign(claimsAt(nowMs, over(Math.floor(nowMs / 1_000))));
const headed =
  (header: Record<string, unknown>, by = ec) =>
  (nowMs: number) =>
    by.sign(claimsAt(nowMs), header);

export const accepted: Readonly<Record<string, Make>> = {
  "signed by an issuer's key": with_({}),
  "signed by its other key": (nowMs) => rsa.sign(claimsAt(nowMs)),
  "signed by the secret": (nowMs) => signedBySecret(claimsAt(nowMs)),
  "without kid, where one key fits": headed({ kid: undefined }),
  "for several audiences": with_({ aud: ["other", "tidemark"] }),
  "for years to come": seconds((now) => ({ exp: now + 1e9 })),
  "that never ends": with_({ exp: undefined }),
  "whose sub is 256 characters of any script": with_({ sub: "ж".repeat(256) }),
  "with a jku that leads nowhere": headed({ jku: "http://127.0.0.1:1/keys" }),
};

const part = (of: unknown) =>
  Buffer.from(typeof of === "string" ? of : JSON.stringify(of)).toString("base64url");

/** Signed rightly, whatever it says. */
function hmac(header: unknown, payload: unknown, secret: string | Buffer = settings.tokenSecret): string {
  const text = `${part(header)}.${part(payload)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

const HS256 = { alg: "HS256" };
const pem = createPublicKey({ key: rsa.jwk as JsonWebKey, format: "jwk" }).export({
  type: "spki",
  format: "pem",
});

/** The claims changed, the signature kept. */
const tampered: Make = async (nowMs) => {
  const [header, , signature] = (await ec.sign(claimsAt(nowMs))).split(".");
  return `${header}.${part(claimsAt(nowMs, { sub: "bob" }))}.${signature}`;
};

const cutShort: Make = async (nowMs) => (await ec.sign(claimsAt(nowMs))).slice(0, -4);

export const refused: Readonly<Record<string, readonly [TokenFault, Make]>> = {
  expired: ["expired", seconds((now) => ({ exp: now - 31 }))],
  "expired in 1970": ["expired", with_({ exp: 0 })],
  "of another audience": ["audience", with_({ aud: "other" })],
  "of several other audiences": ["audience", with_({ aud: ["other", "another"] })],
  "of an audience in other letters": ["audience", with_({ aud: "Sync" })],
  "of an audience within a text": ["audience", with_({ aud: "sync tidemark" })],
  "of no audience": ["audience", with_({ aud: undefined })],
  "whose audience is an object": ["audience", with_({ aud: { sync: true } })],
  "of another issuer": ["issuer", with_({ iss: "https://issuer.example" })],
  "of no issuer": ["issuer", with_({ iss: undefined })],
  "of a list of issuers": ["issuer", with_({ iss: [settings.tokenIssuer] })],
  "whose nbf lies ahead": ["not_yet_valid", seconds((now) => ({ nbf: now + 60 }))],
  "whose nbf is a text": ["claims", with_({ nbf: "0" })],
  "whose exp is a text": ["claims", seconds((now) => ({ exp: String(now + 60) }))],
  "whose exp is a list": ["claims", seconds((now) => ({ exp: [now + 60] }))],
  "whose exp is null": ["claims", with_({ exp: null })],
  "without sub": ["subject", with_({ sub: undefined })],
  "with an empty sub": ["subject", with_({ sub: "" })],
  "whose sub is a number": ["subject", with_({ sub: 7 })],
  "whose sub is a list": ["subject", with_({ sub: ["ana"] })],
  "whose sub is null": ["subject", with_({ sub: null })],
  "whose sub is 257 characters": ["subject", with_({ sub: "a".repeat(257) })],
  "whose sub has a line break": ["subject", with_({ sub: "ana\nroot" })],
  "whose sub has a zero": ["subject", with_({ sub: "ana\u0000" })],
  "whose sub has a C1 control character": ["subject", with_({ sub: "ana\u0085" })],
  "whose sub has half a character": [
    "subject",
    (nowMs) => hmac(HS256, JSON.stringify(claimsAt(nowMs, { sub: "SUB" })).replace("SUB", "\\ud83d")),
  ],
  "of alg none": ["algorithm", (nowMs) => `${part({ alg: "none" })}.${part(claimsAt(nowMs))}.`],
  "of alg None": ["algorithm", (nowMs) => `${part({ alg: "None" })}.${part(claimsAt(nowMs))}.`],
  "of alg none, with a signature": ["algorithm", (nowMs) => hmac({ alg: "none" }, claimsAt(nowMs))],
  "of HS384 by the secret": ["algorithm", (nowMs) => signedBySecret(claimsAt(nowMs), "HS384")],
  "of HS512 by the secret": [
    "algorithm",
    (nowMs) => signedBySecret(claimsAt(nowMs), "HS512", settings.tokenSecret.repeat(2)),
  ],
  "of an alg nobody knows": ["algorithm", (nowMs) => hmac({ alg: "XX1" }, claimsAt(nowMs))],
  "without alg": ["malformed", (nowMs) => hmac({ typ: "JWT" }, claimsAt(nowMs))],
  "whose alg is a list": ["malformed", (nowMs) => hmac({ alg: ["HS256"] }, claimsAt(nowMs))],
  "of HS256 by the public key's PEM": [
    "signature",
    (nowMs) => hmac({ alg: "HS256", kid: "rsa" }, claimsAt(nowMs), Buffer.from(pem)),
  ],
  "of HS256 by the public key's modulus": [
    "signature",
    (nowMs) => hmac({ alg: "HS256", kid: "rsa" }, claimsAt(nowMs), rsa.jwk.n ?? ""),
  ],
  "of another secret": [
    "signature",
    (nowMs) => signedBySecret(claimsAt(nowMs), "HS256", "another secret, long enough as well"),
  ],
  "of a stranger under a known kid": ["signature", headed({ kid: "ec" }, stranger)],
  "with other claims than were signed": ["signature", tampered],
  "with a signature cut short": ["signature", cutShort],
  "with an empty signature": [
    "signature",
    async (nowMs) => `${(await ec.sign(claimsAt(nowMs))).split(".", 2).join(".")}.`,
  ],
  "of an unknown kid": ["unknown_key", headed({}, stranger)],
  "of an empty kid": ["unknown_key", headed({ kid: "" })],
  "of a known kid under another alg": [
    "unknown_key",
    (nowMs) => hmac({ alg: "PS256", kid: "rsa" }, claimsAt(nowMs)),
  ],
  "that brings its key along": ["unknown_key", headed({ jwk: stranger.jwk }, stranger)],
  "that brings its key along under a known kid": [
    "signature",
    headed({ kid: "ec", jwk: stranger.jwk }, stranger),
  ],
  "whose crit must be understood": [
    "malformed",
    (nowMs) => hmac({ ...HS256, crit: ["exp"], exp: 1 }, claimsAt(nowMs)),
  ],
  "whose crit is no list": ["malformed", (nowMs) => hmac({ alg: "HS256", crit: "b64" }, claimsAt(nowMs))],
  "whose payload isn't encoded": [
    "malformed",
    (nowMs) => hmac({ alg: "HS256", b64: false, crit: ["b64"] }, claimsAt(nowMs)),
  ],
  "whose header is no JSON": ["malformed", (nowMs) => hmac("{", claimsAt(nowMs))],
  "whose header is a list": ["malformed", (nowMs) => hmac([HS256], claimsAt(nowMs))],
  "whose claims are no JSON": ["malformed", () => hmac(HS256, "sub=ana")],
  "whose claims are a list": ["malformed", (nowMs) => hmac(HS256, [claimsAt(nowMs)])],
  "whose claims are null": ["malformed", () => hmac(HS256, "null")],
  "of two parts": ["malformed", () => `${part(HS256)}.${part({})}`],
  "of five parts, as encrypted ones": ["malformed", () => "a.b.c.d.e"],
  "of one word": ["malformed", () => "nonsense"],
  "of dots": ["malformed", () => ".."],
  "of characters base64url hasn't": [
    "malformed",
    (nowMs) => hmac(HS256, claimsAt(nowMs)).replace(".", "+/=."),
  ],
  "of a principal for dev mode": ["malformed", () => "dev-ana"],
  "that is huge": ["malformed", with_({ more: "x".repeat(8_192) })],
};
