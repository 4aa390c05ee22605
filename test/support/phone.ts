// A phone in scenarios of access: follows with a token of its own, keeps records and cursor from stream to stream, and
// remembers every byte it was ever sent.
import { randomUUID } from "node:crypto";
import { type JsonObject, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { MutationSchema } from "#gen/tidemark/v1/mutation_pb.js";
import { type PullChangesResponse, PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import type { Receipt } from "#gen/tidemark/v1/receipt_pb.js";
import { issueToken } from "../../src/access/issue-token.ts";
import { PullClient } from "./pull-client.ts";
import { syncClient } from "./server.ts";

export const TOKEN_SECRET = "a secret of tests, which is long enough to sign with";

interface Edit {
  readonly collection: string;
  readonly id: string;
  readonly create?: JsonObject;
  /** Undefined, with no `create`: a delete. */
  readonly update?: JsonObject;
}

export class Phone implements AsyncDisposable {
  readonly client = new PullClient();
  /** Every frame so far, one after the other. */
  received = Buffer.alloc(0);
  readonly #principal: string;
  #claims: Record<string, unknown>;
  #url = "";
  #frames: AsyncIterator<PullChangesResponse> | undefined;
  #abort = new AbortController();

  constructor(principal: string, claims: Record<string, unknown> = {}) {
    this.#principal = principal;
    this.#claims = claims;
  }

  /** Its next tokens say so. */
  claim(claims: Record<string, unknown>): void {
    this.#claims = claims;
  }

  /** Follows at a node from where it stands, with a fresh token. */
  async follow(url: string): Promise<this> {
    await this[Symbol.asyncDispose]();
    this.#abort = new AbortController();
    this.#url = url;
    const { cursor } = this.client;
    const options = { headers: await this.headers(), signal: this.#abort.signal };
    const stream = syncClient(url).pullChanges(cursor ? { cursor } : {}, options);
    this.#frames = stream[Symbol.asyncIterator]();
    return this;
  }

  /** Reads on to the first checkpoint that reaches a commit clock; what it holds then, by name. */
  async holdsAt(clock = 0n): Promise<string[]> {
    for (;;) {
      const checkpoint = await this.next();
      if (checkpoint && checkpoint.commitClock >= clock) return [...this.client.records.keys()].sort();
    }
  }

  /** Applies one frame; gives the checkpoint if it is one. */
  async next() {
    const { value, done } = (await this.#frames?.next()) ?? { done: true, value: undefined };
    if (done) throw new Error("the stream has ended");
    this.received = Buffer.concat([this.received, toBinary(PullChangesResponseSchema, value)]);
    return this.client.apply(value);
  }

  /** Pushes one edit, blindly, to the node it follows or another. */
  async push(edit: Edit, url = this.#url): Promise<Receipt> {
    const request = { mutations: [mutationOf(edit)] };
    const { receipts } = await syncClient(url).pushMutations(request, { headers: await this.headers() });
    const [receipt] = receipts;
    if (!receipt) throw new Error("a receipt for each mutation");
    return receipt;
  }

  async headers(): Promise<{ authorization: string }> {
    const who = { secret: TOKEN_SECRET, principal: this.#principal, claims: this.#claims };
    return { authorization: `Bearer ${await issueToken({ ...who, ttlSeconds: 600, nowMs: Date.now() })}` };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#frames?.return?.().catch(() => {});
  }
}

function mutationOf({ collection, id, create, update }: Edit): MessageInitShape<typeof MutationSchema> {
  const named = { mutationId: randomUUID(), collection, recordId: id };
  const formOf = (value: JsonObject) => ({ record: { form: { case: "json", value } } }) as const;
  if (create) return { ...named, kind: { case: "create", value: formOf(create) } };
  if (update) return { ...named, kind: { case: "update", value: formOf(update) } };
  return { ...named, kind: { case: "delete", value: {} } };
}
