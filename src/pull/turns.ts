// Reads take turns: when ten thousand clients come back at once, as many reads as the database serves well go on, and the
// others wait for theirs, instead of failing for want of a connection. Who has begun comes before who hasn't, so that few
// snapshots are open at a time. A turn lasts as long as one read, never while anything is on its way to a client.

export class Turns {
  readonly #max: number;
  readonly #begun = new Queue();
  readonly #new = new Queue();
  #taken = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** @param hasBegun whether it goes on with what earlier turns have opened. */
  async run<T>(hasBegun: boolean, work: () => Promise<T>): Promise<T> {
    if (this.#taken >= this.#max) await (hasBegun ? this.#begun : this.#new).wait();
    else this.#taken++;
    try {
      return await work();
    } finally {
      if (!this.#begun.release() && !this.#new.release()) this.#taken--;
    }
  }
}

class Queue {
  readonly #waiting: Array<() => void> = [];
  /** Of those waiting, who is the first. */
  #first = 0;

  wait(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Lets the first go on; false: nobody waits. */
  release(): boolean {
    const resolve = this.#waiting[this.#first++];
    if (resolve) {
      resolve();
      return true;
    }
    this.#waiting.length = 0;
    this.#first = 0;
    return false;
  }
}
