// A principal's puller among killed servers: what its devices see, and the checker of P4 for what they push.
import { ConnectError } from "@connectrpc/connect";
import { AwaitedEffects } from "../support/awaited-effects.ts";
import { PullClient } from "../support/pull-client.ts";
import type { Random } from "../support/random.ts";
import { asPrincipal } from "../support/server.ts";
import { type Edit, keyOfEdit } from "./push-edits.ts";
import { type Collections, type Seen, seenIn, tagsOf } from "./push-schema.ts";
import type { Servers } from "./push-servers.ts";

/** What devices have sent that may take an effect back. */
export interface TakenBack {
  readonly deletes: Set<string>;
  readonly tags: Set<string>;
}

export interface PullerOptions {
  readonly principal: string;
  readonly servers: Servers;
  readonly collections: Collections;
  readonly takenBack: TakenBack;
  readonly random: Random;
}

export class Puller {
  readonly principal: string;
  readonly effects = new AwaitedEffects<PullClient>();
  readonly client = new PullClient();
  /** Of all records ever seen, the last content: devices may edit what is gone. */
  readonly known = new Map<string, Seen>();
  checkpoints = 0;
  reconnects = 0;
  readonly #options: PullerOptions;
  readonly #closing = new AbortController();
  readonly #following: Promise<void>;

  constructor(options: PullerOptions) {
    this.principal = options.principal;
    this.#options = options;
    this.#following = this.#follow();
    // Told by close().
    this.#following.catch(() => {});
  }

  /** @throws what the contract forbids and a server did. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#following;
  }

  /** The record, or what was last seen of it. */
  see(key: string): Seen | undefined {
    const seen = seenIn(this.client, this.#options.collections, key) ?? this.known.get(key);
    if (seen) this.known.set(key, seen);
    return seen;
  }

  /** The edit's effect, or a newer state, is in the client's records. */
  isShown(edit: Edit, client: PullClient): boolean {
    const { collections, takenBack } = this.#options;
    const key = keyOfEdit(edit);
    const { kind } = edit;
    switch (kind.case) {
      case "delete":
        // A deleted one of the keeps may be back, or have stayed.
        return edit.collection === "keeps" || !client.records.has(key);
      case "create":
        return client.records.has(key) || takenBack.deletes.has(key);
      case "update": {
        if (takenBack.deletes.has(key)) return true;
        const tags = tagsOf(seenIn(client, collections, key));
        return (kind.proposed.tags ?? []).every((tag) => tags.includes(tag) || takenBack.tags.has(tag));
      }
    }
  }

  async #follow(): Promise<void> {
    const { servers, random, principal } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const life = await servers.pick(random);
      const request = this.client.cursor ? { cursor: this.client.cursor } : {};
      try {
        const options = { headers: asPrincipal(principal), signal };
        for await (const frame of life.sync.pullChanges(request, options)) {
          const checkpoint = this.client.apply(frame);
          if (checkpoint === undefined) continue;
          this.checkpoints++;
          this.effects.checkpoint(checkpoint.commitClock, this.client);
        }
      } catch (error) {
        if (!(error instanceof ConnectError) || !(life.isKilled || signal.aborted)) throw error;
      }
      this.reconnects++;
    }
  }
}
