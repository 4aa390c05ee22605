// A byte budget: always admits one change, however large, and then only what fits.

export class Budget {
  readonly #bytesMax: number;
  #spent = 0;

  /** @param bytesMax 0: no limit. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax === 0 ? Number.POSITIVE_INFINITY : bytesMax;
  }

  get isLimited(): boolean {
    return this.#bytesMax !== Number.POSITIVE_INFINITY;
  }

  /** Whether anything was admitted yet. */
  get isUsed(): boolean {
    return this.#spent > 0;
  }

  /** Takes the bytes if they fit. */
  admits(bytes: number): boolean {
    if (this.isUsed && this.#spent + bytes > this.#bytesMax) return false;
    this.#spent += bytes;
    return true;
  }

  /** Takes the bytes of several changes if all of them fit, the first bytes or not. */
  admitsAll(bytes: number): boolean {
    return this.#spent + bytes <= this.#bytesMax && this.admits(bytes);
  }
}
