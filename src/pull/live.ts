// Live: a subscriber's place in the ring, as long as it keeps up and its grants stay. A position, not a queue: between
// two takes it holds a step at most to tell a checkpoint of, so a client that doesn't read costs nothing; when the ring
// has moved past it, it is behind. Takes nothing but looks, and makes nothing that others at the same place don't share:
// of 1,000 streams a delivery costs each well under a microsecond.
import type { Grants } from "../model/principal.ts";
import type { Selection } from "../model/pull-request.ts";
import type { Seq } from "../model/seq.ts";
import type { Audience } from "./audiences.ts";
import type { Budget } from "./budget.ts";
import type { Client } from "./client.ts";
import type { Hub, Stand } from "./hub.ts";
import type { Portion, Step, Variant } from "./step.ts";

export interface LiveOptions {
  readonly hub: Hub;
  readonly client: Client;
  readonly budget: Budget;
  readonly audience: Audience;
  readonly principalId: string;
  readonly request: Selection;
  readonly arrival: Arrival;
  /** Whether a checkpoint is wanted where nothing but the clock changed. */
  readonly wantsClock: boolean;
}

/** Where the last pass left the client. */
export interface Arrival {
  readonly stand: Stand;
  /** What memberships granted then. */
  readonly grants: Grants;
}

/**
 * How live ends: a pass is needed, because the ring has moved on, the grants have changed or something is for this
 * subscriber alone; "refused": at once, though it comes from one.
 */
export type LiveEnd = "behind" | "refused";

export class Live {
  readonly #hub: Hub;
  readonly #client: Client;
  /** Undefined: it may have all there is. */
  readonly #budget: Budget | undefined;
  readonly #variant: Variant;
  readonly #principalId: string;
  readonly #grants: Grants;
  readonly #mayTakeDeltas: boolean;
  readonly #wantsClock: boolean;
  readonly #epoch: string;
  /** Where live began. */
  readonly #start: Seq;
  #revision: number;
  /** Where the step under way was begun. */
  #after: Seq;
  /** Portions taken of the step under way. */
  #taken = 0;
  #isAccepted = false;
  #takesDeltas = false;
  /** The last step taken, if its checkpoint is not told yet. */
  #untold: Step | undefined;

  constructor(options: LiveOptions) {
    const { hub, client, budget, audience, principalId, request, arrival, wantsClock } = options;
    this.#hub = hub;
    this.#client = client;
    this.#budget = budget.isLimited ? budget : undefined;
    this.#variant = audience.variant(request.recordForm, request.batchBytesMax);
    this.#principalId = principalId;
    this.#grants = arrival.grants;
    this.#mayTakeDeltas = !request.wholeRecords;
    this.#wantsClock = wantsClock;
    this.#epoch = arrival.stand.epoch;
    this.#revision = arrival.stand.revision;
    this.#start = client.subscription.position;
    this.#after = this.#start;
  }

  /** It has taken all there is. */
  get isAtEnd(): boolean {
    return this.#untold === undefined && this.#taken === 0 && this.#hub.isLatest(this.#epoch, this.#revision);
  }

  /** What to send next; undefined: all there is so far is taken. */
  take(): Portion | LiveEnd | undefined {
    for (;;) {
      const quiet = this.#hub.quietStep(this.#epoch, this.#revision, this.#variant.audience);
      if (quiet) {
        this.#finish(quiet, false);
        continue;
      }
      const step = this.#hub.stepAfter(this.#epoch, this.#revision);
      if (step === "behind") return this.#end();
      this.#isAccepted ||= step === "latest";
      if (step === "latest") return this.#untoldCheckpoint();
      const portions = this.#isStillGranted(step) ? this.#portionsOf(step) : undefined;
      if (!portions || (this.#taken === 0 && !this.#admits(portions))) return this.#end();
      this.#isAccepted = true;
      const portion = portions[this.#taken++];
      if (this.#taken >= portions.length) this.#finish(step, portions.length > 0);
      else if (portion) for (const frame of portion) this.#client.sent(frame);
      if (portion) return portion;
    }
  }

  #portionsOf(step: Step): readonly Portion[] | undefined {
    // P2: passes may have gone by withheld entries since the client's checkpoint; what changed in them comes whole.
    // Once it is so, it stays so: live, checkpoints only rise and feeds stay covered.
    this.#takesDeltas ||=
      this.#mayTakeDeltas && this.#client.isCovered && this.#client.checkpoint >= this.#start;
    return step.portionsFor(this.#variant, this.#after, this.#takesDeltas);
  }

  #finish(step: Step, hadFrames: boolean): void {
    this.#taken = 0;
    this.#after = step.head;
    this.#revision = step.revision;
    this.#untold = hadFrames || !step.checkpoint ? undefined : step;
    this.#client.wentOn(step.head, hadFrames, hadFrames ? step.checkpoint : undefined);
  }

  /** Nothing but the clock went on. */
  #untoldCheckpoint(): Portion | undefined {
    const checkpoint = this.#untold?.checkpoint;
    if (!this.#untold || !checkpoint || !this.#client.isNewer(checkpoint.clock)) return undefined;
    if (!this.#wantsClock && this.#client.hasCheckpoint) return undefined;
    this.#client.wentOn(this.#untold.head, false, checkpoint);
    this.#untold = undefined;
    return checkpoint.frames;
  }

  #admits(portions: readonly Portion[]): boolean {
    if (!this.#budget) return true;
    const bytes = portions
      .flat()
      .reduce((sum, frame) => sum + (frame.kind === "checkpoint" ? 0 : frame.bytes.length), 0);
    return bytes === 0 || this.#budget.admitsAll(bytes);
  }

  /** False, too, where the hub didn't know yet of this principal when it read the grants. */
  #isStillGranted({ source: { grants } }: Step): boolean {
    if (grants === undefined) return true;
    const now = grants.get(this.#principalId);
    const before = this.#grants;
    return (
      now !== undefined && now.size === before.size && [...now.keys()].every((scope) => before.has(scope))
    );
  }

  #end(): LiveEnd {
    return this.#isAccepted ? "behind" : "refused";
  }
}
