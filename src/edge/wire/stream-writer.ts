// Writes a stream of messages to its client: what there is in one write, then nothing until that has left, then on from
// where the source stands: a position, not a queue. So under load each write holds several changes. The bytes go to
// node's stream as they are, the same buffer to all who are sent the same.
import type { ServerResponse } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import type { ConnectError } from "@connectrpc/connect";
import type { HttpResponse } from "../listener.ts";
import { endingOf, type StreamProtocol } from "./ending.ts";
import type { Messages, Wire } from "./envelopes.ts";

/** Where the messages come from; as Flow. */
export interface Source {
  take(): Messages | undefined;
  readonly isWaiting: boolean;
  readonly isOver: boolean;
  close(): void;
}

export interface Reader {
  ready(): void;
}

/** What a handler leaves to the writer: the answer to a call, from its first message on. */
export interface StreamAnswer {
  /** How its messages go over the wire. */
  readonly wireOf: (messages: Messages) => Wire;
  /** Told at the end. */
  readonly trailer: Headers;
  /** What its deadline leaves it; undefined: it has none. */
  readonly timeoutMs: number | undefined;
  /** Called once. The reader is told when the source had nothing, and may have something now. */
  open(reader: Reader): Source;
  /** These go out now, and are meant for this client alone. */
  onPersonal(messages: Messages): void;
  /** So much has gone out since it was last told: every now and then, and at the end. */
  onSent(messages: number, bytes: number): void;
  /** The error to send for whatever the source has thrown. */
  failureOf(error: unknown): ConnectError;
  /** Once, when nothing will be sent any more. Undefined: the client has gone away. */
  onEnd(outcome: ConnectError | "ok" | undefined): void;
}

/** Of one write: two batches of the usual size. (A single message may be larger.) */
const WRITE_BYTES_MAX = 262_144;
/** Long streams are accounted for as they go. */
const TOLD_BYTES = 65_536;
export interface StreamWriterOptions {
  readonly of: StreamAnswer;
  readonly protocol: StreamProtocol;
  /** Its head has been written. */
  readonly response: HttpResponse;
  readonly onEnd: () => void;
}

/** Never throws. What a delivery touches is kept together: of thousands of streams, little is in the CPU's caches. */
export class StreamWriter implements Reader {
  readonly #options: StreamWriterOptions;
  readonly #wireOf: StreamAnswer["wireOf"];
  readonly #sink: ServerHttp2Stream | ServerResponse;
  #source: Source | undefined;
  /** Writes that node has not handed on yet. */
  #underWay = 0;
  #messages = 0;
  #bytes = 0;
  #isEnded = false;

  constructor(options: StreamWriterOptions) {
    const { response } = options;
    this.#options = options;
    this.#wireOf = options.of.wireOf;
    this.#sink = "stream" in response ? response.stream : response;
    response.once("close", () => this.#gone());
    // What is written once its client is gone; the event above tells of that.
    response.on("error", () => {});
  }

  start(): void {
    if (this.#isEnded) return;
    try {
      this.#source = this.#options.of.open(this);
    } catch (error) {
      this.#end(error);
    }
    this.ready();
  }

  /** Ends it with an error, unless it has ended. */
  fail(error: unknown): void {
    this.#end(error);
  }

  ready(): void {
    if (this.#underWay > 0 || this.#isEnded || !this.#source) return;
    const source = this.#source;
    try {
      const messages = source.take();
      if (messages) {
        const bytes = this.#send(messages);
        if (!source.isWaiting) this.#sendMore(source, bytes);
      }
      // Not before what was taken is on its way.
      if (source.isOver) this.#end(undefined);
    } catch (error) {
      this.#end(error);
    }
  }

  /** What there is besides goes out in one write. */
  #sendMore(source: Source, sentBytes: number): void {
    this.#sink.cork();
    try {
      for (let bytes = sentBytes; bytes < WRITE_BYTES_MAX && !source.isWaiting; ) {
        const messages = source.take();
        if (!messages) return;
        bytes += this.#send(messages);
      }
    } finally {
      this.#sink.uncork();
    }
  }

  #send(messages: Messages): number {
    const wire = this.#wireOf(messages);
    if (wire.isPersonal) this.#options.of.onPersonal(messages);
    this.#messages += messages.length;
    this.#bytes += wire.messageBytes;
    if (this.#bytes >= TOLD_BYTES) this.#tell();
    this.#underWay++;
    this.#sink.write(wire.buffer, this.#written);
    return wire.buffer.length;
  }

  #tell(): void {
    this.#options.of.onSent(this.#messages, this.#bytes);
    this.#messages = 0;
    this.#bytes = 0;
  }

  readonly #written = (): void => {
    if (--this.#underWay === 0 && this.#source?.isWaiting === false) this.ready();
  };

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
    this.#tell();
    this.#options.onEnd();
    this.#options.of.onEnd(outcome);
  }
}
