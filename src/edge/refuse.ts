// Answers to calls no handler takes, in the protocol the caller speaks.
import { Code, type ConnectError } from "@connectrpc/connect";
import { codeToHttpStatus, errorToJson } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import type { Call } from "./call.ts";
import { withReason } from "./errors.ts";
import type { HttpRequest, HttpResponse } from "./listener.ts";
import { sendJson } from "./send.ts";

/** Ends the response with the error; for gRPC and gRPC-web as a response of trailers only. */
export function refuse(call: Call, request: HttpRequest, response: HttpResponse, error: ConnectError): void {
  call.outcome = withReason(error).code;
  const contentType = request.headers["content-type"] ?? "";
  if (!contentType.startsWith("application/grpc")) {
    for (const [name, value] of error.metadata) response.setHeader(name, value);
    const status = error.code === Code.Unimplemented ? 404 : codeToHttpStatus(error.code);
    sendJson(response, status, errorToJson(error, undefined));
    return;
  }
  for (const [name, value] of setTrailerStatus(new Headers(), error)) response.setHeader(name, value);
  response.setHeader("content-type", contentType);
  response.statusCode = 200;
  response.end();
}
