// An issuer of tokens: a real HTTP server on this machine that publishes keys, counts who asks for them and can be made
// to answer anything, or nothing. Its keys sign real tokens.
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import { onTestFinished } from "vitest";

/** A key pair that signs tokens. */
export interface Signer {
  readonly kid: string;
  readonly jwk: JWK;
  readonly privateJwk: JWK;
  /** @param header over `alg` and `kid`; undefined takes one away. */
  sign(claims: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>;
}

export async function signer(kid: string, alg = "ES256"): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const names = { kid, alg, use: "sig" };
  return {
    kid,
    jwk: { ...(await exportJWK(publicKey)), ...names },
    privateJwk: { ...(await exportJWK(privateKey)), ...names },
    sign: (claims, header = {}) =>
      new SignJWT(claims).setProtectedHeader({ alg, kid, ...header }).sign(privateKey),
  };
}

/** The text of a key set. */
export function jwks(...signers: readonly Signer[]): string {
  return JSON.stringify({ keys: signers.map(({ jwk }) => jwk) });
}

export interface Issuer {
  readonly url: string;
  /** How often its keys were asked for. */
  readonly asked: number;
  publish(...signers: readonly Signer[]): void;
  answer(listener: RequestListener): void;
  /** Nobody listens any more; `start` listens there again. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** Publishing these keys. Gone when the test ends. */
export async function startIssuer(...signers: readonly Signer[]): Promise<Issuer> {
  let asked = 0;
  let port = 0;
  let listener: RequestListener = () => {};
  const answer: Issuer["answer"] = (next) => {
    listener = next;
  };
  const publish: Issuer["publish"] = (...published) =>
    answer((_, response) => response.setHeader("content-type", "application/json").end(jwks(...published)));
  const server = createServer((request, response) => {
    asked++;
    listener(request, response);
  });
  const start = async () => {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    port = address.port;
  };
  const stop = async () => {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  };
  publish(...signers);
  await start();
  onTestFinished(stop);
  return {
    url: `http://127.0.0.1:${port}/keys`,
    get asked() {
      return asked;
    },
    publish,
    answer,
    stop,
    start,
  };
}
