// P6 over every byte sent. A log line may hold no value. A word of a hidden field may be sent to nobody. A value, and the
// id in a put, may be sent in a pull only if at one moment between the stream's checkpoint before it (or the log's time
// known when the call began) and the one after it, the record held it and was in a scope the caller held. An id may be
// sent in a pull to a cursor that held a scope before or while the record was in it. A receipt follows the source, its
// memberships the log; values it kept must have been the caller's to see, and the record must be so now.
import { fromBinary, fromJsonString } from "@bufbuild/protobuf";
import { RemoveReason } from "#gen/tidemark/v1/change_pb.js";
import { type PullChangesResponse, PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import type { Book, Connection, Exchange } from "./book.ts";
import { envelopesIn, readHttp1, readHttp2 } from "./bytes.ts";
import { CANARY_LENGTH, canariesIn, inflated } from "./canaries.ts";
import { isCovered, type Window, wasWithin } from "./rules.ts";
import { FOREVER, type Known, type Truth } from "./truth.ts";

/** What was met, by name: to show that there was something to find. */
export type Tally = Map<string, number>;

export function count(tally: Tally, name: string, more = 1): void {
  tally.set(name, (tally.get(name) ?? 0) + more);
}

const ALWAYS = [{ from: 0n, until: FOREVER }];

export class Checker {
  readonly tally: Tally = new Map();
  readonly #truth: Truth;
  readonly #book: Book;

  /** @param truth must have reached what was sent. */
  constructor(truth: Truth, book: Book) {
    this.#truth = truth;
    this.#book = book;
  }

  /** What was sent on a connection and shouldn't have been. */
  connection({ http, tap, caller, exchanges }: Connection): string[] {
    const { bodies, rest } = http === 2 ? readHttp2(tap.received) : readHttp1(tap.received);
    count(this.tally, "connections");
    count(
      this.tally,
      "bytes",
      tap.received.reduce((sum, bytes) => sum + bytes.length, 0),
    );
    const byStream = new Map(exchanges.map((exchange) => [exchange.stream, exchange]));
    const inBodies = [...bodies].flatMap(([stream, body]) => {
      const exchange = byStream.get(stream);
      return exchange
        ? this.#body(exchange, body)
        : this.#unsolicited(caller.principal, `stream ${stream}`, body);
    });
    const inRest = rest.flatMap((bytes) => this.#unsolicited(caller.principal, "frames", bytes));
    const inHeads = exchanges.flatMap(({ heads, name }) =>
      heads.flatMap((head) => this.#unsolicited(caller.principal, `${name} headers`, Buffer.from(head))),
    );
    return [...inBodies, ...inRest, ...inHeads];
  }

  /** What a server wrote for its operators and shouldn't have. */
  logLine(line: string): string[] {
    return this.#words(Buffer.from(line)).flatMap((canary) =>
      this.#isValue(canary) ? [`log line: ${this.#told(canary)}: ${line}`] : [],
    );
  }

  #body(exchange: Exchange, body: Buffer): string[] {
    count(this.tally, `answers: ${exchange.kind}`);
    if (exchange.kind === "stream") return this.#stream(exchange, body);
    const window = { from: exchange.floor, until: exchange.ended };
    const messages = exchange.isEnveloped
      ? envelopesIn(body).map(({ message }) => message)
      : [inflated(body)];
    return messages.flatMap((message) => this.#message(exchange, message, window));
  }

  #stream(exchange: Exchange, body: Buffer): string[] {
    const messages = envelopesIn(body).map(({ flags, message }) => ({
      message,
      frame: flags <= 1 ? readFrame(message, exchange.codec) : undefined,
    }));
    const clocks = messages.map(({ frame }) => clockOf(frame));
    let from = exchange.floor;
    let part: Uint8Array = new Uint8Array();
    return messages.flatMap(({ message, frame }, index) => {
      this.#countFrame(frame);
      const until = clocks.slice(index).find((clock) => clock !== undefined) ?? exchange.ended;
      const before = part.subarray(-CANARY_LENGTH);
      part = frame?.frame.case === "part" ? frame.frame.value.data : new Uint8Array();
      const sent = part.length === 0 ? message : Buffer.concat([message, before, part]);
      const leaks = this.#message(exchange, sent, { from, until }, putIds(frame));
      from = clocks[index] ?? from;
      return leaks;
    });
  }

  #countFrame(response: PullChangesResponse | undefined): void {
    const { frame } = response ?? {};
    if (frame?.case === undefined) return;
    count(this.tally, `frames: ${frame.case}`);
    if (frame.case !== "batch") return;
    for (const { kind } of frame.value.changes) {
      if (kind.case === "remove") count(this.tally, `removes: ${RemoveReason[kind.value.reason]}`);
      if (kind.case === "put")
        count(this.tally, kind.value.changed.length > 0 ? "puts: delta" : "puts: whole");
    }
  }

  #message(
    exchange: Exchange,
    message: Uint8Array,
    window: Window,
    puts: ReadonlySet<string> = new Set(),
  ): string[] {
    return this.#words(message).flatMap((canary) => {
      const kind = this.#truth.known(canary)?.kind ?? this.#book.proposals.get(canary)?.kind ?? "unknown";
      count(this.tally, `words: ${exchange.kind}, ${kind === "id" ? "ids" : "values"}`);
      if (this.#isFree(exchange, canary, { window, isPut: puts.has(canary) })) return [];
      return [
        `${exchange.name}: ${this.#told(canary)}, in (${window.from}, ${window.until}), cursor of ${exchange.born}`,
      ];
    });
  }

  /** What no answer was to hold; only what its receiver had said itself. */
  #unsolicited(principal: string, where: string, bytes: Uint8Array): string[] {
    const named = this.#book.named(principal);
    return this.#words(bytes)
      .filter((canary) => !named.has(canary) || this.#truth.known(canary)?.kind === "hidden")
      .map((canary) => `${where} to ${principal || "anonymous"}: ${this.#told(canary)}`);
  }

  #isFree(exchange: Exchange, canary: string, met: { window: Window; isPut: boolean }): boolean {
    const known = this.#truth.known(canary);
    const { caller, kind } = exchange;
    if (known?.kind === "hidden") return false;
    const isNamed = this.#book.named(caller.principal).has(canary);
    if (kind === "other") return isNamed;
    const isPull = kind === "stream" || kind === "page";
    if (known === undefined) return isNamed || (!isPull && this.#isProposed(exchange, canary));
    if (caller.isService) return true;
    if (isPull) return this.#isPulled(exchange, known, { ...met, isNamed });
    if (known.kind === "id" || isNamed) return isNamed;
    return kind === "push"
      ? this.#isSeen(exchange, known, known.spans)
      : this.#wasSeen(exchange, known) && this.#isSeen(exchange, known, ALWAYS);
  }

  #isPulled(
    exchange: Exchange,
    known: Known,
    { window, isPut, isNamed }: { window: Window; isPut: boolean; isNamed: boolean },
  ): boolean {
    const { caller, born, scopesSince } = exchange;
    const { record, spans } = known;
    if (known.kind === "shown" || isPut) {
      return isCovered(this.#truth, { record, spans, caller, scopes: caller.scopes }, window);
    }
    const scopes = [...caller.scopes, ...scopesSince];
    return isNamed || wasWithin(this.#truth, { record, caller, scopes }, { from: born, until: window.until });
  }

  /** By what the source is during the call, and memberships as the log has them. */
  #isSeen(
    { caller, floor, sourceFloor, ended }: Exchange,
    { record }: Pick<Known, "record">,
    spans: Known["spans"],
  ): boolean {
    const asked = { record, spans, caller, scopes: caller.scopes };
    return isCovered(this.#truth, asked, { from: sourceFloor, until: ended }, floor);
  }

  #wasSeen({ caller, scopesSince, ended }: Exchange, { record, spans }: Known): boolean {
    const asked = { record, spans, caller, scopes: [...caller.scopes, ...scopesSince] };
    return isCovered(this.#truth, asked, { from: 0n, until: ended }, 0n);
  }

  /** Of a value that a push proposed and that never was in the source: folded away, refused or lost. */
  #isProposed(exchange: Exchange, canary: string): boolean {
    const proposal = this.#book.proposals.get(canary);
    if (proposal === undefined) return false;
    return exchange.caller.isService || this.#isSeen(exchange, proposal, ALWAYS);
  }

  #isValue(canary: string): boolean {
    const known = this.#truth.known(canary);
    return known ? known.kind !== "id" : this.#book.proposals.get(canary)?.kind === "value";
  }

  #words(bytes: Uint8Array): string[] {
    return [...canariesIn(bytes)];
  }

  #told(canary: string): string {
    const known = this.#truth.known(canary);
    if (known) {
      const stretches = this.#truth.stretches(known.record);
      const story = stretches.map(({ from, scopes }) => `${from}: ${scopes.join(" ") || "nowhere"}`);
      return `${canary}, ${known.kind} ${known.field} of ${known.record} (${story.join(", ")})`;
    }
    const proposal = this.#book.proposals.get(canary);
    return proposal
      ? `${canary}, proposed by ${proposal.principal} for ${proposal.record}`
      : `${canary}, nobody's`;
  }
}

/** Undefined: broken off. */
function readFrame(message: Uint8Array, codec: Exchange["codec"]): PullChangesResponse | undefined {
  try {
    return codec === "proto"
      ? fromBinary(PullChangesResponseSchema, message)
      : fromJsonString(PullChangesResponseSchema, Buffer.from(message).toString());
  } catch {
    return undefined;
  }
}

function clockOf(response: PullChangesResponse | undefined): bigint | undefined {
  return response?.frame.case === "checkpoint" ? response.frame.value.commitClock : undefined;
}

/** The ids of records whose values come with them. */
function putIds(response: PullChangesResponse | undefined): ReadonlySet<string> {
  const { frame } = response ?? {};
  if (frame?.case === "part") return new Set([frame.value.recordId]);
  if (frame?.case !== "batch") return new Set();
  const puts = frame.value.changes.filter(({ kind }) => kind.case === "put");
  return new Set(puts.map(({ recordId }) => recordId));
}
