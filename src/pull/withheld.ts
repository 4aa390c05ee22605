// What a node has heard of the log's schema: from the moment it hears that a field is hidden or a scope narrowed, what
// was read before must go out no more, to whomever it is on its way. Nothing of it waits for the state to be taken in.
import { collectionState, type LogState } from "../log/state.ts";
import type { Collection } from "../schema/collection.ts";

export class Withheld {
  #heard: LogState | undefined;
  #times = 0;

  /** Rises whenever more is withheld: who has read at a lower one must read again. */
  get times(): number {
    return this.#times;
  }

  /** Whether the node has heard of any state. */
  get isInformed(): boolean {
    return this.#heard !== undefined;
  }

  /** @returns whether the state withholds more than those before. */
  hear(state: LogState): boolean {
    const known = this.#heard;
    if (known?.epoch === state.epoch && known.revision >= state.revision) return false;
    this.#heard = state;
    const isMore = withholdsMore(known, state);
    if (isMore) this.#times++;
    return isMore;
  }

  /** Whether more is withheld by now than in this state. */
  isBeyond(state: LogState): boolean {
    return this.#heard !== undefined && withholdsMore(state, this.#heard);
  }

  /** Whether the log's entries of a collection are made by this very schema of it. */
  isPresent({ name, fingerprint }: Pick<Collection, "name" | "fingerprint">): boolean {
    return this.#heard !== undefined && collectionState(this.#heard, name)?.fingerprint === fingerprint;
  }
}

/** Whether entries that could be read in one state can't in a later one. Another log's generations mean other things. */
export function withholdsMore(known: LogState | undefined, state: LogState): boolean {
  if (known !== undefined && known.epoch !== state.epoch) return true;
  return state.collections.some(({ name, oldestReadable }) => {
    const before = known && collectionState(known, name);
    return oldestReadable > (before?.oldestReadable ?? 1);
  });
}
