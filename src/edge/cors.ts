// Which pages of other origins may call: all headers the three protocols and Tidemark's own contract use.
import { cors } from "@connectrpc/connect";
import { DEPRECATION_HEADER, REASON_METADATA, RETRY_METADATA } from "./errors.ts";
import type { HttpRequest, HttpResponse } from "./listener.ts";

const ALLOWED_METHODS = [...cors.allowedMethods, "OPTIONS"].join(", ");
const ALLOWED_HEADERS = [
  ...cors.allowedHeaders,
  "Authorization",
  "Tidemark-Client",
  "X-Request-Id",
  "Grpc-Accept-Encoding",
].join(", ");
const EXPOSED_HEADERS = [
  ...cors.exposedHeaders,
  REASON_METADATA,
  RETRY_METADATA,
  DEPRECATION_HEADER,
  "x-request-id",
].join(", ");
/** Browsers keep a preflight's answer for two hours at most. */
const MAX_AGE_SECONDS = 7_200;

/**
 * Adds the headers of an allowed origin, and answers preflights.
 * @param origins as the setting: origins, or `*`; empty: none.
 * @returns whether the request was a preflight and is answered.
 */
export function answerCors(
  request: HttpRequest,
  response: HttpResponse,
  origins: readonly string[],
): boolean {
  const { origin } = request.headers;
  if (origins.length > 0) response.setHeader("vary", "origin");
  const isPreflight = request.method === "OPTIONS" && "access-control-request-method" in request.headers;
  if (origin !== undefined && (origins.includes("*") || origins.includes(origin))) {
    response.setHeader("access-control-allow-origin", origin);
    response.setHeader("access-control-expose-headers", EXPOSED_HEADERS);
    if (isPreflight) {
      response.setHeader("access-control-allow-methods", ALLOWED_METHODS);
      response.setHeader("access-control-allow-headers", ALLOWED_HEADERS);
      response.setHeader("access-control-max-age", MAX_AGE_SECONDS);
    }
  }
  if (!isPreflight) return false;
  response.statusCode = 204;
  response.end();
  return true;
}
