// The audit: which attempts leave a line, what exactly the line says, and that a flood of them doesn't fill the log.
import { expect, test } from "vitest";
import { issueToken } from "../../src/access/issue-token.ts";
import { openedFrame } from "../../src/frames/frame.ts";
import type { Receipt } from "../../src/model/receipt.ts";
import { SyncError } from "../../src/model/sync-error.ts";
import { FakeClock } from "../pull/fake-clock.ts";
import { waitFor } from "../support/wait-for.ts";
import { clientOf, type LogLine, type Script, SECRET, type Started, startEdge } from "./edge-fixture.ts";

const LIST = "/tidemark.v1.SyncService/ListChanges";
const PUSH = "/tidemark.v1.SyncService/PushMutations";
const PULL = "/tidemark.v1.SyncService/PullChanges";

const denials = (lines: readonly LogLine[]) => lines.filter(({ fields }) => fields["audit"] === "denied");

function list(url: string, headers: Readonly<Record<string, string>>): Promise<Response> {
  return fetch(url + LIST, {
    method: "POST",
    headers: { "content-type": "application/json", "x-request-id": "r1", ...headers },
    body: "{}",
  });
}

const line = (fields: object) => ({
  level: "warn",
  message: "denied",
  fields: {
    audit: "denied",
    requestId: "r1",
    principal: "",
    device: "",
    address: "127.0.0.1",
    procedure: LIST,
    ...fields,
  },
});

function failing(error: SyncError): Script {
  return { pull: { listChanges: () => Promise.reject(error) } };
}

const asAna = { authorization: "Bearer dev-ana" };

interface Denied {
  readonly script?: Script;
  readonly headers: () => Promise<Record<string, string>> | Record<string, string>;
  readonly told: object;
}

const denied: Readonly<Record<string, Denied>> = {
  "a token of another key": {
    headers: async () => ({
      authorization: `Bearer ${await issueToken({ secret: "x".repeat(40), principal: "eve", claims: {}, ttlSeconds: 60, nowMs: Date.now() })}`,
      "tidemark-client": "ios/1.0; device=d1",
    }),
    told: { reason: "TOKEN_INVALID", device: "d1", fault: "signature" },
  },
  "a token that has expired": {
    headers: async () => ({
      authorization: `Bearer ${await issueToken({ secret: SECRET, principal: "eve", claims: {}, ttlSeconds: 60, nowMs: Date.now() - 3_600_000 })}`,
    }),
    told: { reason: "TOKEN_EXPIRED", fault: "expired" },
  },
  "no token where one is needed": {
    script: { authenticate: () => Promise.reject(new SyncError("TOKEN_MISSING", "send a token")) },
    headers: () => ({}),
    told: { reason: "TOKEN_MISSING" },
  },
  "a fault the authenticator names": {
    script: {
      authenticate: () =>
        Promise.reject(new SyncError("TOKEN_INVALID", "no", { metadata: { fault: "audience" } })),
    },
    headers: () => asAna,
    told: { reason: "TOKEN_INVALID", fault: "audience" },
  },
  "a client too old": {
    script: { oldest: { ios: "2.0" } },
    headers: () => ({ ...asAna, "tidemark-client": "ios/1.0; device=d1" }),
    told: { reason: "CLIENT_TOO_OLD", device: "d1" },
  },
  "a call that is forbidden": {
    script: failing(new SyncError("FORBIDDEN", "stop")),
    headers: () => ({ ...asAna, "tidemark-client": "web/1.0; device=d2" }),
    told: { reason: "FORBIDDEN", principal: "ana", device: "d2" },
  },
  "one call too many": {
    script: failing(new SyncError("RATE_LIMITED", "later", { retryAfterMs: 1_000 })),
    headers: () => asAna,
    told: { reason: "RATE_LIMITED", principal: "ana" },
  },
  "a caller behind a trusted proxy": {
    script: { ...failing(new SyncError("FORBIDDEN", "stop")), trustedProxies: ["127.0.0.1"] },
    headers: () => ({ ...asAna, "x-forwarded-for": "1.1.1.1, 2001:db8::7" }),
    told: { reason: "FORBIDDEN", principal: "ana", address: "2001:db8::7" },
  },
  "a caller that claims another address": {
    script: failing(new SyncError("FORBIDDEN", "stop")),
    headers: () => ({ ...asAna, "x-forwarded-for": "1.1.1.1" }),
    told: { reason: "FORBIDDEN", principal: "ana" },
  },
};

test.each(Object.entries(denied))(
  "audit: %s → one line, counted once",
  async (_, { script, headers, told }) => {
    const { url, lines, counts } = await startEdge(script);
    const answer = await list(url, await headers());
    expect(answer.ok).toBe(false);
    expect(denials(lines)).toEqual([line(told)]);
    expect(counts).toEqual([`denied_total ${answer.headers.get("tidemark-reason")}`]);
  },
);

test.each<[string, Script, Record<string, string>]>([
  ["a call that is served", {}, asAna],
  ["a request that can't be read", {}, { ...asAna, "tidemark-client": "?" }],
  ["a server that is busy", failing(new SyncError("OVERLOADED", "later")), asAna],
  ["a bug of ours", failing(new SyncError("INTERNAL", "oh")), asAna],
])("audit: %s → no line", async (_, script, headers) => {
  const { url, lines, counts } = await startEdge(script);
  await list(url, headers);
  expect(denials(lines)).toEqual([]);
  expect(counts).toEqual([]);
});

test("audit: a stream whose token runs out → no line: it was let in rightly", async () => {
  const { url, lines } = await startEdge({
    pull: {
      async *pullChanges() {
        throw new SyncError("TOKEN_EXPIRED", "the token has expired: fetch a new one and resume");
      },
    },
  });
  const pull = async () => {
    for await (const _ of clientOf(url).pullChanges({}, { headers: asAna }))
      throw new Error("no frame is sent");
  };
  await expect(pull()).rejects.toThrow(/expired/);
  expect(denials(lines)).toEqual([]);
});

function receipt(mutationId: string, of: Partial<Receipt>): Receipt {
  return {
    mutationId,
    recordId: `record of ${mutationId.slice(-1)}`,
    outcome: "REJECTED",
    commitClock: 0n,
    replayed: false,
    record: undefined,
    recordAbsent: false,
    conflicts: [],
    rejection: undefined,
    ...of,
  };
}

test("audit: mutations rejected as FORBIDDEN → a line each with collection and record, never its values", async () => {
  const ids = [1, 2, 3, 4].map((digit) => `00000000-0000-4000-8000-00000000000${digit}`);
  const forbidden = { reason: "FORBIDDEN", description: "not margin_cents", violations: [] } as const;
  const invalid = { ...forbidden, reason: "INVALID" } as const;
  const { url, lines, counts } = await startEdge({
    push: {
      pushMutations: async () => ({
        commitClock: 1n,
        receipts: [
          receipt(ids[0] ?? "", { rejection: forbidden }),
          receipt(ids[1] ?? "", { rejection: invalid }),
          receipt(ids[2] ?? "", { outcome: "APPLIED" }),
          receipt(ids[3] ?? "", { rejection: forbidden, replayed: true }),
        ],
      }),
    },
  });
  const mutations = ids.map((mutationId) => ({
    mutationId,
    collection: "todos",
    recordId: "r",
    kind: {
      case: "create" as const,
      value: { record: { form: { case: "json" as const, value: { title: "hidden value" } } } },
    },
  }));
  const headers = { ...asAna, "x-request-id": "r1" };
  await clientOf(url).pushMutations({ mutations }, { headers });
  expect(denials(lines)).toEqual([
    line({
      reason: "FORBIDDEN",
      principal: "ana",
      procedure: PUSH,
      collection: "todos",
      recordId: "record of 1",
    }),
  ]);
  expect(counts).toEqual(["denied_total FORBIDDEN"]);
});

test("audit: collections a pull may not have → a line each, once however often they are told", async () => {
  const cursor = { subscription: "s", position: 1, checkpoint: 1 };
  const opened = openedFrame({
    cursor,
    head: 1,
    backlog: 0,
    heartbeatIntervalMs: undefined,
    schema: "f",
    unavailable: [
      { collection: "secrets", recordId: undefined, reason: "FORBIDDEN" },
      { collection: "nothing", recordId: undefined, reason: "UNKNOWN_COLLECTION" },
      { collection: "todos", recordId: "big", reason: "RECORD_TOO_LARGE" },
    ],
  });
  const { url, lines } = await startEdge({
    pull: {
      async *pullChanges() {
        yield opened;
        yield opened;
      },
      listChanges: async () => ({ frames: [opened, opened], cursor }),
    },
  });
  const headers = { ...asAna, "x-request-id": "r1" };
  for await (const _ of clientOf(url).pullChanges({}, { headers })) {
    // Only the log matters.
  }
  await clientOf(url).listChanges({}, { headers });
  const about = { reason: "FORBIDDEN", principal: "ana", collection: "secrets" };
  expect(denials(lines)).toEqual([line({ ...about, procedure: PULL }), line({ ...about, procedure: LIST })]);
});

async function flood({ url }: Started, count: number, headers: Record<string, string>): Promise<void> {
  for (let call = 0; call < count; call++) await list(url, headers);
}

test("audit: a flood from one address → ten lines a minute, then how many were left out; all are counted", async () => {
  const clock = new FakeClock();
  const started = await startEdge({ clock, trustedProxies: ["127.0.0.1"] });
  const { lines, counts } = started;
  const eve = { authorization: "Bearer x", "x-forwarded-for": "2001:db8:1:2::1" };
  await flood(started, 25, eve);
  // All of a /64 is one caller; another caller's denials are not lost in it.
  await flood(started, 5, { ...eve, "x-forwarded-for": "2001:db8:1:2::2" });
  await flood(started, 1, { ...eve, "x-forwarded-for": "203.0.113.9" });
  expect(denials(lines)).toHaveLength(11);
  expect(counts).toHaveLength(31);
  clock.advance(60_000);
  await waitFor(() => denials(lines).length === 12);
  expect(denials(lines).at(-1)).toEqual({
    level: "warn",
    message: "denials left out",
    fields: { audit: "denied", reason: "TOKEN_INVALID", address: "2001:db8:1:2::/64", leftOut: 20 },
  });
  await flood(started, 1, eve);
  expect(denials(lines)).toHaveLength(13);
});

test("audit: the server closes in the middle of a flood → what was left out is told", async () => {
  const started = await startEdge();
  await flood(started, 12, { authorization: "Bearer x" });
  await started.edge.close(0);
  await waitFor(() => denials(started.lines).some(({ fields }) => fields["leftOut"] === 2));
});

test("audit: 1,500 addresses at once → 1,000 told apart, the rest share a line's bound", async () => {
  const clock = new FakeClock();
  const started = await startEdge({ clock, trustedProxies: ["127.0.0.1"] });
  for (let caller = 0; caller < 1_500; caller++) {
    const address = `2001:db8:${caller.toString(16)}::1`;
    await list(started.url, { authorization: "Bearer x", "x-forwarded-for": address });
  }
  expect(denials(started.lines)).toHaveLength(1_010);
  clock.advance(60_000);
  await waitFor(() => denials(started.lines).length === 1_011);
  expect(denials(started.lines).at(-1)?.fields).toEqual({
    audit: "denied",
    reason: "TOKEN_INVALID",
    address: undefined,
    leftOut: 490,
  });
});

test("audit: whatever was denied → no token in any line", async () => {
  const { url, lines } = await startEdge();
  const token = await issueToken({
    secret: "y".repeat(40),
    principal: "p",
    claims: { secret: "s3cr3t" },
    ttlSeconds: 60,
    nowMs: Date.now(),
  });
  await list(url, { authorization: `Bearer ${token}` });
  await list(url, { authorization: token });
  expect(denials(lines)).toHaveLength(2);
  for (const part of token.split(".")) expect(JSON.stringify(lines)).not.toContain(part);
});
