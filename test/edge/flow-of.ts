// A scripted pull as the edge takes it: a generator's frames, one at a time, each asked for when the one before is taken.
import type { Frame } from "../../src/frames/frame.ts";
import type { Principal } from "../../src/model/principal.ts";
import type { PullRequest } from "../../src/model/pull-request.ts";
import type { Flow, FlowReader } from "../../src/pull/flow.ts";
import type { Pull } from "../../src/pull/pull.ts";

/** Ends when its signal aborts, as pulls do whose caller is gone. */
export type ScriptedFrames = (
  principal: Principal,
  request: PullRequest,
  signal: AbortSignal,
) => AsyncGenerator<Frame, void, undefined>;

export function flowsOf(script: ScriptedFrames): Pull["openFlow"] {
  return (principal, request, reader) => {
    const closed = new AbortController();
    return flowOf(script(principal, request, closed.signal), closed, reader);
  };
}

type Result = IteratorResult<Frame, void>;

function flowOf(frames: AsyncGenerator<Frame, void>, closed: AbortController, reader: FlowReader): Flow {
  let isAsked = false;
  let isOver = false;
  let settled: PromiseSettledResult<Result> | undefined;
  const settle = (result: PromiseSettledResult<Result>) => {
    settled = result;
    reader.ready();
  };
  return {
    take() {
      if (isOver) return undefined;
      if (!settled) {
        if (!isAsked) {
          isAsked = true;
          frames.next().then(
            (value) => settle({ status: "fulfilled", value }),
            (reason: unknown) => settle({ status: "rejected", reason }),
          );
        }
        return undefined;
      }
      const result = settled;
      settled = undefined;
      isAsked = false;
      isOver = result.status === "rejected" || result.value.done === true;
      if (result.status === "rejected") throw result.reason;
      return result.value.done ? undefined : [result.value.value];
    },
    isWaiting: false,
    get isOver() {
      return isOver;
    },
    cursor: { subscription: "", position: 0, checkpoint: 0 },
    close() {
      isOver = true;
      closed.abort();
      // As the real one's, its course goes no further; one that waits for its signal ends by it.
      void frames.return();
    },
  };
}
