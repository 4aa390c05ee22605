// A device in tests of pull: keeps its records and cursor from connection to connection, and says what it sees.
import { expect } from "vitest";
import type { PullChangesResponse } from "#gen/tidemark/v1/pull_changes_pb.js";
import type { Frame } from "../../src/frames/frame.ts";
import type { Principal } from "../../src/model/principal.ts";
import type { Cursor, PullRequest } from "../../src/model/pull-request.ts";
import type { Pull } from "../../src/pull/pull.ts";
import { PullClient } from "../support/pull-client.ts";
import { decoded, followAll, framesOfPull } from "./fixture.ts";
import { linesOf } from "./frame-text.ts";

export class Device {
  client = new PullClient();
  principal: Principal;
  readonly frames: PullChangesResponse[] = [];
  #stream: AsyncGenerator<Frame, void, undefined> | undefined;
  #abort = new AbortController();

  constructor(principal: Principal) {
    this.principal = principal;
  }

  /** The cursor as the edge would hand it over. */
  get cursor(): Cursor | undefined {
    const { cursor } = this.client;
    return (
      cursor && {
        subscription: cursor.subscription,
        position: Number(cursor.position),
        checkpoint: Number(cursor.checkpoint),
      }
    );
  }

  /** Opens a stream, resuming unless told otherwise. */
  connect(pull: Pull, request: Partial<PullRequest> = {}): this {
    this.#abort = new AbortController();
    const whole = { ...followAll, cursor: this.cursor, ...request };
    this.#stream = framesOfPull(pull, this.principal, whole, this.#abort.signal);
    return this;
  }

  /** Connects, goes on to the end of the stream. */
  async catchUp(pull: Pull): Promise<void> {
    this.connect(pull, { mode: "CATCH_UP" });
    while (await this.next());
  }

  /** The next frame, applied; undefined: the stream has ended. */
  async next(): Promise<PullChangesResponse | undefined> {
    const result = await this.#stream?.next();
    if (!result || result.done) return undefined;
    const frame = decoded(result.value);
    this.client.apply(frame);
    this.frames.push(frame);
    return frame;
  }

  /** Reads on until it has seen as many lines as expected, which they must be. */
  async sees(...lines: readonly string[]): Promise<void> {
    const seen: string[] = [];
    while (seen.length < lines.length) {
      const frame = await this.next();
      if (!frame) break;
      seen.push(...linesOf(frame));
    }
    expect(seen).toEqual(lines);
  }

  /** The stream says no more. */
  async ends(): Promise<void> {
    expect(await this.#stream?.next()).toMatchObject({ done: true });
  }

  /** The stream fails so. */
  async fails(reason: string): Promise<void> {
    await expect(this.#stream?.next()).rejects.toMatchObject({ reason });
  }

  disconnect(): void {
    this.#abort.abort();
  }

  /** A record's bytes in hex; a delta may have changed the order of its fields. */
  bytesOf(name: string): string {
    return hex(this.client.records.get(name)?.bytes ?? []);
  }

  /** Names of the records held. */
  get holds(): string[] {
    return [...this.client.records.keys()].sort();
  }
}

export function hex(bytes: ArrayLike<number>): string {
  return Buffer.from(bytes).toString("hex");
}
