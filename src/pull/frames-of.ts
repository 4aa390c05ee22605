// A flow as an async iterable, frame by frame, for whoever takes each before asking for the next.
import type { Frame } from "../frames/frame.ts";
import type { Flow, FlowReader } from "./flow.ts";

/** Ends when the flow does, or without a word when the signal aborts. @throws what taking throws. */
export async function* framesOf(
  open: (reader: FlowReader) => Flow,
  signal: AbortSignal,
): AsyncGenerator<Frame, void, undefined> {
  let ready = Promise.withResolvers<void>();
  const flow = open({ ready: () => ready.resolve() });
  const end = () => {
    flow.close();
    ready.resolve();
  };
  signal.addEventListener("abort", end);
  if (signal.aborted) end();
  try {
    while (!flow.isOver) {
      const frames = flow.take();
      if (frames) yield* frames;
      else if (!flow.isOver) {
        await ready.promise;
        ready = Promise.withResolvers();
      }
    }
  } finally {
    signal.removeEventListener("abort", end);
    flow.close();
  }
}
