// Clients that are too old, about to go, or new enough, in every protocol; what the server says of versions and flags.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { ServerService } from "#gen/tidemark/v1/server_service_pb.js";
import { asAna, clientOf, frame, type Script, startEdge, transportNames } from "./edge-fixture.ts";

const script: Script = {
  oldest: { ios: "2.4.0", web: "1.0" },
  deprecated: { ios: "2.6" },
  upgradeUrls: { ios: "https://apps.example/ios" },
  flags: { "new-editor": true, beta: false },
  pull: {
    async *pullChanges() {
      yield frame({ case: "checkpoint", value: { position: 1n } });
    },
  },
};
const NOTICE = "ios/2.5.0 is about to go; upgrade to 2.6 or later: https://apps.example/ios";

const as = (client: string, authorization = asAna.headers.authorization) => ({
  headers: { "tidemark-client": client, authorization },
});

async function refusalOf(call: Promise<unknown>): Promise<ConnectError> {
  return ConnectError.from(await call.then(() => "served").catch((error: unknown) => error));
}

describe.each(transportNames)("%s", (transport) => {
  async function start() {
    const { url } = await startEdge(script);
    return clientOf(url, transport);
  }

  test("clients: an older version, unary and streamed → CLIENT_TOO_OLD, with where to upgrade", async () => {
    const sync = await start();
    const pull = async () => {
      for await (const _ of sync.pullChanges({}, as("ios/2.3.9"))) throw new Error("it was served");
    };
    const push = () => sync.pushMutations({ mutations: [] }, as("ios/2.3.9; device=d1"));
    for (const call of [push, pull]) {
      const error = await refusalOf(call());
      expect([error.code, error.metadata.get("tidemark-reason")]).toEqual([
        Code.FailedPrecondition,
        "CLIENT_TOO_OLD",
      ]);
      expect(error.findDetails(ErrorInfoSchema)[0]).toMatchObject({
        reason: "CLIENT_TOO_OLD",
        metadata: {
          platform: "ios",
          version: "2.3.9",
          oldest: "2.4.0",
          upgrade_url: "https://apps.example/ios",
        },
      });
    }
  });

  test("clients: about to go → the notice with unary answers, streams and errors; up to date → none", async () => {
    const sync = await start();
    const noticesOf = async (client: string) => {
      const notices: (string | null)[] = [];
      const onHeader = (headers: Headers) => void notices.push(headers.get("tidemark-deprecation"));
      await sync.listChanges({}, { ...as(client), onHeader });
      for await (const _ of sync.pullChanges({}, { ...as(client), onHeader })) {
        // Only its headers matter.
      }
      const error = await refusalOf(sync.listChanges({}, as(client, "Bearer x")));
      return [...notices, error.metadata.get("tidemark-deprecation")];
    };
    expect(await noticesOf("ios/2.5.0")).toEqual([NOTICE, NOTICE, NOTICE]);
    expect(await noticesOf("IOS / 2.6.0")).toEqual([null, null, null]);
  });
});

test("clients: too old, with a token that can't be read → told about the version, which was looked at first", async () => {
  const { url } = await startEdge({ ...script, authenticate: () => Promise.reject(new Error("looked at")) });
  const error = await refusalOf(clientOf(url).listChanges({}, as("ios/1", "Bearer x")));
  expect(error.code).toBe(Code.FailedPrecondition);
});

test.each(["android/0.1", "web/1.0.0", "ios/2.4.0"])("clients: %s → served", async (client) => {
  const { url } = await startEdge(script);
  await clientOf(url).listChanges({}, as(client));
});

test.each(["ios/dev", "ios/2.4.0-beta", "ios/1e9", "ios/-1"])(
  "clients: %s → CLIENT_TOO_OLD",
  async (client) => {
    const { url } = await startEdge(script);
    expect((await refusalOf(clientOf(url).listChanges({}, as(client)))).code).toBe(Code.FailedPrecondition);
  },
);

test.each(["ios", "ios/", "/1", "ios/2.4.0/5", "☃/1", "ios/2.4.0; device="])(
  "clients: a header that can't be read, %j → INVALID_REQUEST, not a way round the version",
  async (client) => {
    const { url } = await startEdge(script);
    const answer = await fetch(`${url}/tidemark.v1.SyncService/ListChanges`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "tidemark-client": Buffer.from(client).toString("latin1"),
        ...asAna.headers,
      },
      body: "{}",
    });
    expect([answer.status, answer.headers.get("tidemark-reason")]).toEqual([400, "INVALID_REQUEST"]);
  },
);

test("info: asked by a client of any version → oldest clients and flags", async () => {
  const { url } = await startEdge(script);
  const server = createClient(ServerService, createConnectTransport({ baseUrl: url, httpVersion: "1.1" }));
  const info = await server.getServerInfo({}, as("ios/0.1"));
  expect(info.oldestClients).toMatchObject([
    { platform: "ios", version: "2.4.0" },
    { platform: "web", version: "1.0" },
  ]);
  expect(info.flags).toEqual({ "new-editor": true, beta: false });
});
