// One client's stream, from its opening to its end: passes until the client stands at the head, then live, then passes
// again whenever live can't go on. While the client doesn't take the next frame, it holds little more than a place.
import { closedFrame, type Frame } from "../frames/frame.ts";
import { openSnapshot, snapshotOf } from "../log/snapshot.ts";
import { SnapshotLost } from "../log/translated.ts";
import type { Principal } from "../model/principal.ts";
import type { Cursor, Selection } from "../model/pull-request.ts";
import { SyncError } from "../model/sync-error.ts";
import { tokenError } from "../model/token-fault.ts";
import type { Listener } from "./audiences.ts";
import { Budget } from "./budget.ts";
import { type PassEnd, runPass } from "./catch-up.ts";
import { Client } from "./client.ts";
import { type Arrival, type LiveEnd, runLive } from "./live.ts";
import { Pass, PassOutdated } from "./pass.ts";
import { Ended, Sender } from "./sender.ts";
import type { PullServices } from "./services.ts";
import { type Ending, StreamLife } from "./stream-life.ts";

export interface StreamOptions {
  readonly services: PullServices;
  readonly principal: Principal;
  readonly request: Selection;
  readonly signal: AbortSignal;
  /** As granted; undefined: none. */
  readonly heartbeatIntervalMs: number | undefined;
  /** When the stream is old, by the clock. */
  readonly agedAtMs: number;
  /** 0: no limit. */
  readonly totalBytesMax: number;
  readonly until: Until;
}

/** What the stream is for: to stay, to reach one checkpoint, or to bring news, if any come by a time. */
export type Until = "forever" | "caught-up" | { readonly newsByMs: number };

/** Between tries that only time can help: a snapshot lost. */
const RETRY_MS = 500;

/** A database that loses so many snapshots in a row can't be read. */
const LOST_MAX = 20;

export class PullStream {
  readonly #options: StreamOptions;
  readonly #client: Client;
  readonly #life: StreamLife;
  readonly #sender: Sender;
  readonly #budget: Budget;
  readonly #listener: Listener;
  #pass: Pass | undefined;
  #arrival: Arrival | undefined;
  #lostInARow = 0;
  /** Live has just ended, with the hub further on. */
  #isBehind = false;

  constructor(options: StreamOptions) {
    const { services, principal, until } = options;
    this.#options = options;
    this.#client = new Client(options);
    this.#life = new StreamLife({
      ...options,
      clock: services.clock,
      heartbeatIntervalMs: options.heartbeatIntervalMs ?? Number.POSITIVE_INFINITY,
      expiresAtMs: principal.expiresAtMs,
      wakeAtMs: typeof until === "object" ? until.newsByMs : Number.POSITIVE_INFINITY,
      onAbort: () => this.close(),
    });
    this.#sender = new Sender(this.#life, this.#client);
    this.#budget = new Budget(options.totalBytesMax);
    this.#listener = { principal: principal.id, wake: this.#life.wake };
  }

  /** Where a client stands that has applied all frames taken. */
  get cursor(): Cursor {
    return this.#client.cursor;
  }

  /** Every frame, once. @throws SyncError; ends without a word when the call is aborted. */
  async *frames(): AsyncGenerator<Frame, void, undefined> {
    const { hub, streams } = this.#options.services;
    hub.attach(this.#listener);
    streams.add(this);
    try {
      yield* this.#follow();
    } catch (error) {
      if (!(error instanceof Ended)) throw error;
      yield* lastWords(error.ending);
    } finally {
      this.close();
    }
  }

  /** Ends it with Closed(RECONNECT) at the next frame. */
  drain(retryAfterMs: number): void {
    this.#life.drain(retryAfterMs);
  }

  /** Frees everything, also while a frame waits for its client; may be repeated. */
  close(): void {
    const { hub, streams } = this.#options.services;
    streams.delete(this);
    hub.detach(this.#listener);
    this.#pass?.close();
    this.#life.close();
  }

  async *#follow(): AsyncGenerator<Frame, void, undefined> {
    for (;;) {
      const end = yield* this.#catchUp();
      if (end === "spent") return yield* this.#sender.send(closedFrame("BYTES_SPENT"));
      if (end === "complete") {
        if (this.#isDone()) break;
        const liveEnd = yield* this.#followLive();
        if (liveEnd === "done") break;
        this.#isBehind = liveEnd === "behind";
      } else if (end !== "cut") {
        if (this.#isOutOfTime()) break;
        yield* this.#sender.during(this.#pause());
      }
    }
    if (this.#options.until === "caught-up") yield* this.#sender.send(closedFrame("CAUGHT_UP"));
  }

  async *#catchUp(): AsyncGenerator<Frame, PassEnd | "lost", undefined> {
    const { services, request } = this.#options;
    const { position } = this.#client.subscription;
    try {
      this.#sender.unsettle();
      const pass = yield* this.#sender.during(this.#openPass());
      const { schema } = services;
      const ways = { client: this.#client, sender: this.#sender, budget: this.#budget, schema, request };
      const end = yield* runPass({ pass, ...ways });
      const { epoch, revision } = pass.snapshot.state;
      this.#arrival = { stand: { epoch, revision }, grants: pass.grants };
      this.#lostInARow = 0;
      return end;
    } catch (error) {
      if (error instanceof PassOutdated) return "cut";
      if (!(error instanceof SnapshotLost)) throw error;
      this.#lostInARow = this.#client.subscription.position > position ? 0 : this.#lostInARow + 1;
      if (this.#lostInARow > LOST_MAX) throw unreadable(error);
      return "lost";
    } finally {
      this.#pass?.close();
    }
  }

  async #openPass(): Promise<Pass> {
    const { services, principal } = this.#options;
    const { log, clock, settings, hub } = services;
    const { passTimeMaxMs: timeMaxMs, readEntriesMax } = settings;
    const { times } = hub.withheld;
    const isOutdated = () => hub.withheld.times !== times;
    const recent = this.#isBehind ? hub.recent() : undefined;
    this.#isBehind = false;
    const snapshot = recent ? snapshotOf(log, recent) : await openSnapshot(log);
    try {
      const grants = hub.grantsOf(principal.id, snapshot.state) ?? (await snapshot.grantsOf(principal.id));
      this.#pass = new Pass({ snapshot, grants, clock, timeMaxMs, readEntriesMax, isOutdated });
    } catch (error) {
      await snapshot.close();
      throw error;
    }
    // The stream may have ended meanwhile; then nobody waits for the pass.
    if (this.#life.signal.aborted) this.#pass.close();
    return this.#pass;
  }

  async *#followLive(): AsyncGenerator<Frame, LiveEnd, undefined> {
    const { services, principal, request, until } = this.#options;
    const { hub } = services;
    if (!this.#arrival) return "behind";
    const end = yield* runLive(
      {
        hub,
        listener: this.#listener,
        client: this.#client,
        sender: this.#sender,
        budget: this.#budget,
        principal,
        request,
        wantsClock: () => typeof until === "string" || !this.#sender.hasCheckpoint,
        isDone: () => this.#isDone(),
      },
      this.#arrival,
    );
    // Of hub and pass one has seen a log that the other's replaces: both look again.
    if (end === "refused" && !hub.isOfEpoch(this.#arrival.stand.epoch)) {
      yield* this.#sender.during(hub.refresh());
    }
    return end;
  }

  /** Whether the stream has done what it is for. */
  #isDone(): boolean {
    const { until } = this.#options;
    if (until === "forever") return false;
    if (until === "caught-up") return this.#sender.isSettled;
    return this.#client.hasNews || this.#isOutOfTime();
  }

  #isOutOfTime(): boolean {
    const { until, services } = this.#options;
    return typeof until === "object" && services.clock.nowMs() >= until.newsByMs;
  }

  #pause(): Promise<void> {
    return this.#options.services.clock.sleep(RETRY_MS, this.#life.signal);
  }
}

function* lastWords(ending: Ending): Generator<Frame, void, undefined> {
  if (ending.kind === "token-expired") {
    throw tokenError("expired");
  }
  if (ending.kind === "reconnect") yield closedFrame("RECONNECT", ending.retryAfterMs);
}

function unreadable(cause: SnapshotLost): SyncError {
  const message = "the database keeps losing the snapshot being read; try again";
  return new SyncError("DATABASE_UNAVAILABLE", message, { retryAfterMs: 5_000, cause });
}
