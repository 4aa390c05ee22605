// How a stream ends, well or not, in the protocol it is told in: gRPC says so in trailers, gRPC-web and Connect in a last
// envelope.
import type { ConnectError } from "@connectrpc/connect";
import { endStreamFlag, endStreamToJson } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import { endEnvelope } from "./envelopes.ts";

export type StreamProtocol = "grpc" | "grpc-web" | "connect";

export interface Ending {
  /** The last bytes of the body; undefined: none. */
  readonly envelope: Buffer | undefined;
  /** HTTP trailers; undefined: none. */
  readonly trailers: Headers | undefined;
}

/** @param contentType of the answer. */
export function protocolOf(contentType: string): StreamProtocol {
  if (contentType.startsWith("application/grpc-web")) return "grpc-web";
  return contentType.startsWith("application/grpc") ? "grpc" : "connect";
}

/**
 * @param error undefined: all is well.
 * @param trailer what is told besides.
 */
export function endingOf(
  protocol: StreamProtocol,
  error: ConnectError | undefined,
  trailer: Headers,
): Ending {
  if (protocol === "connect") {
    const json = endStreamToJson(new Headers(trailer), error, undefined);
    return { envelope: endEnvelope(endStreamFlag, Buffer.from(JSON.stringify(json))), trailers: undefined };
  }
  const trailers = setTrailerStatus(new Headers(trailer), error);
  if (protocol === "grpc") return { envelope: undefined, trailers };
  return { envelope: endEnvelope(trailerFlag, trailerSerialize(trailers)), trailers: undefined };
}
