// `/metrics` on a port of its own, so that what operators see is never reachable where clients are.
import { createServer, type Server } from "node:http";
import type { Logger } from "../model/logger.ts";
import type { PrometheusMetrics } from "./metrics.ts";
import { sendText } from "./send.ts";

export interface MetricsPage {
  close(): Promise<void>;
}

export interface MetricsPageOptions {
  readonly port: number;
  readonly host: string;
  readonly metrics: Pick<PrometheusMetrics, "page" | "contentType">;
  readonly logger: Logger;
}

/** Scrapers come one by one; more connections are somebody else's. */
const CONNECTIONS_MAX = 100;
const REQUEST_MS_MAX = 10_000;

/** Resolves when it listens. @throws EADDRINUSE and what else keeps it from listening. */
export async function openMetricsPage(options: MetricsPageOptions): Promise<MetricsPage> {
  const { port, host, metrics, logger } = options;
  const server = createServer({ requestTimeout: REQUEST_MS_MAX, headersTimeout: REQUEST_MS_MAX });
  server.maxConnections = CONNECTIONS_MAX;
  server.on("request", (request, response) => {
    if (request.url?.split("?", 1)[0] !== "/metrics") return sendText(response, 404, "see /metrics");
    if (request.method !== "GET" && request.method !== "HEAD") return sendText(response, 405, "GET it");
    metrics.page().then(
      (page) => response.setHeader("content-type", metrics.contentType).end(page),
      (error: unknown) => {
        logger.warn({ err: error }, "the metrics could not be written down");
        sendText(response, 500, "the metrics could not be written down");
      },
    );
  });
  await listen(server, port, host);
  return { close: () => close(server) };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
