// The book of a run: who called, on which connection, with what, and what was surely true by then. The checker reads
// it together with the bytes; nothing in it is taken from what the server claims, but for the clocks of checkpoints.
import type { Db, Timestamp } from "mongodb";
import { commitClockOf } from "../../src/model/commit-clock.ts";
import { canariesIn } from "./canaries.ts";
import type { Tap } from "./tap.ts";

export interface Caller {
  /** Empty: without a token. */
  readonly principal: string;
  /** Given by the claims of its token, and to everybody. */
  readonly scopes: readonly string[];
  readonly isService: boolean;
}

export type Kind = "stream" | "page" | "push" | "receipts" | "other";

/** One call, from its request to the last byte of its answer. */
export interface Exchange {
  readonly kind: Kind;
  readonly caller: Caller;
  /** For humans: method, door, history. */
  readonly name: string;
  readonly codec: "proto" | "json";
  readonly isEnveloped: boolean;
  /** A commit clock the log had surely reached when the call was made. */
  readonly floor: bigint;
  /** The same of the source. */
  readonly sourceFloor: bigint;
  /** Of a pull: the floor of the call without a cursor that its cursor goes back to. */
  readonly born: bigint;
  /** Of a pull: what claims gave in any call since then. */
  readonly scopesSince: readonly string[];
  /** On its connection; 1 where there is only one. */
  stream: number;
  /** Headers and trailers as the client decoded them. */
  readonly heads: string[];
  /** A time of the source after its last byte. */
  ended: bigint;
}

export interface Connection {
  readonly http: 1 | 2;
  readonly caller: Caller;
  readonly tap: Pick<Tap, "received">;
  readonly exchanges: Exchange[];
}

/** A word that a push came up with; it may be told without ever having been in the source. */
export interface Proposal {
  readonly principal: string;
  readonly record: string;
  readonly kind: "id" | "value";
}

export class Book {
  readonly proposals = new Map<string, Proposal>();
  /** Canaries in requests, by principal. */
  readonly #named = new Map<string, Set<string>>();
  readonly #source: Pick<Db, "command">;
  #floor = 0n;
  #sourceFloor = 0n;

  constructor(source: Pick<Db, "command">) {
    this.#source = source;
  }

  get floor(): bigint {
    return this.#floor;
  }

  get sourceFloor(): bigint {
    return this.#sourceFloor;
  }

  /** A checkpoint came: the log is there. */
  reached(clock: bigint): void {
    if (clock > this.#floor) this.#floor = clock;
    this.wrote(clock);
  }

  /** A write was acknowledged. */
  wrote(clock: bigint): void {
    if (clock > this.#sourceFloor) this.#sourceFloor = clock;
  }

  named(principal: string): ReadonlySet<string> {
    return this.#named.get(principal) ?? new Set();
  }

  /** To be called before a request is sent. */
  asks(principal: string, request: Uint8Array): void {
    const named = this.#named.get(principal) ?? new Set();
    this.#named.set(principal, named);
    for (const canary of canariesIn(request)) named.add(canary);
  }

  /** A time not before anything that was written by now. */
  async now(): Promise<bigint> {
    const { operationTime } = await this.#source.command({ ping: 1 });
    return commitClockOf(operationTime as Timestamp);
  }
}
