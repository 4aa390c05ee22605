// What a stream knows of its client: the subscription as the client has it once it has applied every frame sent, and
// the cursor that says so. Follows each snapshot's grants; makes the frames that tell the client, sends nothing itself.
import { type Frame, openedFrame, resetFrame, type Unavailable } from "../frames/frame.ts";
import type { LogSnapshot } from "../log/snapshot.ts";
import type { LogState } from "../log/state.ts";
import { collectionOfFeed, type Feed } from "../model/feed.ts";
import { type Grants, mergeGrants, type Principal } from "../model/principal.ts";
import type { Cursor, Selection } from "../model/pull-request.ts";
import type { Seq } from "../model/seq.ts";
import { feedsHeld } from "../schema/scopes.ts";
import { openCursor, sealFeeds } from "./cursors.ts";
import type { PassPhase } from "./pass.ts";
import type { PullServices } from "./services.ts";
import {
  align,
  checkpointed,
  isCovered,
  left,
  moved,
  NOTHING,
  narrow,
  rangesLeaving,
  rangesToRead,
  removedUpTo,
  type Subscription,
} from "./subscription.ts";

export interface ClientOptions {
  readonly services: PullServices;
  readonly principal: Principal;
  readonly request: Selection;
  /** As granted; undefined: none. */
  readonly heartbeatIntervalMs: number | undefined;
}

/** Counting more would hold up the first frame; beyond it the distance to the head is the bound. */
const BACKLOG_COUNTED_MAX = 100_000;

export class Client {
  readonly #options: ClientOptions;
  #subscription = NOTHING;
  /** The token and what it was made of. */
  #token: { readonly of: Subscription; readonly text: string } | undefined;
  #epoch: string | undefined;
  #hasNews = false;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** Changes only by `align`, `forget`, `delivered` and `sent`. */
  get subscription(): Subscription {
    return this.#subscription;
  }

  /** Whether the client has all of all its feeds up to some checkpoint. */
  get isCovered(): boolean {
    return isCovered(this.#subscription);
  }

  /** Whether it has had its first frame. */
  get isOpened(): boolean {
    return this.#epoch !== undefined;
  }

  /** Whether the client was sent anything but where it stands. */
  get hasNews(): boolean {
    return this.#hasNews;
  }

  /** What the client stores by now; only once it is opened. */
  get cursor(): Cursor {
    const { position, checkpoint } = this.#subscription;
    return { subscription: this.#token?.text ?? "", position, checkpoint };
  }

  /** Follows a snapshot's state and grants: the frames that tell the client, none if nothing changed for it. */
  async align(snapshot: LogSnapshot, grants: Grants): Promise<Frame[]> {
    const { state } = snapshot;
    const feeds = this.#feedsOf(grants);
    const start = await this.#start(state);
    const { subscription, reset } = align(start.subscription, { ...state, feeds });
    const isSame = this.isOpened && !start.reset && !reset && subscription === this.#subscription;
    if (isSame) return [];
    this.#subscription = subscription;
    this.#epoch = state.epoch;
    const opened = await this.#opened(snapshot);
    if (start.reset) return [resetFrame(start.reset, []), opened];
    return reset ? [resetFrame("HORIZON", reset === "all" ? [] : reset), opened] : [opened];
  }

  /** The removes of all feeds taken away are sent: from now on they are forgotten. */
  async forget(snapshot: LogSnapshot): Promise<Frame> {
    this.#subscription = left(this.#subscription);
    return await this.#opened(snapshot);
  }

  /** The cursor once more, in the middle of a pass: keeps its progress, or names what is left out. */
  async reopened({ state }: LogSnapshot, unavailable: readonly Unavailable[]): Promise<Frame> {
    const backlog = state.head - this.#subscription.position;
    return await this.#openedFrame(state, { backlog, unavailable });
  }

  /** All that is due of entries up to here is sent. */
  delivered(seq: Seq, phase: PassPhase): void {
    const progress = phase === "held" ? moved : removedUpTo;
    this.#subscription = progress(this.#subscription, seq);
  }

  /** A frame goes out. */
  sent({ kind, position }: Frame): void {
    if (kind === "checkpoint" && position !== undefined) {
      this.#subscription = checkpointed(this.#subscription, position);
    } else if (kind === "batch" && position !== undefined) {
      this.#subscription = moved(this.#subscription, position);
      this.#hasNews = true;
    } else if (kind === "opened") {
      this.#hasNews ||= this.#token?.text !== this.#options.request.cursor?.subscription;
    } else this.#hasNews = true;
  }

  /** The subscription to go on from: the present one, the cursor's, or nothing with the reason. */
  async #start(state: LogState): Promise<{ subscription: Subscription; reset?: "EPOCH" | "CURSOR" }> {
    if (this.#epoch !== undefined) {
      if (this.#epoch !== state.epoch) return { subscription: NOTHING, reset: "EPOCH" };
      if (this.#subscription.position > state.head) return { subscription: NOTHING, reset: "CURSOR" };
      return { subscription: this.#subscription };
    }
    const { services, principal, request } = this.#options;
    if (!request.cursor) return { subscription: NOTHING };
    const opened = await openCursor(services, request.cursor, { state, principal: principal.id });
    if (typeof opened === "string") return { subscription: NOTHING, reset: opened };
    this.#token = { of: opened, text: request.cursor.subscription };
    const isWanted = (name: string) => request.collections.length === 0 || request.collections.includes(name);
    return { subscription: narrow(opened, isWanted) };
  }

  #feedsOf(memberships: Grants): Feed[] {
    const { services, principal, request } = this.#options;
    const grants = mergeGrants(principal.claimGrants, memberships);
    return feedsHeld(services.schema, grants, request.collections.length ? request.collections : undefined);
  }

  async #opened(snapshot: LogSnapshot): Promise<Frame> {
    const backlog = await this.#backlog(snapshot);
    return await this.#openedFrame(snapshot.state, { backlog, unavailable: this.#unavailable() });
  }

  async #openedFrame(
    state: LogState,
    about: { readonly backlog: number; readonly unavailable: readonly Unavailable[] },
  ): Promise<Frame> {
    const { services, principal, heartbeatIntervalMs } = this.#options;
    const now = this.#subscription;
    if (now.held !== this.#token?.of.held || now.leaving !== this.#token.of.leaving) {
      this.#token = { of: now, text: await sealFeeds(services, now, { state, principal: principal.id }) };
    }
    const { head } = state;
    const schema = services.schema.fingerprint;
    return openedFrame({ cursor: this.cursor, head, heartbeatIntervalMs, schema, ...about });
  }

  async #backlog(snapshot: LogSnapshot): Promise<number> {
    const now = this.#subscription;
    const ranges = [...rangesToRead(now), ...rangesLeaving(now)];
    const counted = await snapshot.countEntries(ranges, BACKLOG_COUNTED_MAX);
    return counted < BACKLOG_COUNTED_MAX
      ? counted
      : snapshot.state.head - Math.min(...ranges.map(({ after }) => after));
  }

  #unavailable(): Unavailable[] {
    const { services, request } = this.#options;
    const held = new Set([...this.#subscription.held.keys()].map(collectionOfFeed));
    return request.collections
      .filter((collection) => !held.has(collection))
      .map((collection) => {
        const reason = services.schema.collections.has(collection) ? "FORBIDDEN" : "UNKNOWN_COLLECTION";
        return { collection, recordId: undefined, reason };
      });
  }
}
