// Tokens over the wire: every fault arrives with its code, its reason and its name, by every road; an issuer that is
// away doesn't cost anybody a session.
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { createAuthenticator } from "../../src/access/authenticate.ts";
import { openKeySources } from "../../src/access/key-sources.ts";
import { silentLogger } from "../../src/model/logger.ts";
import { type Issuer, startIssuer } from "../access/issuer-fixture.ts";
import { accepted, known, refused, settings } from "../access/token-cases.ts";
import { clientOf, clock, demoSchema, startEdge } from "./edge-fixture.ts";

const roads = ["gRPC proto h2c", "gRPC-web JSON HTTP/1.1", "Connect JSON HTTP/1.1", "Connect GET proto h2c"];

async function edgeOf(issuer: Issuer): Promise<string> {
  const { sources, close } = await openKeySources({
    jwksUrl: issuer.url,
    jwksFile: undefined,
    jwksStaleSeconds: 60,
    tokenAudience: settings.tokenAudience,
    clock,
    logger: silentLogger,
  });
  onTestFinished(close);
  const schema = await demoSchema();
  const authenticate = createAuthenticator({
    ...settings,
    schema,
    devMode: false,
    clock,
    keySources: sources,
  });
  return (await startEdge({ schema, authenticate })).url;
}

/** Of a unary call and of a stream. */
async function failuresOf(url: string, token: string, road: string): Promise<ConnectError[]> {
  const client = clientOf(url, road);
  const options = { headers: { authorization: `Bearer ${token}` } };
  const stream = async () => {
    for await (const _ of client.pullChanges({}, options));
  };
  const calls = [client.listChanges({}, options), stream()];
  return Promise.all(calls.map((call) => call.then(() => expect.unreachable(), ConnectError.from)));
}

describe.each(roads)("tokens: %s", (road) => {
  test("every faulty token → UNAUTHENTICATED, its reason, its fault", async () => {
    const url = await edgeOf(await startIssuer(...known));
    for (const [name, [fault, make]] of Object.entries(refused)) {
      const reason = fault === "expired" ? "TOKEN_EXPIRED" : "TOKEN_INVALID";
      for (const error of await failuresOf(url, await make(clock.nowMs()), road)) {
        expect([name, Code[error.code]]).toEqual([name, "Unauthenticated"]);
        expect([name, error.metadata.get("tidemark-reason")]).toEqual([name, reason]);
        const [info] = error.findDetails(ErrorInfoSchema);
        expect([name, info?.reason, info?.metadata]).toEqual([name, reason, { fault }]);
      }
    }
  });

  test("every good token → served", async () => {
    const client = clientOf(await edgeOf(await startIssuer(...known)), road);
    for (const [name, make] of Object.entries(accepted)) {
      const headers = { authorization: `Bearer ${await make(clock.nowMs())}` };
      expect([name, (await client.listChanges({}, { headers })).cursor?.subscription]).toEqual([name, "s"]);
    }
  });

  test("issuer away from the start → UNAVAILABLE, ISSUER_UNAVAILABLE, with the time to wait", async () => {
    const issuer = await startIssuer(...known);
    await issuer.stop();
    const url = await edgeOf(issuer);
    const token = (await known[0]?.sign({ sub: "ana" })) ?? "";
    for (const error of await failuresOf(url, token, road)) {
      expect(error.code).toBe(Code.Unavailable);
      expect(error.metadata.get("tidemark-reason")).toBe("ISSUER_UNAVAILABLE");
      expect(Number(error.metadata.get("retry-after"))).toBeGreaterThan(0);
      expect(error.findDetails(RetryInfoSchema)).toHaveLength(1);
    }
  });
});
