// The tail: one change stream on the source's deployment, driven by raw commands, so that how long to wait, and the
// token of every batch, are ours to decide (the driver's tryNext waits its whole await time, and lags by seconds).
// At most one fetch is on its way. A fetch that failed may have carried events away: then the tail is of no more use.
import type { ClientSession, Db, Document, Long, MongoClient, Timestamp } from "mongodb";
import { rawBatches } from "../mongo/one-reply.ts";
import { sourceReadOptions } from "../schema/bson-value.ts";
import { later, type Position, tokenTime } from "./cluster-time.ts";
import { firstGroup, type Group } from "./group.ts";
import { eventOf } from "./raw-document.ts";
import { type StreamEvent, streamEventOf, type Watched, watchPipeline } from "./stream-event.ts";

/** Exact; and no BigInt, of which, in an error's topology version, the driver's monitor makes an uncaught exception. */
const CURSOR_IDS_AS_LONG = { useBigInt64: false, promoteLongs: false } as const;

interface Cursor {
  readonly id: Long;
  readonly collection: string;
}

interface Reply {
  readonly id: Long;
  readonly ns: string;
  readonly firstBatch?: Uint8Array[];
  readonly nextBatch?: Uint8Array[];
  readonly postBatchResumeToken: unknown;
}

export class ChangeTail {
  readonly #admin: Db;
  readonly #session: ClientSession;
  readonly #watched: Watched;
  readonly #eventsMax: number;
  #cursor: Cursor | undefined;
  #waiting: StreamEvent[] = [];
  #openFrom: Timestamp | undefined;
  #reached: Position;
  #fetching: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  private constructor(client: MongoClient, watched: Watched, options: { from: Position; eventsMax: number }) {
    this.#admin = client.db("admin");
    this.#session = client.startSession({ causalConsistency: false });
    this.#watched = watched;
    this.#reached = options.from;
    this.#eventsMax = options.eventsMax;
  }

  /**
   * Opens the stream after a token, or at a time, that time's own events included. The caller closes it.
   * @param options.eventsMax in one group and in one fetch.
   * @throws the driver's error; class "history-lost" where the oplog no longer reaches back to `from`.
   */
  static async open(
    client: MongoClient,
    watched: Watched,
    options: { from: Position; eventsMax: number },
  ): Promise<ChangeTail> {
    const tail = new ChangeTail(client, watched, options);
    try {
      await tail.#open(options.from);
      return tail;
    } catch (error) {
      await tail.close();
      throw error;
    }
  }

  /** How many events wait to be taken. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** With nothing waiting: up to where everything has been taken. */
  get reached(): Position | undefined {
    return this.#waiting.length === 0 && this.#openFrom === undefined ? this.#reached : undefined;
  }

  /** Joins the fetch on its way or else starts one, which waits up to `awaitMs` for the next events. */
  fill(awaitMs: number): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure.error);
    this.#fetching ??= this.#fetch(awaitMs).finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  /** Starts a fetch whose outcome the next `fill` gives, unless enough is waiting. */
  prefetch(awaitMs: number): void {
    if (this.#waiting.length < 2 * this.#eventsMax) this.fill(awaitMs).catch(() => {});
  }

  /** The group to take next; it stays until dropped. */
  peek(): Group | undefined {
    return firstGroup(this.#waiting, this.#openFrom, this.#eventsMax);
  }

  /** Whether a group peeked at is closed by now. */
  isClosed({ time, events }: Group): boolean {
    if (this.#openFrom?.lessThanOrEqual(time)) return false;
    return !this.#waiting[events.length]?.time.equals(time);
  }

  /** Takes the group off: what it tells is written, or will be read again from the stored token. */
  drop({ events }: Group): void {
    this.#waiting = this.#waiting.slice(events.length);
  }

  /** Never throws. */
  async close(): Promise<void> {
    this.#failure ??= { error: new Error("the tail is closed") };
    await this.#fetching?.catch(() => {});
    const cursor = this.#cursor;
    this.#cursor = undefined;
    if (cursor) {
      const command = { killCursors: cursor.collection, cursors: [cursor.id] };
      // A cursor that can't be killed now is forgotten by the server in time.
      await this.#admin.command(command, { session: this.#session }).catch(() => {});
    }
    await this.#session.endSession().catch(() => {});
  }

  async #open({ token, time }: Position): Promise<void> {
    const start = token === undefined ? { startAtOperationTime: time } : { startAfter: token };
    const reply = await this.#run({
      aggregate: 1,
      pipeline: [
        { $changeStream: { allChangesForCluster: true, ...start } },
        ...watchPipeline(this.#watched),
      ],
      cursor: { batchSize: this.#eventsMax },
      readConcern: { level: "majority" },
    });
    this.#cursor = { id: reply.id, collection: reply.ns.slice(reply.ns.indexOf(".") + 1) };
    this.#take(reply.firstBatch ?? [], reply.postBatchResumeToken);
  }

  async #fetch(awaitMs: number): Promise<void> {
    try {
      const { nextBatch = [], postBatchResumeToken } = await this.#run({
        getMore: this.#cursor?.id,
        collection: this.#cursor?.collection,
        batchSize: this.#eventsMax,
        maxTimeMS: awaitMs,
      });
      this.#take(nextBatch, postBatchResumeToken);
    } catch (error) {
      this.#failure ??= { error };
      throw error;
    }
  }

  async #run(command: Document): Promise<Reply> {
    const { cursor } = await this.#admin.command(command, {
      session: this.#session,
      ...sourceReadOptions,
      ...CURSOR_IDS_AS_LONG,
      ...rawBatches,
    });
    return cursor;
  }

  /** An empty batch, and a token later than the last event, say that everything up to here has arrived. */
  #take(raw: readonly Uint8Array[], token: unknown): void {
    const batch = raw.map(eventOf);
    const last: Timestamp | undefined = batch.at(-1)?.clusterTime;
    const time = tokenTime(token);
    this.#openFrom = last && !time.greaterThan(last) ? last : undefined;
    this.#reached = { time: later(time, last), token };
    for (const document of batch) {
      const event = streamEventOf(document, this.#watched);
      if (event) this.#waiting.push(event);
    }
  }
}
