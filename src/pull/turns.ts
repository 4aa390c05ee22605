// Reads take turns: when ten thousand clients come back at once, as many reads as the database serves well go on, and the
// others wait for theirs, instead of failing for want of a connection. A turn lasts as long as one read, never while
// anything is on its way to a client.

export class Turns {
  readonly #max: number;
  readonly #waiting: Array<() => void> = [];
  #taken = 0;
  /** Of those waiting, who has had its turn. */
  #next = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** In the order of the calls. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#taken >= this.#max) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#taken++;
    try {
      return await work();
    } finally {
      this.#pass();
    }
  }

  #pass(): void {
    const next = this.#waiting[this.#next++];
    if (next) next();
    else {
      this.#taken--;
      this.#waiting.length = 0;
      this.#next = 0;
    }
  }
}
