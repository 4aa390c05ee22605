// What every answer carries to keep browsers from doing more with it than it is meant for, and what CORS lets through.
import { expect, test } from "vitest";
import { asAna, type Script, startEdge } from "./edge-fixture.ts";

const LIST = "/tidemark.v1.SyncService/ListChanges";
const origin = "https://app.example";

const answers: Readonly<Record<string, (url: string) => Promise<Response>>> = {
  "a page": (url) => fetch(url),
  "a path that leads nowhere": (url) => fetch(`${url}/nothing`),
  readiness: (url) => fetch(`${url}/readyz`),
  "a unary answer": (url) => post(`${url}${LIST}`, "application/json", "{}"),
  "a GET's answer": (url) => fetch(`${url}${LIST}?encoding=json&message={}`, asAna),
  "a stream": (url) =>
    post(`${url}/tidemark.v1.SyncService/PullChanges`, "application/connect+json", "\0\0\0\0\u0002{}"),
  "a refused call": (url) =>
    fetch(`${url}${LIST}`, { method: "POST", headers: { "content-type": "application/json" } }),
  "a call to a method there isn't": (url) =>
    post(`${url}/tidemark.v1.SyncService/No`, "application/json", "{}"),
  "a gRPC-web call to a method there isn't": (url) =>
    post(`${url}/tidemark.v1.SyncService/No`, "application/grpc-web+proto", ""),
  "a content type nobody knows": (url) => post(`${url}${LIST}`, "text/html", "<p>"),
  "a method that isn't for it": (url) => fetch(`${url}${LIST}`, { method: "PUT" }),
  "a preflight": (url) =>
    fetch(`${url}${LIST}`, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST" },
    }),
  "too large a head": (url) => fetch(`${url}/${"a".repeat(17_000)}`),
};

function post(url: string, contentType: string, body: string): Promise<Response> {
  return fetch(url, { method: "POST", headers: { ...asAna.headers, "content-type": contentType }, body });
}

test.each(Object.entries(answers))(
  "headers: %s → those that protect, none that tell what serves",
  async (_, ask) => {
    const { url } = await startEdge();
    const { headers } = await ask(url);
    expect(Object.fromEntries(headers)).toMatchObject({
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    });
    for (const name of ["server", "x-powered-by", "strict-transport-security"])
      expect(headers.get(name)).toBeNull();
  },
);

const refused = [
  "a path that leads nowhere",
  "a refused call",
  "a call to a method there isn't",
  "a gRPC-web call to a method there isn't",
  "a content type nobody knows",
  "a method that isn't for it",
  "too large a head",
  "readiness",
];

test.each(refused)("headers: %s → kept by no cache", async (name) => {
  const { url } = await startEdge();
  expect((await answers[name]?.(url))?.headers.get("cache-control")).toMatch(/no-store/);
});

async function preflight(script: Script, from: string, header: string): Promise<Response> {
  const { url } = await startEdge(script);
  return fetch(url + LIST, {
    method: "OPTIONS",
    headers: {
      origin: from,
      "access-control-request-method": "POST",
      "access-control-request-headers": header,
    },
  });
}

test.each([
  "authorization",
  "content-type",
  "connect-protocol-version",
  "connect-timeout-ms",
  "grpc-timeout",
  "x-grpc-web",
  "x-user-agent",
  "grpc-accept-encoding",
  "tidemark-client",
  "x-request-id",
])("CORS: a preflight for %s from a listed origin → allowed; from another → not", async (header) => {
  const listed = await preflight({ corsOrigins: [origin] }, origin, header);
  expect(listed.headers.get("access-control-allow-origin")).toBe(origin);
  expect(listed.headers.get("access-control-allow-headers")?.toLowerCase().split(", ")).toContain(header);
  const other = await preflight({ corsOrigins: [origin] }, "https://evil.example", header);
  for (const [name] of other.headers) expect(name).not.toMatch(/^access-control-/);
});

test.each([
  ["another scheme", "http://app.example"],
  ["another port", "https://app.example:8443"],
  ["a longer name", "https://app.example.evil.example"],
  ["a longer beginning", "https://evil-app.example"],
  ["no origin's name", "null"],
  ["upper case", "https://APP.example"],
  ["two origins", `${origin}, https://evil.example`],
])(
  "CORS: an origin with %s → neither reflected nor allowed, on preflights, answers and errors",
  async (_, from) => {
    const { url } = await startEdge({ corsOrigins: [origin] });
    const answers = [
      await preflight({ corsOrigins: [origin] }, from, "authorization"),
      await fetch(url, { headers: { origin: from } }),
      await fetch(url + LIST, {
        method: "POST",
        headers: { origin: from, "content-type": "application/json" },
      }),
    ];
    for (const { headers } of answers) {
      expect(headers.get("access-control-allow-origin")).toBeNull();
      expect(headers.get("vary")).toBe("origin");
    }
  },
);

test("CORS: whatever the setting → no page may call with cookies", async () => {
  for (const corsOrigins of [["*"], [origin], []]) {
    const answer = await preflight({ corsOrigins }, origin, "authorization");
    expect(answer.headers.get("access-control-allow-credentials")).toBeNull();
  }
});

test("CORS: the deprecation notice → readable by pages", async () => {
  const { url } = await startEdge({ deprecated: { web: "2.0" } });
  const answer = await fetch(url + LIST, { headers: { origin, "tidemark-client": "web/1.0" } });
  expect(answer.headers.get("access-control-expose-headers")?.split(", ")).toContain("tidemark-deprecation");
  expect(answer.headers.get("tidemark-deprecation")).toBe("web/1.0 is about to go; upgrade to 2.0 or later");
});
