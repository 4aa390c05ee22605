// The paths that are no calls: what to try, liveness, readiness; anything else is not found.
import type { HttpRequest, HttpResponse } from "./listener.ts";
import { sendJson } from "./send.ts";
import type { Serving } from "./serving.ts";

export interface PagesOptions {
  readonly serving: Serving;
  readonly version: string;
  /** What the server waits for before it serves, in words; empty: nothing. */
  readonly waitingFor: () => readonly string[];
}

export type Pages = (path: string, request: HttpRequest, response: HttpResponse) => void;

/**
 * `/healthz` says whether the process is alive, `/readyz` whether it should get calls: the database being away for a
 * while changes neither, or all nodes would leave their load balancer at once.
 */
export function createPages({ serving, version, waitingFor }: PagesOptions): Pages {
  return (path, request, response) => {
    if (request.method !== "GET" && request.method !== "HEAD") return notFound(path, response);
    switch (path) {
      case "/":
        return sendJson(response, 200, { tidemark: version, try: WHAT_TO_TRY });
      case "/healthz":
        return sendJson(response, 200, { alive: true });
      case "/readyz": {
        const ready = serving.state === "SERVING";
        const state = serving.state.toLowerCase();
        return sendJson(response, ready ? 200 : 503, { ready, state, waitingFor: [...waitingFor()] });
      }
      default:
        return notFound(path, response);
    }
  };
}

const WHAT_TO_TRY = {
  info: "GET /tidemark.v1.ServerService/GetServerInfo?encoding=json&message={}",
  pull: "POST /tidemark.v1.SyncService/PullChanges (gRPC, gRPC-web, Connect)",
  list: "GET /tidemark.v1.SyncService/ListChanges?encoding=json&message={}",
  push: "POST /tidemark.v1.SyncService/PushMutations",
  reflection: "buf curl --http2-prior-knowledge --list-methods",
  health: "/healthz, /readyz, grpc.health.v1.Health",
};

function notFound(path: string, response: HttpResponse): void {
  sendJson(response, 404, { code: "not_found", message: `there is nothing at ${path.slice(0, 200)}; see /` });
}
