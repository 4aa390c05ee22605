// The ring: recent steps, bounded in bytes and number. Whoever stands before its oldest must catch up by passes.
import type { Step } from "./step.ts";

/** Even empty steps take memory; at 10 appends a second these are 7 minutes. */
const STEPS_MAX = 4_096;

export class Ring {
  readonly #bytesMax: number;
  readonly #sizes = new Map<Step, number>();
  readonly #steps: Step[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  push(step: Step): void {
    this.#steps.push(step);
    this.#sizes.set(step, 0);
    this.grow(step, step.sourceBytes);
  }

  /** A step takes more memory than before. The newest stays, whatever its size. */
  grow(step: Step, bytes: number): void {
    const size = this.#sizes.get(step);
    if (size === undefined) return;
    this.#sizes.set(step, size + bytes);
    this.#bytes += bytes;
    while (this.#steps.length > 1 && (this.#bytes > this.#bytesMax || this.#steps.length > STEPS_MAX))
      this.#drop();
  }

  clear(): void {
    while (this.#steps.length > 0) this.#drop();
  }

  get latest(): Step | undefined {
    return this.#steps.at(-1);
  }

  /** The step that leads on from a revision; undefined: it isn't here, or no more. */
  stepAfter(revision: number): Step | undefined {
    // Where nearly everybody stands.
    const latest = this.#steps.at(-1);
    if (latest && latest.source.base <= revision) return latest.revision > revision ? latest : undefined;
    let low = 0;
    let high = this.#steps.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#steps[middle]?.revision ?? 0) > revision) high = middle;
      else low = middle + 1;
    }
    const step = this.#steps[low];
    return step && step.source.base <= revision ? step : undefined;
  }

  #drop(): void {
    const step = this.#steps.shift();
    if (!step) return;
    this.#bytes -= this.#sizes.get(step) ?? 0;
    this.#sizes.delete(step);
  }
}
