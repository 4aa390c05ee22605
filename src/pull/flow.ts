// A flow: one client's frames, from its opening to its end: passes until the client stands at the head, then live, then
// passes again whenever live can't go on. It is asked for frames and never pushes any: while nothing is taken it holds
// little more than a place. One generator says what comes after what; live, where nearly all streams are nearly always,
// goes by without it.
import { closedFrame } from "../frames/frame.ts";
import { openSnapshot, snapshotOf } from "../log/snapshot.ts";
import { SnapshotLost } from "../log/translated.ts";
import type { Clock } from "../model/clock.ts";
import type { Principal } from "../model/principal.ts";
import type { Cursor, Selection } from "../model/pull-request.ts";
import { SyncError } from "../model/sync-error.ts";
import { tokenError } from "../model/token-fault.ts";
import type { Alarm, Alarmed } from "./alarms.ts";
import type { Listener } from "./audiences.ts";
import { Budget } from "./budget.ts";
import { type PassEnd, runPass } from "./catch-up.ts";
import { Client } from "./client.ts";
import { type Arrival, Live, type LiveEnd } from "./live.ts";
import { type Moves, type Read, waitFor, waitForRead } from "./moves.ts";
import { Pass, PassOutdated } from "./pass.ts";
import type { PullServices } from "./services.ts";
import type { Portion } from "./step.ts";

/** A client's frames as they become ready. */
export interface Flow {
  /**
   * The next frames, in order, never none. Undefined: nothing now; its reader is told once there may be more. The same
   * array goes to all who stand alike, so what is made of it can be kept by its identity. Taking means sending: the
   * client is thought to have them.
   * @throws SyncError how the flow ends; what was taken before counts.
   */
  take(): Portion | undefined;
  /** Nothing is there until the reader is told: taking before would be in vain. */
  readonly isWaiting: boolean;
  /** Nothing will come any more. */
  readonly isOver: boolean;
  /** Where a client stands that has applied all that was taken. */
  readonly cursor: Cursor;
  /** Frees everything at once, in whatever state; may be repeated. */
  close(): void;
}

export interface FlowReader {
  /** `take` had nothing and may have something now; never called from within it. Must be cheap and not throw. */
  ready(): void;
}

export interface FlowOptions {
  readonly services: PullServices;
  readonly principal: Principal;
  readonly request: Selection;
  /** As granted; undefined: none. */
  readonly heartbeatIntervalMs: number | undefined;
  /** How long the flow may really be silent: those opened together shall not beat together. */
  readonly beatMs: number;
  /** When the flow is old, by the clock. */
  readonly agedAtMs: number;
  /** 0: no limit. */
  readonly totalBytesMax: number;
  readonly until: Until;
  readonly reader: FlowReader;
}

/** What the flow is for: to stay, to reach one checkpoint, or to bring news, if any come by a time. */
export type Until = "forever" | "caught-up" | { readonly newsByMs: number };

/** Between tries that only time can help: a snapshot lost. */
const RETRY_MS = 500;

/** A database that loses so many snapshots in a row can't be read. */
const LOST_MAX = 20;

export class ClientFlow implements Flow, Listener, Alarmed {
  readonly #options: FlowOptions;
  readonly #client: Client;
  readonly #budget: Budget;
  readonly #reader: FlowReader;
  readonly #clock: Clock;
  /** By the clock: its token expires, or it is old. */
  readonly #endsAtMs: number;
  readonly #beatMs: number;
  readonly #staysLive: boolean;
  readonly #course: Moves<void>;
  /** What the course is told when it goes on: what it waited for. */
  #outcome: { readonly value?: unknown; readonly error?: unknown } = {};
  #isPending = false;
  #live: Live | undefined;
  #pass: Pass | undefined;
  #alarm: Alarm | undefined;
  #pausing: AbortController | undefined;
  #lastFrameMs: number;
  #drained: { readonly retryAfterMs: number } | undefined;
  #lostInARow = 0;
  /** Live has just ended, with the hub further on. */
  #isBehind = false;
  #isWaiting = false;
  #isOver = false;

  constructor(options: FlowOptions) {
    const { services } = options;
    this.#options = options;
    this.#client = new Client(options);
    this.#budget = new Budget(options.totalBytesMax);
    this.#reader = options.reader;
    this.#clock = services.clock;
    this.#endsAtMs = Math.min(options.principal.expiresAtMs ?? Number.POSITIVE_INFINITY, options.agedAtMs);
    this.#beatMs = options.beatMs;
    this.#staysLive = options.until === "forever";
    this.#course = this.#follow();
    this.#lastFrameMs = services.clock.nowMs();
    services.hub.attach(this);
    services.flows.add(this);
    this.#setAlarm(this.#lastFrameMs);
  }

  get cursor(): Cursor {
    return this.#client.cursor;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get principalId(): string {
    return this.#options.principal.id;
  }

  take(): Portion | undefined {
    if (this.#isOver) return undefined;
    const nowMs = this.#clock.nowMs();
    if (this.#drained || nowMs >= this.#endsAtMs) return this.#end(nowMs);
    const frames = this.#next() ?? this.#heartbeat(nowMs);
    if (frames) this.#lastFrameMs = nowMs;
    this.#isWaiting =
      !this.#isOver && (frames === undefined || (this.#staysLive && this.#live?.isAtEnd === true));
    return frames;
  }

  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  /** There may be something to take. */
  wake(): void {
    if (!this.#isWaiting) return;
    this.#isWaiting = false;
    this.#reader.ready();
  }

  ring(nowMs: number): void {
    this.wake();
    if (!this.#isOver) this.#setAlarm(nowMs);
  }

  /** Ends it with Closed(RECONNECT) at the next take. */
  drain(retryAfterMs: number): void {
    this.#drained = { retryAfterMs };
    this.wake();
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#isWaiting = false;
    const { hub, flows, alarms } = this.#options.services;
    flows.delete(this);
    hub.detach(this);
    if (this.#alarm) alarms.clear(this.#alarm);
    this.#live = undefined;
    this.#pass?.close();
    this.#pausing?.abort();
  }

  /** When it must look up next though nothing happens: for a heartbeat, or for what ends it. */
  #setAlarm(nowMs: number): void {
    const { services, principal, agedAtMs, beatMs, until } = this.#options;
    const beatAtMs = this.#lastFrameMs + beatMs;
    const times = [
      // One that doesn't get to send its heartbeat, its client not reading, is not woken again at once.
      beatAtMs > nowMs ? beatAtMs : nowMs + beatMs,
      principal.expiresAtMs ?? Number.POSITIVE_INFINITY,
      agedAtMs,
      typeof until === "object" ? until.newsByMs : Number.POSITIVE_INFINITY,
    ];
    const atMs = Math.min(...times.filter((time) => time > nowMs));
    this.#alarm = Number.isFinite(atMs) ? services.alarms.set(this, atMs) : undefined;
  }

  #next(): Portion | undefined {
    for (;;) {
      if (this.#live) {
        const taken = this.#live.take();
        if (typeof taken === "object") return taken;
        if (taken === undefined && !this.#isDone()) return undefined;
        this.#live = undefined;
        this.#outcome = { value: taken ?? "done" };
      }
      if (this.#isPending) return undefined;
      const move = this.#move();
      if (move === undefined) return undefined;
      if (move instanceof Live) this.#live = move;
      else if (move instanceof Promise) this.#await(move);
      else if ("read" in move) this.#await(this.#inTurn(move));
      else return move;
    }
  }

  /** Undefined: that was all. */
  #move() {
    const { value, error } = this.#outcome;
    this.#outcome = {};
    try {
      const move = error === undefined ? this.#course.next(value) : this.#course.throw(error);
      if (!move.done) return move.value;
      this.close();
      return undefined;
    } catch (failure) {
      this.close();
      throw failure;
    }
  }

  #await(work: Promise<unknown>): void {
    this.#isPending = true;
    const settle = (outcome: { readonly value?: unknown; readonly error?: unknown }) => {
      this.#outcome = outcome;
      this.#isPending = false;
      this.wake();
    };
    work.then(
      (value) => settle({ value }),
      (error: unknown) => settle({ error: error ?? new Error("no reason given") }),
    );
  }

  async #inTurn({ read }: Read): Promise<unknown> {
    // Whoever has gone away while it waited reads nothing.
    const { turns } = this.#options.services;
    return await turns.run(this.#pass !== undefined, async () => (this.#isOver ? undefined : await read()));
  }

  #heartbeat(nowMs: number): Portion | undefined {
    const isDue = nowMs >= this.#lastFrameMs + this.#beatMs;
    return isDue && !this.#isOver && this.#client.isOpened ? this.#client.heartbeat() : undefined;
  }

  #end(nowMs: number): Portion {
    this.close();
    if (nowMs >= (this.#options.principal.expiresAtMs ?? Number.POSITIVE_INFINITY))
      throw tokenError("expired");
    return [closedFrame("RECONNECT", this.#drained?.retryAfterMs)];
  }

  *#follow(): Moves<void> {
    for (;;) {
      const end = yield* this.#catchUp();
      if (end === "spent") {
        yield [closedFrame("BYTES_SPENT")];
        return;
      }
      if (end === "lost") {
        if (this.#isOutOfTime()) break;
        yield* waitFor(this.#pause());
      } else if (end !== "cut") {
        if (this.#isDone()) break;
        const liveEnd = yield* this.#goLive(end);
        if (liveEnd === "done") break;
        this.#isBehind = liveEnd === "behind";
      }
    }
    if (this.#options.until === "caught-up") yield [closedFrame("CAUGHT_UP")];
  }

  /** One pass. Gives where it arrived, or why it didn't. */
  *#catchUp(): Moves<Exclude<PassEnd, "complete"> | "lost" | Arrival> {
    const { services, request } = this.#options;
    const { position } = this.#client.subscription;
    try {
      this.#client.unsettle();
      const pass = yield* waitForRead(() => this.#openPass());
      const { schema, hub, packs } = services;
      const about = { schema, request, hub, packs };
      const end = yield* runPass({ pass, client: this.#client, budget: this.#budget, ...about });
      this.#lostInARow = 0;
      if (end !== "complete") return end;
      const { epoch, revision } = pass.snapshot.state;
      return { stand: { epoch, revision }, grants: pass.grants };
    } catch (error) {
      if (error instanceof PassOutdated) return "cut";
      if (!(error instanceof SnapshotLost)) throw error;
      this.#lostInARow = this.#client.subscription.position > position ? 0 : this.#lostInARow + 1;
      if (this.#lostInARow > LOST_MAX) throw unreadable(error);
      return "lost";
    } finally {
      this.#pass?.close();
      this.#pass = undefined;
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
    let pass: Pass;
    try {
      const grants = hub.grantsOf(principal.id, snapshot.state) ?? (await snapshot.grantsOf(principal.id));
      pass = new Pass({ snapshot, grants, clock, timeMaxMs, readEntriesMax, isOutdated });
    } catch (error) {
      await snapshot.close();
      throw error;
    }
    // The flow may have ended meanwhile; then nobody waits for the pass.
    if (this.#isOver) pass.close();
    else this.#pass = pass;
    return pass;
  }

  *#goLive(arrival: Arrival): Moves<LiveEnd | "done"> {
    const { services, request, until } = this.#options;
    const { hub } = services;
    const live = new Live({
      hub,
      client: this.#client,
      budget: this.#budget,
      audience: hub.join(this, [...this.#client.subscription.held.keys()]),
      principalId: this.principalId,
      request,
      arrival,
      wantsClock: typeof until === "string",
    });
    const end = (yield live) as LiveEnd | "done";
    // Of hub and pass one has seen a log that the other's replaces: both look again.
    if (end === "refused" && !hub.isOfEpoch(arrival.stand.epoch)) yield* waitFor(hub.refresh());
    return end;
  }

  /** Whether the flow has done what it is for. */
  #isDone(): boolean {
    const { until } = this.#options;
    if (until === "forever") return false;
    if (until === "caught-up") return this.#client.isSettled;
    return this.#client.hasNews || this.#isOutOfTime();
  }

  #isOutOfTime(): boolean {
    const { until, services } = this.#options;
    return typeof until === "object" && services.clock.nowMs() >= until.newsByMs;
  }

  #pause(): Promise<void> {
    this.#pausing = new AbortController();
    return this.#options.services.clock.sleep(RETRY_MS, this.#pausing.signal);
  }
}

function unreadable(cause: SnapshotLost): SyncError {
  const message = "the database keeps losing the snapshot being read; try again";
  return new SyncError("DATABASE_UNAVAILABLE", message, { retryAfterMs: 5_000, cause });
}
