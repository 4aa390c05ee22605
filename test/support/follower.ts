// A client that follows with a stream: hands out the frames between two points, waits for a commit clock, and
// resumes with its cursor. What the records become is pull-client.ts's business.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Timestamp } from "mongodb";
import type { Change } from "#gen/tidemark/v1/change_pb.js";
import type { Cursor } from "#gen/tidemark/v1/cursor_pb.js";
import type { Checkpoint } from "#gen/tidemark/v1/frame_pb.js";
import type { PullChangesRequestSchema, PullChangesResponse } from "#gen/tidemark/v1/pull_changes_pb.js";
import { commitClockOf } from "../../src/model/commit-clock.ts";
import { asPrincipal, syncClient } from "./server.ts";

export type FollowRequest = MessageInitShape<typeof PullChangesRequestSchema>;

export interface Delivered {
  readonly changes: readonly Change[];
  readonly checkpoint: Checkpoint;
}

export class Follower implements AsyncDisposable {
  /** As a client would store it. */
  cursor: Cursor | undefined;
  readonly #frames: AsyncIterator<PullChangesResponse>;
  readonly #abort = new AbortController();

  constructor(url: string, principal: string, request: FollowRequest = {}) {
    const stream = syncClient(url).pullChanges(request, {
      headers: asPrincipal(principal),
      signal: this.#abort.signal,
    });
    this.#frames = stream[Symbol.asyncIterator]();
  }

  /** The next frame; the cursor has moved as the contract says. */
  async next(): Promise<PullChangesResponse["frame"]> {
    const { value, done } = await this.#frames.next();
    if (done) throw new Error("the stream has ended");
    const frame: PullChangesResponse["frame"] = value.frame;
    if (frame.case === "opened") this.cursor = frame.value.cursor;
    if (frame.case === "batch" && this.cursor) this.cursor.position = frame.value.position;
    if (frame.case === "checkpoint" && this.cursor) {
      this.cursor.position = frame.value.position;
      this.cursor.checkpoint = frame.value.position;
    }
    return frame;
  }

  /** All changes up to the first checkpoint whose commit clock isn't lower than `time` (default: the next one). */
  async checkpoint(time?: Timestamp): Promise<Delivered> {
    const clock = time ? commitClockOf(time) : 0n;
    const changes: Change[] = [];
    for (;;) {
      const frame = await this.next();
      if (frame.case === "batch") changes.push(...frame.value.changes);
      if (frame.case === "checkpoint" && frame.value.commitClock >= clock)
        return { changes, checkpoint: frame.value };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#frames.return?.().catch(() => {});
  }
}
