// Tokens over time, on the whole server: a stream ends with its token and goes on with the next one; keys change while
// streams run.
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { expect, onTestFinished, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import type { Cursor } from "#gen/tidemark/v1/cursor_pb.js";
import type { PullChangesResponse } from "#gen/tidemark/v1/pull_changes_pb.js";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import { COOLDOWN_MS } from "../../src/access/jwks-url.ts";
import { readConfig } from "../../src/config.ts";
import { realClock, startTidemark } from "../../src/main.ts";
import type { Clock } from "../../src/model/clock.ts";
import { silentLogger } from "../../src/model/logger.ts";
import { type Issuer, signer, startIssuer } from "../access/issuer-fixture.ts";
import { testDatabase } from "../support/mongo.ts";
import { PullClient } from "../support/pull-client.ts";
import { DEMO_SCHEMA } from "../support/server.ts";

const roads: Record<string, (baseUrl: string) => Transport> = {
  gRPC: (baseUrl) => createGrpcTransport({ baseUrl }),
  Connect: (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
};

async function start(issuer: Issuer, clock: Clock = realClock) {
  const database = await testDatabase();
  const config = readConfig({
    PORT: "0",
    HOST: "127.0.0.1",
    MONGODB_URI: database.uri,
    MONGODB_DB: database.sourceDb,
    TIDEMARK_DB: database.tidemarkDb,
    TIDEMARK_SCHEMA: DEMO_SCHEMA,
    TIDEMARK_JWKS_URL: issuer.url,
    TIDEMARK_TOKEN_AUDIENCE: "tidemark",
    TIDEMARK_TOKEN_TOLERANCE_SECONDS: "0",
  });
  const server = await startTidemark(config, { logger: silentLogger, clock });
  onTestFinished(async () => {
    await server.close();
    await database.drop();
  });
  const todos = database.source.collection<{ _id: string; ownerId: string; title: string }>("todos");
  const write = (_id: string) => todos.insertOne({ _id, ownerId: "ana", title: `Todo ${_id}` });
  return { url: server.url, write };
}

const claimsFor = (seconds: number, nowMs = Date.now()) => {
  const now = Math.floor(nowMs / 1_000);
  return { sub: "ana", aud: "tidemark", iat: now, exp: now + seconds };
};

interface Pulling {
  readonly transport: Transport;
  readonly token: string;
  readonly cursor?: Cursor | undefined;
}

/** Frames of Ana's todos, until the stream ends or the test does. */
function pull({ transport, token, cursor }: Pulling): AsyncIterator<PullChangesResponse> {
  const gone = new AbortController();
  onTestFinished(() => gone.abort());
  const selections = [{ collection: "todos" }];
  const request = { selections, heartbeatInterval: { seconds: 1n }, ...(cursor ? { cursor } : {}) };
  const options = { headers: { authorization: `Bearer ${token}` }, signal: gone.signal };
  return createClient(SyncService, transport).pullChanges(request, options)[Symbol.asyncIterator]();
}

/** Feeds frames to a device until it holds a record at a checkpoint; what they were, of puts the record's id. */
async function until(
  frames: AsyncIterator<PullChangesResponse>,
  device: PullClient,
  id: string,
): Promise<string[]> {
  const seen: string[] = [];
  for (;;) {
    const { value, done } = await frames.next();
    if (done) throw new Error(`the stream ended before ${id}`);
    const { frame }: PullChangesResponse = value;
    if (frame.case === "batch") seen.push(...frame.value.changes.map(({ recordId }) => recordId));
    else seen.push(String(frame.case));
    if (device.apply(value) && device.records.has(`todos/${id}`)) return seen;
  }
}

/** Reads a stream to its end, which must be an error. */
async function endOf(frames: AsyncIterator<PullChangesResponse>, device: PullClient): Promise<ConnectError> {
  try {
    for (;;) {
      const { value, done } = await frames.next();
      if (done) return expect.unreachable("the stream ends without an error");
      device.apply(value);
    }
  } catch (error) {
    return ConnectError.from(error);
  }
}

test.each(Object.entries(roads))(
  "tokens: %s, the token expires in the middle of a stream → TOKEN_EXPIRED; resumed with the next one, nothing twice",
  async (_, road) => {
    const k1 = await signer("k1");
    const { url, write } = await start(await startIssuer(k1));
    const transport = road(url);
    await write("before");
    // From here on a first sync takes no time worth mentioning.
    await until(pull({ transport, token: await k1.sign(claimsFor(60)) }), new PullClient(), "before");

    const device = new PullClient();
    const token = await k1.sign(claimsFor(3));
    const frames = pull({ transport, token });
    await until(frames, device, "before");
    const end = await endOf(frames, device);
    expect([end.code, end.metadata.get("tidemark-reason")]).toEqual([Code.Unauthenticated, "TOKEN_EXPIRED"]);
    expect(end.findDetails(ErrorInfoSchema)[0]?.metadata).toEqual({ fault: "expired" });
    const again = await endOf(pull({ transport, token }), device);
    expect(again.metadata.get("tidemark-reason")).toBe("TOKEN_EXPIRED");

    await write("meanwhile");
    const next = pull({ transport, token: await k1.sign(claimsFor(60)), cursor: device.cursor });
    const seen = await until(next, device, "meanwhile");
    expect(seen).toContain("meanwhile");
    expect(seen).not.toContain("before");
    expect(seen).not.toContain("reset");
    expect([...device.records.keys()].sort()).toEqual(["todos/before", "todos/meanwhile"]);
  },
);

test("tokens: the key changes while a stream runs → it runs on until its token expires; new calls need a token of the new key", async () => {
  const [k1, k2] = await Promise.all([signer("k1"), signer("k2")]);
  const issuer = await startIssuer(k1);
  let aheadMs = 0;
  const clock: Clock = { ...realClock, nowMs: () => Date.now() + aheadMs };
  const { url, write } = await start(issuer, clock);
  const transport = roads["gRPC"]?.(url) ?? expect.unreachable();
  const device = new PullClient();
  const retired = await k1.sign(claimsFor(600));
  const running = pull({ transport, token: retired });
  await write("before");
  await until(running, device, "before");

  issuer.publish(k2);
  aheadMs = COOLDOWN_MS;
  const client = createClient(SyncService, transport);
  const listAs = async (token: string) =>
    client.listChanges({}, { headers: { authorization: `Bearer ${token}` } }).then(
      () => "served",
      (error) => ConnectError.from(error),
    );
  expect(await listAs(await k2.sign(claimsFor(600, clock.nowMs())))).toBe("served");
  const refused = await listAs(retired);
  expect(refused).toMatchObject({ code: Code.Unauthenticated });
  const [info] = ConnectError.from(refused).findDetails(ErrorInfoSchema);
  expect(info).toMatchObject({ reason: "TOKEN_INVALID", metadata: { fault: "unknown_key" } });

  await write("after");
  await until(running, device, "after");
  const next = new PullClient();
  await until(pull({ transport, token: await k2.sign(claimsFor(600)) }), next, "after");
  expect([...next.records.keys()]).toEqual([...device.records.keys()]);

  aheadMs = 600_000;
  const end = await endOf(running, device);
  expect(end.metadata.get("tidemark-reason")).toBe("TOKEN_EXPIRED");
});

test("tokens: a key file without a key at the start → refused before anything is touched", async () => {
  const config = readConfig({
    TIDEMARK_JWKS_FILE: "/nonexistent/keys.json",
    MONGODB_URI: "mongodb://127.0.0.1:1",
    MONGODB_DB: "x",
  });
  await expect(startTidemark(config, { logger: silentLogger })).rejects.toThrow(
    "TIDEMARK_JWKS_FILE: it can't be read (ENOENT)",
  );
});
