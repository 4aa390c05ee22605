// The streams open now: each goes on where Connect has begun, having read and checked the request and chosen how to
// answer. Connect's own way of sending would cost a subscriber four to twelve per cent of what node's streams can do, and
// 50 KiB for as long as it is open; this takes all of Connect's objects away once the first byte is to be sent.
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { Clock } from "../../model/clock.ts";
import type { HttpResponse } from "../listener.ts";
import { protocolOf } from "./ending.ts";
import { type StreamAnswer, StreamWriter } from "./stream-writer.ts";

export interface Streams {
  /** Takes over from an answer of Connect's that has no message. */
  go(of: StreamAnswer, begun: UniversalServerResponse, response: HttpResponse): Promise<void>;
}

export interface StreamsOptions {
  readonly clock: Clock;
  /** Aborts the streams still open, with the error they end with. */
  readonly shutdownSignal: AbortSignal;
}

export function createStreams({ clock, shutdownSignal }: StreamsOptions): Streams {
  const open = new Set<StreamWriter>();
  shutdownSignal.addEventListener("abort", () => {
    for (const writer of open) writer.fail(shutdownSignal.reason);
  });
  return {
    async go(of, { header = new Headers(), body }, response) {
      // So it lets go of what it holds for the call.
      if (body) for await (const _ of body);
      if (isGone(response)) return of.onEnd(undefined);
      for (const [name, value] of header) response.setHeader(name, value);
      if ("stream" in response) response.writeHead(200);
      else response.flushHeaders();
      start(of, protocolOf(header.get("content-type") ?? ""), response);
    },
  };

  function start(of: StreamAnswer, protocol: ReturnType<typeof protocolOf>, response: HttpResponse): void {
    const deadline = of.timeoutMs === undefined ? undefined : new AbortController();
    const writer = new StreamWriter({ of, protocol, response, onEnd });
    open.add(writer);
    if (of.timeoutMs !== undefined && deadline) void cut(writer, of.timeoutMs, deadline.signal);
    writer.start();

    function onEnd(): void {
      deadline?.abort();
      open.delete(writer);
    }
  }

  async function cut(writer: StreamWriter, timeoutMs: number, ended: AbortSignal): Promise<void> {
    await clock.sleep(timeoutMs, ended);
    if (!ended.aborted) writer.fail(new ConnectError("the operation timed out", Code.DeadlineExceeded));
  }
}

function isGone(response: HttpResponse): boolean {
  return "stream" in response ? response.stream.destroyed : response.destroyed;
}
