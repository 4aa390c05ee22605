// Everything malformed, at random, over every way in: no answer holds anything of the inside, none is an INTERNAL, and
// the server serves on. The whole product with a real database stands behind it.
import { expect, onTestFailed, onTestFinished, test } from "vitest";
import { authority, signed, tlsFiles } from "../support/certificates.ts";
import { type KeptLog, keptLog } from "../support/log-lines.ts";
import { testDatabase } from "../support/mongo.ts";
import { type Random, randomOf, seedOf } from "../support/random.ts";
import { startServer } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";
import { malformedBytes, malformedRequest, type Request } from "./malformed.ts";
import { exchangeBytes, exchangeHttp1, exchangeHttp2, type Target } from "./raw-exchange.ts";

const REQUESTS = 200;
const SECRET = "malformed-test-secret-of-forty-characters";

/** Traces of the inside: stacks, files, classes of Node, the driver and BSON, secrets. */
const INSIDE = new RegExp(
  [
    String.raw`\bat (\S+ \(|file:|node:|async )`,
    "node_modules|node:internal",
    String.raw`\.[cm]?[jt]s\b(?!on)`,
    "/src/|/dist/|/usr/|/home/|/tmp/|/work/|/dev/shm",
    "Mongo|BSON|mongodb:",
    String.raw`\b(Type|Range|Syntax|Reference)Error|ERR_|invariant`,
    SECRET,
    "BEGIN [A-Z ]*(KEY|CERT)",
  ].join("|"),
);

interface Started {
  readonly target: Target;
  readonly log: KeptLog;
}

async function start(isSecure: boolean): Promise<Started> {
  const database = await testDatabase();
  onTestFinished(() => database.drop());
  const log = keptLog();
  const env: Record<string, string> = { TIDEMARK_TOKEN_SECRET: SECRET, TRUSTED_PROXIES: "127.0.0.1" };
  let ca: string | undefined;
  if (isSecure) {
    const issuer = await authority("Test CA");
    const { certFile, keyFile } = await tlsFiles(await signed(issuer, "server"));
    Object.assign(env, { TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile });
    ca = issuer.cert;
  }
  const server = await startServer(database, env, log.logger);
  onTestFinished(() => server.close());
  await waitFor(() => server.status().isSettled);
  const { port, protocol } = new URL(server.url);
  expect(protocol).toBe(isSecure ? "https:" : "http:");
  return { target: { port: Number(port), ca }, log };
}

const honest: Request = {
  method: "POST",
  path: "/tidemark.v1.SyncService/ListChanges",
  headers: { "content-type": "application/json", authorization: "Bearer dev-ana" },
  body: Buffer.from("{}"),
  isStream: false,
};

/** Whatever was sent: an honest call is served, and the server found nothing wrong with itself. */
async function expectServing({ target, log }: Started): Promise<void> {
  expect(await exchangeHttp1(target, honest)).toMatch(/^HTTP\/1\.1 200 [\s\S]*"cursor"/);
  expect(await exchangeHttp2(target, honest)).toContain('"cursor"');
  expect(log.troubles()).toEqual([]);
}

function randomOfRun(run: number, part: string): Random {
  const seed = seedOf(run);
  onTestFailed(() => {
    process.stderr.write(`TIDEMARK_SEED=${seed} repeats it\n`);
  });
  return randomOf(seed, part);
}

const ways = [
  ["HTTP/1.1", false, exchangeHttp1],
  ["h2c", false, exchangeHttp2],
  ["HTTP/1.1 over TLS", true, exchangeHttp1],
  ["HTTP/2 over TLS", true, exchangeHttp2],
] as const;

test.each(ways)(
  "malformed: requests over %s → refused without a trace of the inside, others served",
  async (way, isSecure, exchange) => {
    const random = randomOfRun(1, way);
    const started = await start(isSecure);
    let answered = 0;
    for (let count = 0; count < REQUESTS; count++) {
      const request = malformedRequest(random);
      const answer = await exchange(started.target, request);
      if (answer !== "") answered++;
      const { body, ...told } = request;
      const about = `${JSON.stringify(told)} ${body.subarray(0, 200).toString("latin1")}`;
      expect(answer, about).not.toMatch(INSIDE);
      expect(answer, about).not.toContain("internal error");
    }
    // A request that breaks the protocol itself may end without an answer; hardly any here does.
    expect(answered).toBeGreaterThan(REQUESTS * 0.9);
    await expectServing(started);
  },
);

test.each([false, true])(
  "malformed: bytes that are no request (TLS: %s) → closed without a trace of the inside, others served",
  async (isSecure) => {
    const random = randomOfRun(2, `bytes ${isSecure}`);
    const started = await start(isSecure);
    for (let count = 0; count < REQUESTS; count++) {
      const bytes = malformedBytes(random);
      expect(await exchangeBytes(started.target, bytes), bytes.toString("hex")).not.toMatch(INSIDE);
      // To a server of TLS, they are also no handshake.
      if (isSecure) await exchangeBytes({ ...started.target, ca: undefined }, bytes);
    }
    await expectServing(started);
  },
);

test.each([
  "at file:///x.ts:1:2",
  "TypeError: x is not a function",
  "MongoServerError: E11000",
  "BSONVersionError",
  "/work/main/src/main.ts",
  SECRET,
])("malformed: the check itself, given %j → sees it", (trace) => {
  expect(`{"message":"${trace}"}`).toMatch(INSIDE);
});
