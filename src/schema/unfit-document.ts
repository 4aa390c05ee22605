// UnfitDocument: a document the declared message can't hold. Ingest quarantines it with the reason; push refuses it.

export class UnfitDocument extends Error {
  override readonly name = "UnfitDocument";
  /** What doesn't fit, without the path. */
  readonly problem: string;
  #path = "";

  /** @param problem what doesn't fit, as a clause: `a string doesn't fit a double`. */
  constructor(problem: string, options?: ErrorOptions) {
    super(problem, options);
    this.problem = problem;
  }

  /** Puts a step before the path while the error travels outward: a key, `[3]` or `["k"]`. */
  under(step: string): this {
    const joint = this.#path === "" || this.#path.startsWith("[") ? "" : ".";
    this.#path = `${step}${joint}${this.#path}`;
    this.message = `${this.#path}: ${this.problem}`;
    return this;
  }

  get path(): string {
    return this.#path;
  }

  /** Where and why, for the team: keys as in the document, never a value. */
  get reason(): string {
    return this.message;
  }
}

/** It fits, but for its size. */
export class OversizeDocument extends UnfitDocument {
  constructor(bytesMax: number) {
    super(`the record is over ${bytesMax} bytes`);
  }
}
