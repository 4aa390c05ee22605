// A client of the contract that keeps records as JSON: follows one collection as Ana, shallowly merges deltas, and fails
// at once on what the contract forbids.
import type { JsonObject } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import type { Change } from "#gen/tidemark/v1/change_pb.js";
import { type Unavailable, UnavailableReason } from "#gen/tidemark/v1/frame_pb.js";
import type { PullChangesResponse } from "#gen/tidemark/v1/pull_changes_pb.js";
import { SyncService } from "#gen/tidemark/v1/sync_service_pb.js";
import { asPrincipal } from "./server.ts";

export class JsonClient {
  readonly records = new Map<string, JsonObject>();
  /** Records the server left out of the JSON form. */
  readonly tooLarge = new Set<string>();
  /** Of the last checkpoint. */
  clock = 0n;
  readonly #abort = new AbortController();
  /** Rejects when the stream breaks, or says what the contract forbids. */
  readonly following: Promise<void>;

  constructor(url: string, collection: string) {
    const transport = createConnectTransport({
      baseUrl: url,
      httpVersion: "2",
      useBinaryFormat: false,
    });
    const options = { headers: asPrincipal("ana"), signal: this.#abort.signal };
    const selections = [{ collection }];
    this.following = this.#follow(createClient(SyncService, transport).pullChanges({ selections }, options));
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.following;
  }

  async #follow(frames: AsyncIterable<PullChangesResponse>): Promise<void> {
    try {
      for await (const { frame } of frames) {
        if (frame.case === "opened") this.#leftOut(frame.value.unavailable);
        else if (frame.case === "batch") for (const change of frame.value.changes) this.#change(change);
        else if (frame.case === "checkpoint") this.clock = frame.value.commitClock;
        else throw new Error(`JSON clients don't get ${frame.case}`);
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    }
  }

  #leftOut(unavailable: readonly Unavailable[]): void {
    for (const { recordId, reason } of unavailable) {
      if (reason !== UnavailableReason.RECORD_TOO_LARGE) throw new Error(`left out for ${reason}`);
      this.tooLarge.add(recordId);
    }
  }

  #change({ recordId, kind }: Change): void {
    if (kind.case !== "put") {
      this.records.delete(recordId);
      return;
    }
    this.tooLarge.delete(recordId);
    const { record, changed } = kind.value;
    if (record?.form.case !== "json") throw new Error("a JSON client gets JSON");
    const held = this.records.get(recordId);
    if (changed.length > 0 && !held) throw new Error(`a delta for ${recordId}, which isn't held`);
    this.records.set(recordId, changed.length > 0 ? { ...held, ...record.form.value } : record.form.value);
  }
}
