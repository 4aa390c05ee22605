// The hub: one per node, follows the log's head for all live streams of the node. It reads each new stretch of the log
// once, with the grants of everyone listening, or takes the leader's append as committed, without a read.
import { checkpointFrame } from "../frames/frame.ts";
import type { CommittedAppend } from "../log/append.ts";
import type { Entry } from "../log/entry.ts";
import type { Log } from "../log/log.ts";
import { type Instant, type LogSnapshot, openSnapshot } from "../log/snapshot.ts";
import type { LogState } from "../log/state.ts";
import { SnapshotLost } from "../log/translated.ts";
import { watchRevisions } from "../log/watch.ts";
import type { Clock } from "../model/clock.ts";
import type { CommitClock } from "../model/commit-clock.ts";
import type { Feed } from "../model/feed.ts";
import type { Logger } from "../model/logger.ts";
import type { Grants } from "../model/principal.ts";
import type { Seq } from "../model/seq.ts";
import type { Schema } from "../schema/schema.ts";
import { type Audience, Audiences, type Listener } from "./audiences.ts";
import { Ring } from "./ring.ts";
import type { PullSettings } from "./settings.ts";
import { type Checkpoint, Step, type StepSource } from "./step.ts";
import { Withheld, withholdsMore } from "./withheld.ts";

export interface HubOptions {
  readonly log: Log;
  readonly schema: Schema;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: PullSettings;
}

/** Where in the log's history a live stream stands. */
export interface Stand {
  readonly epoch: string;
  readonly revision: number;
}

interface KnownGrants {
  readonly epoch: string;
  /** The one that changed them last. */
  readonly revision: number;
  /** Of those who listened then. */
  readonly byPrincipal: ReadonlyMap<string, Grants>;
}

/** A pass that goes on from live may begin at what the hub knows if that is no older: nobody waits for news it lacks. */
const RECENT_MS = 1_000;
/** While the leader's appends come by hand, a change told by the database is probably one of them. */
const APPEND_GRACE_MS = 20;
/** Appends waiting for a read to end; beyond, reading is quicker. */
const PENDING_MAX = 256;
/** Of all streams together: with 10,000 of them each waits half a second. */
const QUIET_CHECKPOINTS_PER_MS = 20;
const RETRY_MS = 250;
const RETRY_MS_MAX = 5_000;

export class Hub {
  readonly withheld = new Withheld();
  readonly #options: HubOptions;
  readonly #audiences = new Audiences();
  readonly #listeners = new Set<Listener>();
  readonly #ring: Ring;
  readonly #closing = new AbortController();
  readonly #watching: Promise<void>;
  #pending: CommittedAppend[] = [];
  #state: LogState | undefined;
  #latest: (Instant & { readonly atMs: number }) | undefined;
  #grants: KnownGrants | undefined;
  #mustRead = false;
  #advancing: Promise<void> | undefined;
  #checkpoint: (Checkpoint & { readonly position: Seq }) | undefined;
  #isFedByHand = false;
  /** Of the last step that may concern anybody, by its grants; no stand before it may pass over steps unseen. */
  #touchedAt = 0;
  #isQuietWakeDue = false;

  /** Follows from now on, until closed. */
  constructor(options: HubOptions) {
    this.#options = options;
    this.#ring = new Ring(options.settings.ringBytesMax);
    this.#watching = this.#watch();
  }

  /** Streams that have begun and not ended. */
  get listeners(): number {
    return this.#listeners.size;
  }

  /** A stream begins: from now on steps are kept for it. */
  attach(listener: Listener): void {
    this.#listeners.add(listener);
  }

  /** A stream is live from its stand on. */
  join(listener: Listener, feeds: readonly Feed[]): Audience {
    return this.#audiences.join(listener, feeds, this.#state?.revision ?? 0);
  }

  detach(listener: Listener): void {
    this.#listeners.delete(listener);
    this.#audiences.leave(listener);
  }

  /** The step that leads on from a stand; "latest": none yet; "behind": a pass must bring the client on. */
  stepAfter(epoch: string, revision: number): Step | "latest" | "behind" {
    if (!this.#state) return "latest";
    if (epoch !== this.#state.epoch) return "behind";
    if (revision >= this.#state.revision) return "latest";
    return this.#ring.stepAfter(revision) ?? "behind";
  }

  isLatest(epoch: string, revision: number): boolean {
    return this.#state?.revision === revision && this.#state.epoch === epoch;
  }

  /**
   * The latest step, if nothing between a stand and its end concerns an audience: whoever stands there may go on from
   * its end. A client of 10,000 idle ones must not look at each step of the others.
   */
  quietStep(epoch: string, revision: number, audience: Audience): Step | undefined {
    const state = this.#state;
    if (!state || epoch !== state.epoch || revision >= state.revision) return undefined;
    return revision >= Math.max(this.#touchedAt, audience.touchedAt) ? this.#ring.latest : undefined;
  }

  /** The log as it was a moment ago, if this node knows: spares a pass the read. */
  recent(): Instant | undefined {
    const latest = this.#latest;
    if (latest === undefined || this.withheld.isBeyond(latest.state)) return undefined;
    return this.#options.clock.nowMs() - latest.atMs <= RECENT_MS ? latest : undefined;
  }

  /** For all who arrive at the same place of the log the same object. */
  checkpoint(position: Seq, clock: CommitClock): Checkpoint {
    const known = this.#checkpoint;
    if (known?.position === position && known.clock === clock) return known;
    this.#checkpoint = { position, clock, frames: [checkpointFrame(position, clock)] };
    return this.#checkpoint;
  }

  /** What memberships grant a principal by a state of the log, if that is known here: spares a pass the read. */
  grantsOf(principal: string, { epoch, grantsRevision }: LogState): Grants | undefined {
    const known = this.#grants;
    const isCurrent = known?.epoch === epoch && known.revision === grantsRevision;
    return isCurrent ? known.byPrincipal.get(principal) : undefined;
  }

  /** The leader's append on its own node, in order. */
  onAppend(append: CommittedAppend): void {
    this.#isFedByHand = true;
    this.#hearOf(append.state);
    if (!this.#advancing && !append.grantsChanged && this.#leadsOn(append)) {
      this.#take(append, undefined);
      return;
    }
    if (this.#pending.length >= PENDING_MAX) {
      this.#pending = [];
      this.#mustRead = true;
    } else this.#pending.push(append);
    void this.#advance();
  }

  /** Looks at the log now; resolves when it has, or has failed to. */
  refresh(): Promise<void> {
    this.#mustRead = true;
    return this.#advance();
  }

  /** Whether it follows this log, rather than one before or after it. */
  isOfEpoch(epoch: string): boolean {
    return this.#state === undefined || this.#state.epoch === epoch;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#ring.clear();
    await this.#watching;
  }

  async #watch(): Promise<void> {
    const { log, clock, logger } = this.#options;
    const { signal } = this.#closing;
    for (let retryMs = RETRY_MS; !signal.aborted; retryMs = Math.min(2 * retryMs, RETRY_MS_MAX)) {
      try {
        for await (const revision of watchRevisions(log, signal)) {
          retryMs = RETRY_MS;
          this.#hear(revision);
        }
      } catch (error) {
        logger.warn({ err: error }, "can't follow the log; trying again");
        await clock.sleep(retryMs, signal);
      }
    }
  }

  #hear(revision: number | undefined): void {
    if (revision === undefined || !this.#state || !this.#isFedByHand) {
      if (revision === undefined || revision > (this.#state?.revision ?? -1)) void this.refresh();
      return;
    }
    if (revision <= this.#state.revision) return;
    void this.#options.clock.sleep(APPEND_GRACE_MS, this.#closing.signal).then(() => {
      if (this.#state && this.#state.revision >= revision) return;
      this.#isFedByHand = false;
      void this.refresh();
    });
  }

  /** Goes on as far as anything is known to have happened. One at a time. Never throws. */
  #advance(): Promise<void> {
    this.#advancing ??= this.#advanceNow().finally(() => {
      this.#advancing = undefined;
      if (this.#isDue) void this.#advance();
    });
    return this.#advancing;
  }

  async #advanceNow(): Promise<void> {
    try {
      while (this.#isDue) await this.#goOn();
    } catch (error) {
      this.#options.logger.warn({ err: error }, "can't read the log; trying again");
      // An append's instant may be gone for good; a read of now includes it.
      this.#pending = [];
      this.#mustRead = true;
      await this.#options.clock.sleep(RETRY_MS, this.#closing.signal);
    }
  }

  get #isDue(): boolean {
    return !this.#closing.signal.aborted && (this.#mustRead || this.#pending.length > 0);
  }

  async #goOn(): Promise<void> {
    const [append] = this.#pending;
    if (append && this.#state && append.state.revision <= this.#state.revision) this.#pending.shift();
    else if (append && this.#leadsOn(append)) {
      const grants = append.grantsChanged ? await this.#grantsAt(append) : undefined;
      this.#pending.shift();
      this.#take(append, grants);
    } else {
      this.#mustRead = false;
      await this.#read();
    }
  }

  #leadsOn({ before, state }: CommittedAppend): boolean {
    const now = this.#state;
    return (
      now !== undefined &&
      state.epoch === now.epoch &&
      state.revision === now.revision + 1 &&
      before === now.head
    );
  }

  async #grantsAt({ time }: CommittedAppend): Promise<ReadonlyMap<string, Grants>> {
    const snapshot = await openSnapshot(this.#options.log, time);
    try {
      return await this.#grantsOfListeners(snapshot);
    } finally {
      await snapshot.close();
    }
  }

  #take(
    { before, state, entries, time }: CommittedAppend,
    grants: ReadonlyMap<string, Grants> | undefined,
  ): void {
    this.#know({ state, time });
    this.#publish({ base: state.revision - 1, before, state, entries, grants });
  }

  /** Reads state, grants and entries since, in one snapshot. */
  async #read(): Promise<void> {
    const snapshot = await openSnapshot(this.#options.log);
    try {
      const { state } = snapshot;
      this.#hearOf(state);
      this.#know(snapshot);
      const now = this.#state;
      const isSame = now?.epoch === state.epoch && now.revision === state.revision;
      if (isSame) return;
      const leadsOn = now !== undefined && isContinued(now, state);
      if (!leadsOn || this.#listeners.size === 0) return this.#startOver(state);
      const entries = now.head < state.head ? await this.#entriesSince(snapshot, now.head) : [];
      if (!entries) return this.#startOver(state);
      const isGrantNews = state.grantsRevision > now.revision;
      const grants = isGrantNews ? await this.#grantsOfListeners(snapshot) : undefined;
      this.#publish({ base: now.revision, before: now.head, state, entries, grants });
    } catch (error) {
      if (!(error instanceof SnapshotLost)) throw error;
      this.#mustRead = true;
    } finally {
      await snapshot.close();
    }
  }

  #know({ state, time }: Instant): void {
    this.#latest = { state, time, atMs: this.#options.clock.nowMs() };
  }

  /** Undefined: more than the ring would keep. */
  async #entriesSince(snapshot: LogSnapshot, head: number): Promise<Entry[] | undefined> {
    const { ringBytesMax, readEntriesMax } = this.#options.settings;
    const all: Entry[] = [];
    let bytes = 0;
    for await (const entries of snapshot.allEntries(head, readEntriesMax)) {
      for (const entry of entries) {
        all.push(entry);
        bytes += entry.kind === "main" ? entry.record.length : 0;
      }
      if (bytes > ringBytesMax) return undefined;
    }
    return all;
  }

  /** All of them, those without a grant, too: a stream must be able to tell that it was asked about. */
  async #grantsOfListeners(snapshot: LogSnapshot): Promise<ReadonlyMap<string, Grants>> {
    const principals = [...new Set([...this.#listeners].map(({ principalId }) => principalId))];
    const granted = await snapshot.grantsOfAll(principals);
    return new Map(principals.map((principal) => [principal, granted.get(principal) ?? new Map()]));
  }

  /** Nobody can go on from before. */
  #startOver(state: LogState): void {
    this.#ring.clear();
    this.#state = state;
    this.#touchedAt = state.revision;
    this.#audiences.wakeAll();
  }

  #publish(source: StepSource): void {
    // The step would hold entries from before: passes know what to leave out.
    if (this.#listeners.size === 0 || withholdsMore(this.#state, source.state)) {
      this.#startOver(source.state);
      return;
    }
    const step: Step = new Step(source, this.#options.schema, (bytes) => this.#ring.grow(step, bytes));
    this.#ring.push(step);
    this.#state = source.state;
    if (source.grants) this.#remember(source.grants, source.state);
    if (source.grants) {
      this.#touchedAt = step.revision;
      this.#audiences.wakeAll();
    } else {
      this.#audiences.wakeTouched(step);
      this.#wakeOthersSoon();
    }
  }

  /** They hold until a later revision changes grants. */
  #remember(byPrincipal: ReadonlyMap<string, Grants>, { epoch, grantsRevision: revision }: LogState): void {
    this.#grants = { epoch, revision, byPrincipal };
  }

  /** Steps made before, and passes, may hold what is hidden from now on. */
  #hearOf(state: LogState): void {
    if (!this.withheld.hear(state)) return;
    this.#ring.clear();
    this.#touchedAt = Number.POSITIVE_INFINITY;
    this.#audiences.wakeAll();
  }

  /** Nothing changed for them but the clock: many such steps make one checkpoint. */
  #wakeOthersSoon(): void {
    if (this.#isQuietWakeDue) return;
    this.#isQuietWakeDue = true;
    const { clock, settings } = this.#options;
    const waitMs = Math.max(settings.quietCheckpointMs, this.#listeners.size / QUIET_CHECKPOINTS_PER_MS);
    void clock.sleep(waitMs, this.#closing.signal).then(() => {
      this.#isQuietWakeDue = false;
      this.#audiences.wakeAll();
    });
  }
}

/** Whether the entries after one state's head, read at a later one, tell all that happened in between. */
function isContinued(now: LogState, later: LogState): boolean {
  const isLater = now.epoch === later.epoch && now.revision < later.revision && now.head <= later.head;
  return isLater && later.horizon <= now.head;
}
