// P4 with many devices: they push at the same time, so that receipts of several share a commit clock, while each follows.
// Whatever was applied shows at the first checkpoint that reaches its receipt, on the device that pushed it and on its
// principal's others; that checkpoint comes also when nothing else happens. Replay a failure with TIDEMARK_SEED.
import { fromBinary, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Todo, TodoSchema } from "#gen/demo/v1/todo_pb.js";
import type { MutationSchema } from "#gen/tidemark/v1/mutation_pb.js";
import { Outcome } from "#gen/tidemark/v1/receipt_pb.js";
import type { Tidemark } from "../../src/main.ts";
import { AwaitedEffects } from "../support/awaited-effects.ts";
import { demoTodos, expectEqualsSource } from "../support/equals-source.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { PullClient } from "../support/pull-client.ts";
import { type Random, randomOf, seedOf } from "../support/random.ts";
import { asPrincipal, startServer, syncClient } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";

const PRINCIPALS = ["ana", "ben", "cem", "dea"];
const DEVICES_EACH = 6;
const ROUNDS = 12;
const TODOS = ["t0", "t1", "t2", "t3"];
/** More than these, and a device takes some away: the schema allows 50. */
const TAGS_MAX = 12;
/** Below the 5 s after which the commit clock moves on by itself. */
const LAST_CHECKPOINT_MS_MAX = 3_500;

let database: TestDatabase;
let server: Tidemark;

beforeEach(async () => {
  database = await testDatabase();
  const todos = database.source.collection<{ _id: string }>("todos");
  for (const ownerId of PRINCIPALS)
    await todos.insertMany(TODOS.map((id) => ({ _id: `${ownerId}-${id}`, ownerId, title: id, votes: 1 })));
  server = await startServer(database);
});

afterEach(async () => {
  await server.close();
  await database.drop();
});

it.each([1, 2].map(seedOf))(
  "24 devices push at once → each sees its own at the first checkpoint that reaches it, seed %s",
  async (seed) => {
    const families = PRINCIPALS.map((principal) => familyOf(principal, seed));
    const devices = families.flatMap((family) => family.devices);
    await waitFor(() => devices.every(({ effects }) => effects.clock >= 0n), { what: "first checkpoints" });
    for (let round = 0; round < ROUNDS; round++) {
      await Promise.all(devices.map((device) => device.push(device.random.below(6) === 0)));
    }
    await reachedWithoutTraffic(devices);
    // One alone, then one that changes nothing.
    for (const device of devices.slice(0, 5)) {
      await device.push(false);
      await reachedWithoutTraffic(devices);
      await device.pushNoChange();
      await reachedWithoutTraffic(devices);
    }
    expect(devices.flatMap(({ effects }) => effects.faults)).toEqual([]);
    const todos = await demoTodos();
    for (const { principal, client, effects } of devices)
      await expectEqualsSource(client, effects.clock, { database, todos, principal });
    await countersAddUp(families);
    expect(sharedClocks(devices)).toBeGreaterThan(ROUNDS);
    for (const device of devices) await device.close();
  },
  120_000,
);

/** Every checkpoint that is owed comes by itself. */
async function reachedWithoutTraffic(devices: readonly Device[]): Promise<void> {
  const isReached = () => devices.every(({ effects }) => effects.waiting().length === 0);
  await waitFor(isReached, { timeoutMs: LAST_CHECKPOINT_MS_MAX, what: "the checkpoint of the last push" });
}

async function countersAddUp(families: readonly Family[]): Promise<void> {
  for (const { votes } of families) {
    for (const [_id, sum] of votes) {
      const todo = await database.source.collection<{ _id: string; votes: number }>("todos").findOne({ _id });
      expect(todo?.votes, _id).toBe(1 + sum);
    }
  }
}

/** Commit clocks that receipts of several devices have. */
function sharedClocks(devices: readonly Device[]): number {
  const clocks = devices.flatMap(({ clocks }) => [...clocks]);
  return clocks.length - new Set(clocks).size;
}

/** A principal's devices, and what they have done together. */
interface Family {
  readonly principal: string;
  readonly devices: Device[];
  /** What was added to each todo. */
  readonly votes: Map<string, number>;
  /** Tags and todos that somebody has asked to take away. */
  readonly takenAway: Set<string>;
}

function familyOf(principal: string, seed: string): Family {
  const family: Family = { principal, devices: [], votes: new Map(), takenAway: new Set() };
  for (let n = 0; n < DEVICES_EACH; n++) {
    const name = `${principal}-${n}`;
    family.devices.push(new Device({ name, family, random: randomOf(seed, name) }));
  }
  return family;
}

interface DeviceOptions {
  readonly name: string;
  readonly family: Family;
  readonly random: Random;
}

/** What a push does, as its device and the principal's others are to see it. */
interface Edit {
  readonly mutationId: string;
  readonly recordId: string;
  readonly kind: "create" | "update" | "delete";
  readonly base: Fields;
  readonly proposed: Fields;
}

interface Fields {
  readonly title?: string;
  readonly ownerId?: string;
  readonly tags?: readonly string[];
  readonly votes?: number;
}

class Device {
  readonly principal: string;
  readonly random: Random;
  readonly client = new PullClient();
  readonly effects = new AwaitedEffects<PullClient>();
  /** Of its receipts. */
  readonly clocks = new Set<bigint>();
  readonly #options: DeviceOptions;
  readonly #sync = syncClient(server.url);
  readonly #leaving = new AbortController();
  readonly #following: Promise<void>;
  readonly #own: string[] = [];
  #edits = 0;

  constructor(options: DeviceOptions) {
    this.#options = options;
    this.principal = options.family.principal;
    this.random = options.random;
    this.#following = this.#follow();
    // Told by close().
    this.#following.catch(() => {});
  }

  /** @throws what broke its stream. */
  async close(): Promise<void> {
    this.#leaving.abort();
    await this.#following;
  }

  /** One to three edits; all of them are to be done. */
  async push(atomic: boolean): Promise<void> {
    await this.#send(
      Array.from({ length: 1 + this.random.below(3) }, () => this.#randomEdit()),
      atomic,
    );
  }

  async pushNoChange(): Promise<void> {
    const recordId = `${this.principal}-t0`;
    const title = this.#see(recordId)?.title ?? "";
    const edit = { mutationId: this.random.uuid(), recordId, kind: "update", base: { title } } as const;
    await this.#send([{ ...edit, proposed: { title } }], false);
  }

  async #send(edits: readonly Edit[], atomic: boolean): Promise<void> {
    const { family, name } = this.#options;
    for (const edit of edits) {
      if (edit.kind === "delete") family.takenAway.add(edit.recordId);
      for (const tag of edit.base.tags ?? []) family.takenAway.add(tag);
      for (const { effects } of family.devices)
        effects.sent(edit.mutationId, (client) => isShown(edit, client, family.takenAway));
    }
    const headers = { ...asPrincipal(this.principal), "tidemark-client": `test/1; device=${name}` };
    const pushed = await this.#sync.pushMutations({ mutations: edits.map(mutationOf), atomic }, { headers });
    for (const [index, edit] of edits.entries()) {
      const receipt = pushed.receipts[index];
      if (receipt === undefined) throw new Error("there is a receipt for each mutation");
      expect([Outcome.APPLIED, Outcome.MERGED], receipt.rejection?.description).toContain(receipt.outcome);
      this.clocks.add(receipt.commitClock);
      for (const { effects } of family.devices) effects.told(edit.mutationId, receipt.commitClock);
      const added = (edit.proposed.votes ?? 0) - (edit.base.votes ?? 0);
      if (edit.kind === "update" && edit.proposed.votes !== undefined)
        family.votes.set(edit.recordId, (family.votes.get(edit.recordId) ?? 0) + added);
    }
  }

  #randomEdit(): Edit {
    const { name } = this.#options;
    const mutationId = this.random.uuid();
    const unique = `${name}.${++this.#edits}`;
    const kind = this.random.below(8);
    const recordId = this.#own.at(-1);
    if (kind === 0 && recordId !== undefined) {
      this.#own.pop();
      return { mutationId, recordId, kind: "delete", base: {}, proposed: {} };
    }
    if (kind <= 1) {
      this.#own.push(unique);
      const proposed = { title: unique, ownerId: this.principal, tags: [unique] };
      return { mutationId, recordId: unique, kind: "create", base: {}, proposed };
    }
    return this.#update(mutationId, unique);
  }

  #update(mutationId: string, unique: string): Edit {
    const recordId = `${this.principal}-${this.random.of(TODOS)}`;
    const seen = this.#see(recordId);
    const tags = seen?.tags ?? [];
    const base = { tags: tags.length > TAGS_MAX ? tags.slice(0, 5) : [], votes: seen?.votes ?? 0 };
    const proposed = { tags: [unique], votes: base.votes + 1 + this.random.below(3) };
    const titled = this.random.below(2) ? { title: seen?.title ?? "" } : undefined;
    return {
      mutationId,
      recordId,
      kind: "update",
      base: { ...base, ...titled },
      proposed: { ...proposed, ...(titled && { title: unique }) },
    };
  }

  #see(recordId: string): Todo | undefined {
    return todoIn(this.client, recordId);
  }

  async #follow(): Promise<void> {
    const { signal } = this.#leaving;
    try {
      for await (const frame of this.#sync.pullChanges(
        {},
        { headers: asPrincipal(this.principal), signal },
      )) {
        const checkpoint = this.client.apply(frame);
        if (checkpoint) this.effects.checkpoint(checkpoint.commitClock, this.client);
      }
    } catch (error) {
      if (!(error instanceof ConnectError) || !signal.aborted) throw error;
    }
  }
}

function todoIn(client: PullClient, recordId: string): Todo | undefined {
  const held = client.records.get(`todos/${recordId}`);
  return held && fromBinary(TodoSchema, held.bytes);
}

/** The effect, or a newer state: what somebody has asked to take away since may be gone. */
function isShown(edit: Edit, client: PullClient, takenAway: ReadonlySet<string>): boolean {
  const todo = todoIn(client, edit.recordId);
  if (edit.kind === "delete") return todo === undefined;
  if (todo === undefined) return takenAway.has(edit.recordId);
  return (edit.proposed.tags ?? []).every((tag) => todo.tags.includes(tag) || takenAway.has(tag));
}

function mutationOf({
  mutationId,
  recordId,
  kind,
  base,
  proposed,
}: Edit): MessageInitShape<typeof MutationSchema> {
  const record = (value: Fields) => ({ form: { case: "json" as const, value: { ...value } as JsonObject } });
  const head = { mutationId, collection: "todos", recordId };
  switch (kind) {
    case "create":
      return { ...head, kind: { case: "create" as const, value: { record: record(proposed) } } };
    case "update": {
      const value = { record: record(proposed), base: record(base) };
      return { ...head, kind: { case: "update" as const, value } };
    }
    case "delete":
      return { ...head, kind: { case: "delete" as const, value: {} } };
  }
}
