// Limits as callers meet them: in every protocol, with the reason, the limit and when to come back; before anything is
// read, whether the token was right or not; and streams give their places back however they end.
import { connect as connectHttp2 } from "node:http2";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { ServerService } from "#gen/tidemark/v1/server_service_pb.js";
import type { LimitSettings } from "../../src/access/limits/limit.ts";
import { limiterOf } from "../access/limits/limiter-fixture.ts";
import { waitFor } from "../support/wait-for.ts";
import {
  asAna,
  clientOf,
  frame,
  type Script,
  startEdge,
  transportNames,
  transports,
} from "./edge-fixture.ts";

async function limited(settings: Partial<LimitSettings>, script: Script = {}) {
  const limiter = await limiterOf({ settings });
  return { limiter, ...(await startEdge({ ...script, limiter })) };
}

async function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => {
      throw new Error("the call was let in");
    },
    (error: unknown) => ConnectError.from(error),
  );
}

async function drained(stream: AsyncIterable<unknown>): Promise<number> {
  let frames = 0;
  for await (const _ of stream) frames++;
  return frames;
}

const opened = frame({ case: "opened", value: {} });

describe.each(transportNames)("limits by %s", (transport) => {
  test("limits: the second call of a limit of one → RESOURCE_EXHAUSTED with limit, value and when", async () => {
    const { url } = await limited({ limitRequestsPerPrincipal: 1 });
    const client = clientOf(url, transport);
    await client.listChanges({}, asAna);
    const error = await failureOf(client.listChanges({}, asAna));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.metadata.get("tidemark-reason")).toBe("RATE_LIMITED");
    const retryAfter = Number(error.metadata.get("retry-after"));
    expect(retryAfter).toBeGreaterThan(0);
    expect(retryAfter).toBeLessThanOrEqual(60);
    const [info] = error.findDetails(ErrorInfoSchema);
    expect(info?.metadata).toEqual({ limit: "requests", per: "principal", value: "1" });
    const [retry] = error.findDetails(RetryInfoSchema);
    expect(Math.ceil(Number(retry?.retryDelay?.seconds ?? 0) + (retry?.retryDelay?.nanos ?? 0) / 1e9)).toBe(
      retryAfter,
    );
  });

  test("limits: a second stream of a limit of one → RESOURCE_EXHAUSTED, and the first goes on", async () => {
    const { url } = await limited({ streamsPerPrincipalMax: 1 }, { pull: { pullChanges: openUntilAborted } });
    const client = clientOf(url, transport);
    const gone = new AbortController();
    const first = client.pullChanges({}, { ...asAna, signal: gone.signal })[Symbol.asyncIterator]();
    await first.next();
    const error = await failureOf(drained(client.pullChanges({}, asAna)));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.findDetails(ErrorInfoSchema)[0]?.metadata).toMatchObject({ limit: "open_streams" });
    gone.abort();
    await first.next().catch(() => {});
    await waitFor(async () => {
      const again = client.pullChanges({}, { ...asAna, signal: AbortSignal.timeout(5_000) });
      return again[Symbol.asyncIterator]()
        .next()
        .then(
          () => true,
          () => false,
        );
    });
  });
});

test("limits: over HTTP → 429 with the header Retry-After, by POST and by GET", async () => {
  const { url } = await limited({ limitRequestsPerPrincipal: 2 });
  const headers = { ...asAna.headers, "content-type": "application/json" };
  const path = `${url}/tidemark.v1.SyncService/ListChanges`;
  const post = () => fetch(path, { method: "POST", headers, body: "{}" });
  const get = () => fetch(`${path}?encoding=json&message=%7B%7D`, { headers: asAna.headers });
  expect([(await post()).status, (await get()).status]).toEqual([200, 200]);
  for (const answer of [await post(), await get()]) {
    expect(answer.status).toBe(429);
    expect(answer.headers.get("retry-after")).toMatch(/^([1-9]|[1-5]\d|60)$/);
    expect(await answer.json()).toMatchObject({ code: "resource_exhausted" });
  }
});

test("limits: an address that guesses tokens → refused before its token is looked at, with a right one too", async () => {
  let looks = 0;
  const { url } = await limited(
    { limitRequestsPerAddress: 5 },
    {
      authenticate: async () => {
        looks++;
        throw new ConnectError("no", Code.Unauthenticated);
      },
    },
  );
  const client = clientOf(url);
  const codes: Code[] = [];
  for (let call = 0; call < 8; call++) codes.push((await failureOf(client.listChanges({}, asAna))).code);
  const guessed = Array<Code>(5).fill(Code.Unauthenticated);
  expect(codes).toEqual([...guessed, ...Array<Code>(3).fill(Code.ResourceExhausted)]);
  // The sixth was looked at beside the count that refused it, but what came of it was not told.
  expect(looks).toBeLessThanOrEqual(6);
});

test("limits: health and server info → by address only", async () => {
  const { url } = await limited({
    limitRequestsPerAddress: 4,
    limitRequestsPerPrincipal: 1,
    limitRequestsPerDevice: 1,
  });
  const transport = transports["gRPC proto h2c"]?.(url);
  if (transport === undefined) throw new Error("no transport");
  const health = createClient(Health, transport);
  const server = createClient(ServerService, transport);
  for (let call = 0; call < 2; call++) {
    await health.check({}, asAna);
    await server.getServerInfo({}, asAna);
  }
  for (const call of [health.check({}, asAna), server.getServerInfo({}, asAna)]) {
    expect((await failureOf(call)).code).toBe(Code.ResourceExhausted);
  }
});

test("limits: mutations over the limit → nothing is pushed; more than it ever holds → told to split", async () => {
  const pushed: number[] = [];
  const { url } = await limited(
    { limitMutationsPerPrincipal: 3 },
    {
      push: {
        async pushMutations(_, { mutations }) {
          pushed.push(mutations.length);
          return { receipts: [], commitClock: 0n };
        },
      },
    },
  );
  const push = (count: number) =>
    clientOf(url).pushMutations({ mutations: Array.from({ length: count }, mutation) }, asAna);
  await push(2);
  expect((await failureOf(push(2))).metadata.get("tidemark-reason")).toBe("RATE_LIMITED");
  expect((await failureOf(push(4))).metadata.get("tidemark-reason")).toBe("REQUEST_TOO_LARGE");
  expect(pushed).toEqual([2]);
});

test("limits: a stream sends more than the limit of bytes → it goes on to its end, the next call is refused", async () => {
  const part = frame({ case: "part", value: { data: new Uint8Array(100_000) } });
  const { url } = await limited(
    { limitMegabytesPerPrincipal: 1 },
    {
      pull: {
        async *pullChanges() {
          for (let sent = 0; sent < 30; sent++) yield part;
        },
      },
    },
  );
  const client = clientOf(url);
  expect(await drained(client.pullChanges({}, asAna))).toBe(30);
  const error = await failureOf(client.listChanges({}, asAna));
  expect(error.findDetails(ErrorInfoSchema)[0]?.metadata).toMatchObject({ limit: "megabytes", value: "1" });
  await client.listChanges({}, { headers: { authorization: "Bearer dev-ben" } });
});

test("limits: a stream that never ends → is charged while it goes on", async () => {
  const part = frame({ case: "part", value: { data: new Uint8Array(300_000) } });
  const { url } = await limited(
    { limitMegabytesPerPrincipal: 1 },
    {
      pull: {
        async *pullChanges(_, __, signal) {
          for (let sent = 0; sent < 5; sent++) yield part;
          yield* openUntilAborted(_, __, signal);
        },
      },
    },
  );
  const gone = new AbortController();
  const stream = clientOf(url)
    .pullChanges({}, { ...asAna, signal: gone.signal })
    [Symbol.asyncIterator]();
  for (let received = 0; received < 6; received++) await stream.next();
  expect((await failureOf(clientOf(url).listChanges({}, asAna))).code).toBe(Code.ResourceExhausted);
  gone.abort();
});

test("limits: requests larger than the limit of bytes → the next one is refused, even if they were no good", async () => {
  const { url } = await limited({ limitMegabytesPerAddress: 1 });
  const path = `${url}/tidemark.v1.SyncService/PushMutations`;
  const headers = { ...asAna.headers, "content-type": "application/json" };
  const post = (body: string) => fetch(path, { method: "POST", headers, body });
  expect((await post("x".repeat(2_000_000))).status).toBe(400);
  await waitFor(async () => (await post("{}")).status === 429);
});

test("limits: 500 streams, each ended in another way → no place is lost", async () => {
  const { limiter, port, url } = await limited(
    { streamsPerPrincipalMax: 1_000, streamsPerAddressMax: 1_000, streamsPerNodeMax: 1_000 },
    {
      pull: {
        async *pullChanges(principal, request, signal) {
          if (principal.id === "fails") throw new Error("a fault of the server");
          if (principal.id === "ends") return void (yield opened);
          yield* openUntilAborted(principal, request, signal);
        },
      },
    },
  );
  const ways = ["abort", "session", "reset", "fails", "ends"] as const;
  await Promise.all(
    Array.from({ length: 500 }, async (_, at) => {
      const way = ways[at % ways.length] ?? "abort";
      if (way === "session" || way === "reset") return breakStream(port, way);
      const principal = way === "abort" ? "ana" : way;
      const headers = { authorization: `Bearer dev-${principal}` };
      const gone = new AbortController();
      const transport = transportNames[at % 9];
      const stream = clientOf(url, transport).pullChanges({}, { headers, signal: gone.signal });
      try {
        for await (const _ of stream) if (way === "abort") gone.abort();
      } catch {}
    }),
  );
  await waitFor(() => limiter.openStreams === 0, { what: "all places to be free" });
  expect(
    await drained(clientOf(url).pullChanges({}, { headers: { authorization: "Bearer dev-ends" } })),
  ).toBe(1);
});

test("limits: the server drains → the places of its streams are free", async () => {
  const { limiter, edge, url } = await limited({}, { pull: { pullChanges: openUntilAborted } });
  const stream = clientOf(url).pullChanges({}, asAna)[Symbol.asyncIterator]();
  await stream.next();
  expect(limiter.openStreams).toBe(1);
  await edge.close(100);
  await stream.next().catch(() => {});
  await waitFor(() => limiter.openStreams === 0);
});

async function* openUntilAborted(_: unknown, __: unknown, signal: AbortSignal) {
  yield opened;
  yield opened;
  await new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", resolve, { once: true });
  });
}

function mutation(_: unknown, at: number) {
  const mutationId = `00000000-0000-4000-8000-${String(at).padStart(12, "0")}`;
  return {
    mutationId,
    collection: "todos",
    recordId: `todo-${at}`,
    kind: { case: "delete" as const, value: {} },
  };
}

/** Opens a stream by hand and then breaks its connection, or only the stream, once the first frame is there. */
function breakStream(port: number, way: "session" | "reset"): Promise<void> {
  return new Promise((resolve) => {
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    session.on("error", () => {});
    session.once("close", resolve);
    const stream = session.request({
      ":method": "POST",
      ":path": "/tidemark.v1.SyncService/PullChanges",
      "content-type": "application/grpc",
      authorization: "Bearer dev-ana",
    });
    stream.on("error", () => {});
    stream.once("data", () => {
      if (way === "session") session.destroy();
      else stream.close(8, () => session.close());
    });
    stream.end(Buffer.alloc(5));
  });
}
