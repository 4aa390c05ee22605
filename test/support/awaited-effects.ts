// The checker of P4: what a client pushed is visible at the first checkpoint that reaches its receipt's commit clock.
// A receipt may come after that checkpoint: so it is noted from the sending on at which checkpoints the effect was missing.

interface Awaited<V> {
  isShown(view: V): boolean;
  /** The commit clock of the last checkpoint that lacked the effect; -1n: none. */
  missingAt: bigint;
  /** Of the receipt; undefined: none yet. */
  clock: bigint | undefined;
}

export class AwaitedEffects<V> {
  readonly faults: string[] = [];
  /** Receipts that a checkpoint has reached. */
  reached = 0;
  /** Of the last checkpoint. */
  clock = -1n;
  readonly #awaited = new Map<string, Awaited<V>>();

  /** To be called before a mutation is sent. `isShown`: its effect, or a newer state, is in the view. */
  sent(id: string, isShown: (view: V) => boolean): void {
    this.#awaited.set(id, { isShown, missingAt: -1n, clock: undefined });
  }

  /** @param clock of its receipt; undefined: it had no effect. Later calls are ignored: they can only ask for less. */
  told(id: string, clock: bigint | undefined): void {
    const awaited = this.#awaited.get(id);
    if (awaited === undefined || awaited.clock !== undefined) return;
    if (clock === undefined) {
      this.#awaited.delete(id);
      return;
    }
    awaited.clock = clock;
    if (this.clock >= clock) this.#judge(id, awaited, clock);
  }

  /** To be called at each checkpoint, with what the client has by then. */
  checkpoint(clock: bigint, view: V): void {
    this.clock = clock;
    for (const [id, awaited] of this.#awaited) {
      if (!awaited.isShown(view)) awaited.missingAt = clock;
      if (awaited.clock !== undefined && clock >= awaited.clock) this.#judge(id, awaited, awaited.clock);
    }
  }

  /** The mutations whose receipts no checkpoint has reached yet. */
  waiting(): string[] {
    return [...this.#awaited].filter(([, { clock }]) => clock !== undefined).map(([id]) => id);
  }

  #judge(id: string, { missingAt }: Awaited<V>, clock: bigint): void {
    if (missingAt >= clock) this.faults.push(`P4: ${id}, committed at ${clock}, was missing at ${missingAt}`);
    this.reached++;
    this.#awaited.delete(id);
  }
}
