// What a stream knows of its client: the subscription as the client has it once it has applied every frame sent, and
// the cursor that says so. Follows each snapshot's grants; makes the frames that tell the client, sends nothing itself.
import { batchFrame } from "../frames/batch.ts";
import { type Frame, openedFrame, resetFrame, type Unavailable } from "../frames/frame.ts";
import type { LogSnapshot } from "../log/snapshot.ts";
import type { LogState } from "../log/state.ts";
import type { CommitClock } from "../model/commit-clock.ts";
import { collectionOfFeed, type Feed } from "../model/feed.ts";
import { invariant } from "../model/invariant.ts";
import { type Grants, grantsHeld, type Principal } from "../model/principal.ts";
import type { Cursor, Selection } from "../model/pull-request.ts";
import type { Seq } from "../model/seq.ts";
import { feedsHeld } from "../schema/scopes.ts";
import { openCursor, sealFeeds } from "./cursors.ts";
import type { PassPhase } from "./pass.ts";
import type { PullServices } from "./services.ts";
import type { Checkpoint, Portion } from "./step.ts";
import {
  align,
  isCovered,
  left,
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
const BACKLOG_COUNTED_MAX = 20_000;

export class Client {
  readonly #options: ClientOptions;
  /** As of when it was last asked for; where the client stands since is beside it, for that changes with every frame. */
  #lastSubscription = NOTHING;
  #position: Seq = 0;
  #checkpoint: Seq = 0;
  #token: Token | undefined;
  #epoch: string | undefined;
  /** What the client has once it is sent the Opened made last. */
  #next: { readonly subscription: Subscription; readonly epoch: string; readonly token: Token } | undefined;
  #covered: Subscription["held"] | undefined;
  #hasNews = false;
  #backlog = 0;
  /** The time of the last checkpoint sent. */
  #clock: CommitClock | undefined;
  /** Set while the client has all up to some time: the frames that told it so, and tell it again as a heartbeat. */
  #settled: Portion | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** Changes only by `delivered`, `sent` and `wentOn`. */
  get subscription(): Subscription {
    const last = this.#lastSubscription;
    const [position, checkpoint] = [this.#position, this.#checkpoint];
    if (last.position !== position || last.checkpoint !== checkpoint)
      this.#lastSubscription = { ...last, position, checkpoint };
    return this.#lastSubscription;
  }

  set #subscription(now: Subscription) {
    this.#lastSubscription = now;
    this.#position = now.position;
    this.#checkpoint = now.checkpoint;
  }

  get checkpoint(): Seq {
    return this.#checkpoint;
  }

  /** Whether the client has all of all its feeds up to some checkpoint. */
  get isCovered(): boolean {
    const { held } = this.#lastSubscription;
    // Checkpoints only rise: once covered, these feeds stay so.
    if (this.#covered !== held && isCovered(this.subscription)) this.#covered = held;
    return this.#covered === held;
  }

  /** About how many entries it lacked when they were last counted. */
  get backlog(): number {
    return this.#backlog;
  }

  /** Whether it has had its first frame. */
  get isOpened(): boolean {
    return this.#epoch !== undefined;
  }

  /** Whether the client was sent anything but where it stands. */
  get hasNews(): boolean {
    return this.#hasNews;
  }

  /** Whether the last thing the client was told is that it has everything. */
  get isSettled(): boolean {
    return this.#settled !== undefined;
  }

  get hasCheckpoint(): boolean {
    return this.#clock !== undefined;
  }

  /** Whether a checkpoint at this time would tell it anything. */
  isNewer(clock: CommitClock): boolean {
    return this.#clock === undefined || clock > this.#clock;
  }

  /** What the client stores that has applied every frame sent. */
  get cursor(): Cursor {
    const { position, checkpoint } = this.subscription;
    if (this.isOpened && this.#token) return { subscription: this.#token.text, position, checkpoint };
    return this.#options.request.cursor ?? { subscription: "", position: 0, checkpoint: 0 };
  }

  /** Follows a snapshot's state and grants: the frames that tell the client, none if nothing changed for it. */
  async align(snapshot: LogSnapshot, grants: Grants): Promise<Frame[]> {
    const { state } = snapshot;
    const feeds = this.#feedsOf(grants);
    const start = await this.#start(state);
    const { subscription, reset } = align(start.subscription, { ...state, feeds });
    const isSame = this.isOpened && !start.reset && !reset && subscription === this.subscription;
    if (isSame) return [];
    const opened = await this.#opened(snapshot, subscription);
    if (start.reset) return [resetFrame(start.reset, []), opened];
    return reset ? [resetFrame("HORIZON", reset === "all" ? [] : reset), opened] : [opened];
  }

  /** The removes of all feeds taken away are sent: from now on they are forgotten. */
  async forget(snapshot: LogSnapshot): Promise<Frame> {
    return await this.#opened(snapshot, left(this.subscription));
  }

  /** The cursor once more, in the middle of a pass: keeps its progress, or names what is left out. */
  async reopened({ state }: LogSnapshot, unavailable: readonly Unavailable[]): Promise<Frame> {
    const subscription = this.subscription;
    const backlog = state.head - subscription.position;
    return await this.#openedFrame(state, { subscription, backlog, unavailable });
  }

  /** All that is due of entries up to here is sent. */
  delivered(seq: Seq, phase: PassPhase): void {
    if (phase === "held") this.#position = seq;
    else this.#subscription = removedUpTo(this.subscription, seq);
  }

  /** A frame goes out, any but a checkpoint; not before does the client know what it says. */
  sent({ kind, position }: Frame): void {
    if (kind === "opened") this.#told();
    else {
      if (kind === "batch") this.#position = position ?? 0;
      this.#hasNews = true;
    }
  }

  /** All up to here is delivered; a checkpoint that goes out says so, or none does. */
  wentOn(position: Seq, isNews: boolean, checkpoint: Checkpoint | undefined): void {
    this.#hasNews ||= isNews;
    this.#position = position;
    if (checkpoint) this.#checkpoint = position;
    this.#settled = checkpoint?.frames;
    if (checkpoint) this.#clock = checkpoint.clock;
  }

  /** It lacks something, or the log is not settled: heartbeats say only the position. */
  unsettle(): void {
    this.#settled = undefined;
  }

  heartbeat(): Portion {
    return this.#settled ?? [batchFrame([], this.#position)];
  }

  #told(): void {
    invariant(this.#next, "an Opened is made before it is sent");
    const { subscription, epoch, token } = this.#next;
    this.#hasNews ||= token.text !== this.#options.request.cursor?.subscription;
    this.#subscription = subscription;
    this.#epoch = epoch;
    this.#token = token;
  }

  /** The subscription to go on from: the present one, the cursor's, or nothing with the reason. */
  async #start(state: LogState): Promise<{ subscription: Subscription; reset?: "EPOCH" | "CURSOR" }> {
    if (this.#epoch !== undefined) {
      if (this.#epoch !== state.epoch) return { subscription: NOTHING, reset: "EPOCH" };
      if (this.subscription.position > state.head) return { subscription: NOTHING, reset: "CURSOR" };
      return { subscription: this.subscription };
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
    const grants = grantsHeld(principal, memberships);
    return feedsHeld(services.schema, grants, request.collections.length ? request.collections : undefined);
  }

  async #opened(snapshot: LogSnapshot, subscription: Subscription): Promise<Frame> {
    const backlog = await countBacklog(snapshot, subscription);
    this.#backlog = backlog;
    const unavailable = this.#unavailable(subscription);
    return await this.#openedFrame(snapshot.state, { subscription, backlog, unavailable });
  }

  async #openedFrame(state: LogState, { subscription, ...about }: About): Promise<Frame> {
    const { services, principal, heartbeatIntervalMs } = this.#options;
    const { held, leaving, position, checkpoint } = subscription;
    const isSame = this.#token?.of.held === held && this.#token.of.leaving === leaving;
    const token =
      isSame && this.#token
        ? this.#token
        : {
            of: subscription,
            text: await sealFeeds(services, subscription, { state, principal: principal.id }),
          };
    this.#next = { subscription, epoch: state.epoch, token };
    const cursor = { subscription: token.text, position, checkpoint };
    const schema = services.schema.fingerprint;
    return openedFrame({ cursor, head: state.head, heartbeatIntervalMs, schema, ...about });
  }

  #unavailable(subscription: Subscription): Unavailable[] {
    const { services, request } = this.#options;
    const held = new Set([...subscription.held.keys()].map(collectionOfFeed));
    return request.collections
      .filter((collection) => !held.has(collection))
      .map((collection) => {
        const reason = services.schema.collections.has(collection) ? "FORBIDDEN" : "UNKNOWN_COLLECTION";
        return { collection, recordId: undefined, reason };
      });
  }
}

/** A token's text, and what it was made of. */
interface Token {
  readonly of: Subscription;
  readonly text: string;
}

/** What an Opened says besides where the log stands. */
interface About {
  readonly subscription: Subscription;
  readonly backlog: number;
  readonly unavailable: readonly Unavailable[];
}

async function countBacklog(snapshot: LogSnapshot, subscription: Subscription): Promise<number> {
  const { head } = snapshot.state;
  const ranges = [...rangesToRead(subscription), ...rangesLeaving(subscription)].filter(
    ({ after }) => after < head,
  );
  const counted = await snapshot.countEntries(ranges, BACKLOG_COUNTED_MAX);
  if (counted < BACKLOG_COUNTED_MAX) return counted;
  return head - Math.min(...ranges.map(({ after }) => after));
}
