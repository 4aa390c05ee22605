// What this leader has written of records, so that it needn't ask the log about those that change again and again: as
// long as it leads, nobody else writes there. Bounded; the longest unchanged are forgotten first.
import type { LoggedRecord } from "./record-change.ts";

/** Some 30 MB with everything around the records. */
const RECORDS_MAX = 20_000;
const BYTES_MAX = 16 * 2 ** 20;

export class WrittenRecords {
  readonly #records = new Map<string, LoggedRecord>();
  #bytes = 0;

  get(text: string): LoggedRecord | undefined {
    return this.#records.get(text);
  }

  add(written: ReadonlyMap<string, LoggedRecord>): void {
    for (const [text, logged] of written) {
      this.#forget(text);
      this.#records.set(text, logged);
      this.#bytes += sizeOf(logged);
    }
    // Those just written are remembered in any case: a read may not see them yet.
    for (const text of this.#records.keys()) {
      const isFull = this.#records.size > RECORDS_MAX || this.#bytes > BYTES_MAX;
      if (!isFull || written.has(text)) break;
      this.#forget(text);
    }
  }

  clear(): void {
    this.#records.clear();
    this.#bytes = 0;
  }

  #forget(text: string): void {
    const logged = this.#records.get(text);
    if (logged === undefined) return;
    this.#records.delete(text);
    this.#bytes -= sizeOf(logged);
  }
}

function sizeOf({ main }: LoggedRecord): number {
  return main?.record.length ?? 0;
}
