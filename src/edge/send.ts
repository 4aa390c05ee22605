// Plain answers, outside the RPC protocols: of the moment, so no cache keeps them.
import type { JsonValue } from "@bufbuild/protobuf";
import type { HttpResponse } from "./listener.ts";

export function sendJson(response: HttpResponse, status: number, body: JsonValue): void {
  response.statusCode = status;
  response.setHeader("content-type", "application/json");
  response.setHeader("cache-control", "no-store");
  response.end(`${JSON.stringify(body)}\n`);
}

export function sendText(response: HttpResponse, status: number, text: string): void {
  response.statusCode = status;
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.setHeader("cache-control", "no-store");
  response.end(`${text}\n`);
}
