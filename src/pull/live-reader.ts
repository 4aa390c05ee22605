// A live subscriber's place in the ring: a position, not a queue. It holds no step and no frame between two takes, so
// a client that doesn't read costs nothing; when the ring has moved past it, it is behind.
import type { Frame } from "../frames/frame.ts";
import type { Grants } from "../model/principal.ts";
import type { Seq } from "../model/seq.ts";
import type { Hub, Stand } from "./hub.ts";
import type { Step, Variant } from "./step.ts";

export interface LiveReaderOptions {
  readonly hub: Hub;
  readonly stand: Stand;
  /** Where the client stands. */
  readonly position: Seq;
  readonly variant: Omit<Variant, "after" | "deltas">;
  /** Asked at each take; changes only with a checkpoint. */
  readonly takesDeltas: () => boolean;
  readonly principal: string;
  /** What memberships granted when the stand was taken. */
  readonly grants: Grants;
  /** Whether this many bytes of changes may still be sent. */
  readonly admits: (bytes: number) => boolean;
}

export type Taken =
  | { readonly kind: "frame"; readonly frame: Frame }
  /** A step is done: all of it is taken. */
  | { readonly kind: "step"; readonly step: Step; readonly hadFrames: boolean }
  /** All there is so far is taken. */
  | { readonly kind: "latest" }
  /** The subscriber needs a pass: the ring has moved on, its grants have changed, or something is for it alone. */
  | { readonly kind: "behind" };

export class LiveReader {
  readonly #options: LiveReaderOptions;
  #stand: Stand;
  /** Where the step under way was begun. */
  #after: Seq;
  /** Frames taken of the step under way. */
  #taken = 0;

  constructor(options: LiveReaderOptions) {
    this.#options = options;
    this.#stand = options.stand;
    this.#after = options.position;
  }

  take(): Taken {
    const step = this.#options.hub.stepAfter(this.#stand);
    if (step === "latest" || step === "behind") return { kind: step };
    if (!this.#isStillGranted(step)) return BEHIND;
    const { variant, takesDeltas } = this.#options;
    const frames = step.framesFor({ ...variant, deltas: takesDeltas(), after: this.#after });
    if (!frames || (this.#taken === 0 && !this.#admitsAll(frames))) return BEHIND;
    const frame = frames[this.#taken];
    if (frame) {
      this.#taken++;
      return { kind: "frame", frame };
    }
    const hadFrames = this.#taken > 0;
    this.#taken = 0;
    this.#after = step.head;
    this.#stand = { ...this.#stand, revision: step.revision };
    return { kind: "step", step, hadFrames };
  }

  #admitsAll(frames: readonly Frame[]): boolean {
    return (
      frames.length === 0 || this.#options.admits(frames.reduce((sum, { bytes }) => sum + bytes.length, 0))
    );
  }

  /** False, too, where the hub didn't know yet of this principal when it read the grants. */
  #isStillGranted({ source: { grants } }: Step): boolean {
    if (grants === undefined) return true;
    const now = grants.get(this.#options.principal);
    const { grants: before } = this.#options;
    return (
      now !== undefined && now.size === before.size && [...now.keys()].every((scope) => before.has(scope))
    );
  }
}

const BEHIND: Taken = { kind: "behind" };
