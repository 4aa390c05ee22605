// Writes a stream of messages to its client: as many as the connection takes, then none until it has drained, then on
// from where the source stands: a position, not a queue. The bytes go to node's stream as they are, the same buffer to
// all who are sent the same.
import type { ServerResponse } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import type { ConnectError } from "@connectrpc/connect";
import type { Codec } from "../codec.ts";
import type { HttpResponse } from "../listener.ts";
import { endingOf, type StreamProtocol } from "./ending.ts";
import { type Messages, wireOf } from "./envelopes.ts";

/** Where the messages come from; as Flow. */
export interface Source {
  take(): Messages | undefined;
  readonly isOver: boolean;
  close(): void;
}

/** What a handler leaves to the writer: the answer to a call, from its first message on. */
export interface StreamAnswer {
  readonly codec: Codec;
  /** Told at the end. */
  readonly trailer: Headers;
  /** What its deadline leaves it; undefined: it has none. */
  readonly timeoutMs: number | undefined;
  /** Called once. `onReady`: the source had nothing, and may have something now. */
  open(onReady: () => void): Source;
  /** These go out now. */
  onSent(messages: Messages, bytes: number): void;
  /** The error to send for whatever the source has thrown. */
  failureOf(error: unknown): ConnectError;
  /** Once, when nothing will be sent any more. Undefined: the client has gone away. */
  onEnd(outcome: ConnectError | "ok" | undefined): void;
}

/**
 * What a connection may hold back of a stream before it is given no more: two batches of the usual size, so that the
 * next is made while the one before is on its way. (A single message may be larger.)
 */
const BUFFERED_BYTES_MAX = 262_144;

export interface StreamWriterOptions {
  readonly of: StreamAnswer;
  readonly protocol: StreamProtocol;
  /** Its head has been written. */
  readonly response: HttpResponse;
  readonly onEnd: () => void;
}

/** Never throws. */
export class StreamWriter {
  readonly #options: StreamWriterOptions;
  readonly #sink: ServerHttp2Stream | ServerResponse;
  #source: Source | undefined;
  #isBlocked = false;
  #isEnded = false;

  constructor(options: StreamWriterOptions) {
    const { response } = options;
    this.#options = options;
    this.#sink = "stream" in response ? response.stream : response;
    this.#sink.on("drain", () => this.#drained());
    response.once("close", () => this.#gone());
    // What is written once its client is gone; the event above tells of that.
    response.on("error", () => {});
  }

  start(): void {
    if (this.#isEnded) return;
    try {
      this.#source = this.#options.of.open(() => this.#write());
    } catch (error) {
      this.#end(error);
    }
    this.#write();
  }

  /** Ends it with an error, unless it has ended. */
  fail(error: unknown): void {
    this.#end(error);
  }

  #write(): void {
    if (this.#isBlocked || this.#isEnded || !this.#source) return;
    const { of } = this.#options;
    try {
      for (let messages = this.#source.take(); messages; messages = this.#source.take()) {
        const { buffer, messageBytes } = wireOf(messages, of.codec);
        of.onSent(messages, messageBytes);
        if (!this.#sink.write(buffer) && this.#sink.writableLength >= BUFFERED_BYTES_MAX) {
          this.#isBlocked = true;
          return;
        }
      }
      if (this.#source.isOver) this.#end(undefined);
    } catch (error) {
      this.#end(error);
    }
  }

  #drained(): void {
    this.#isBlocked = false;
    this.#write();
  }

  #gone(): void {
    if (!this.#isEnded) this.#close(undefined);
  }

  #end(error: unknown): void {
    if (this.#isEnded) return;
    const { of, protocol, response } = this.#options;
    const failure = error === undefined ? undefined : of.failureOf(error);
    const { envelope, trailers } = endingOf(protocol, failure, of.trailer);
    if (envelope) this.#sink.write(envelope);
    if (trailers) response.addTrailers(Object.fromEntries(trailers));
    response.end();
    this.#close(failure ?? "ok");
  }

  #close(outcome: ConnectError | "ok" | undefined): void {
    this.#isEnded = true;
    this.#source?.close();
    this.#options.onEnd();
    this.#options.of.onEnd(outcome);
  }
}
