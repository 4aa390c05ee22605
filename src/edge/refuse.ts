// Answers to calls no handler takes, in the protocol the caller speaks.
import { Code, type ConnectError } from "@connectrpc/connect";
import { codeToHttpStatus, errorToJson } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import type { Call } from "./call.ts";
import { withReason } from "./errors.ts";
import type { HttpRequest, HttpResponse } from "./listener.ts";
import { sendJson } from "./send.ts";

export interface Exchange {
  readonly call: Call;
  readonly request: HttpRequest;
  readonly response: HttpResponse;
}

/**
 * Ends the response with the error; for gRPC and gRPC-web as a response of trailers only.
 * @param httpStatus for all others; default: as Connect translates the error's code.
 */
export function refuse(
  { call, request, response }: Exchange,
  error: ConnectError,
  httpStatus?: number,
): void {
  call.outcome = withReason(error).code;
  const contentType = request.headers["content-type"] ?? "";
  if (!contentType.startsWith("application/grpc")) {
    for (const [name, value] of error.metadata) response.setHeader(name, value);
    const status = error.code === Code.Unimplemented ? 404 : codeToHttpStatus(error.code);
    sendJson(response, httpStatus ?? status, errorToJson(error, undefined));
    return;
  }
  for (const [name, value] of setTrailerStatus(new Headers(), error)) response.setHeader(name, value);
  response.setHeader("content-type", contentType);
  response.setHeader("cache-control", "no-store");
  response.statusCode = 200;
  response.end();
}
