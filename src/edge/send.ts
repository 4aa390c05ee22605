// Plain answers, outside the RPC protocols.
import type { JsonValue } from "@bufbuild/protobuf";
import type { HttpResponse } from "./listener.ts";

export function sendJson(response: HttpResponse, status: number, body: JsonValue): void {
  response.statusCode = status;
  response.setHeader("content-type", "application/json");
  response.end(`${JSON.stringify(body)}\n`);
}

export function sendText(response: HttpResponse, status: number, text: string): void {
  response.statusCode = status;
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.end(`${text}\n`);
}
