// The one way frames leave a stream: in order, each after a look at whether the stream must end, with heartbeats while
// there is nothing else to send. Generators here yield frames to the client and return what their caller wants to know.
import { batchFrame } from "../frames/batch.ts";
import { checkpointFrame, type Frame } from "../frames/frame.ts";
import type { CommitClock } from "../model/commit-clock.ts";
import type { Client } from "./client.ts";
import type { Ending, StreamLife } from "./stream-life.ts";

/** Thrown out of whatever a stream is doing when it must end. */
export class Ended extends Error {
  override readonly name = "Ended";
  readonly ending: Ending;

  constructor(ending: Ending) {
    super(`the stream ends: ${ending.kind}`);
    this.ending = ending;
  }
}

export class Sender {
  readonly life: StreamLife;
  readonly #client: Client;
  /** The time of the last checkpoint sent. */
  #clock: CommitClock | undefined;
  /** Set while the client has all up to this time, so that a heartbeat is a checkpoint. */
  #settled: CommitClock | undefined;

  constructor(life: StreamLife, client: Client) {
    this.life = life;
    this.#client = client;
  }

  /** @throws Ended */
  *send(frame: Frame): Generator<Frame, void, undefined> {
    this.#mayGoOn();
    this.#client.sent(frame);
    this.life.framed();
    yield frame;
  }

  *sendAll(frames: Iterable<Frame>): Generator<Frame, void, undefined> {
    for (const frame of frames) yield* this.send(frame);
  }

  /** The client has everything up to a settled time: tells it, with the frame given. */
  *sendCheckpoint(clock: CommitClock, frame: Frame): Generator<Frame, void, undefined> {
    this.#clock = clock;
    this.#settled = clock;
    yield* this.send(frame);
  }

  /** Whether the last thing the client was told is that it has everything. */
  get isSettled(): boolean {
    return this.#settled !== undefined;
  }

  /** Whether the stream has sent a checkpoint. */
  get hasCheckpoint(): boolean {
    return this.#clock !== undefined;
  }

  /** Whether a checkpoint at this time would tell anything. */
  isNewer(clock: CommitClock): boolean {
    return this.#clock === undefined || clock > this.#clock;
  }

  /** The client lacks something, or the log is not settled: heartbeats say only the position. */
  unsettle(): void {
    this.#settled = undefined;
  }

  /** Waits for work, with heartbeats. @throws Ended, leaving the work to itself; what the work throws. */
  async *during<T>(work: Promise<T>): AsyncGenerator<Frame, T, undefined> {
    const done: { result?: PromiseSettledResult<T> } = {};
    void Promise.allSettled([work]).then(([result]) => {
      done.result = result;
      this.life.wake();
    });
    while (!done.result) {
      yield* this.idle();
    }
    if (done.result.status === "fulfilled") return done.result.value;
    // Work fails, too, because an aborted call has taken its snapshot away.
    this.#mayGoOn();
    throw done.result.reason;
  }

  /** Waits until woken; sends a heartbeat if one is due. @throws Ended */
  async *idle(): AsyncGenerator<Frame, void, undefined> {
    await this.life.woken();
    this.#mayGoOn();
    if (this.life.isHeartbeatDue && this.#client.isOpened) yield* this.send(this.#heartbeat());
  }

  #heartbeat(): Frame {
    const { position } = this.#client.subscription;
    return this.#settled === undefined ? batchFrame([], position) : checkpointFrame(position, this.#settled);
  }

  #mayGoOn(): void {
    const { ending } = this.life;
    if (ending) throw new Ended(ending);
  }
}
