// Whether the server serves: STARTING until its parts are open, SERVING, then DRAINING for good.
// Health answers, readiness and the gate all follow this one state.

export type ServingState = "STARTING" | "SERVING" | "DRAINING";

export interface Serving {
  readonly state: ServingState;
  /** The state's changes, the present one first, until the signal aborts or draining is told. */
  follow(signal: AbortSignal): AsyncGenerator<ServingState>;
  become(state: ServingState): void;
}

export function createServing(): Serving {
  let state: ServingState = "STARTING";
  const waiting = new Set<() => void>();
  return {
    get state() {
      return state;
    },
    become(next) {
      state = next;
      for (const wake of waiting) wake();
    },
    async *follow(signal) {
      while (!signal.aborted) {
        const told = state;
        yield told;
        if (told === "DRAINING") return;
        while (state === told && !signal.aborted) await change(signal);
      }
    },
  };

  function change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        waiting.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      waiting.add(wake);
      signal.addEventListener("abort", wake);
    });
  }
}
